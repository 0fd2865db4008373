#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/counter_random.h"
#include "base/error.h"

namespace sheaf {
namespace {

const std::vector<float> logits{1.0f, 3.0f, 2.0f, -1.0f, 3.0f, 0.5f};

SamplerInput input_of(const std::vector<float>& values, const std::vector<int32_t>& generated = {}) {
    SamplerInput input;
    input.logits = values;
    input.generated = generated;
    return input;
}

std::map<int32_t, int> histogram(SamplingParams params, int draws,
                                 const std::vector<float>& values = logits) {
    std::map<int32_t, int> counts;
    for (int i = 0; i < draws; ++i) {
        params.seed = static_cast<uint64_t>(i);
        ++counts[sample(input_of(values), params).token];
    }
    return counts;
}

TEST(Sampler, GreedyTakesTheLargestAndTheLowestIdOnTies) {
    SamplingParams params;
    params.temperature = 0;
    EXPECT_EQ(sample(input_of(logits), params).token, 1);
}

TEST(Sampler, TheSameSeedAndIndexGiveTheSameToken) {
    SamplingParams params;
    params.seed = 7;
    const std::vector<int32_t> generated{1, 2, 3};
    const int32_t first = sample(input_of(logits, generated), params).token;
    for (int i = 0; i < 10; ++i) EXPECT_EQ(sample(input_of(logits, generated), params).token, first);
}

TEST(Sampler, FrequenciesFollowTheSoftmax) {
    SamplingParams params;
    params.temperature = 1.5f;
    constexpr int draws = 40000;
    const auto counts = histogram(params, draws);
    double total = 0;
    for (const float logit : logits) total += std::exp(logit / 1.5);
    for (size_t token = 0; token < logits.size(); ++token) {
        const double p = std::exp(logits[token] / 1.5) / total;
        const double sigma = std::sqrt(p * (1 - p) * draws);
        const auto found = counts.find(static_cast<int32_t>(token));
        EXPECT_NEAR(found == counts.end() ? 0 : found->second, p * draws, 5 * sigma) << token;
    }
}

TEST(Sampler, TopKKeepsTheKLikeliest) {
    SamplingParams params;
    params.top_k = 3;
    params.temperature = 5;
    const auto counts = histogram(params, 2000);
    EXPECT_EQ(counts.size(), 3u);
    for (const int32_t token : {1, 2, 4}) EXPECT_GT(counts.at(token), 100);
}

TEST(Sampler, TopPKeepsTheSmallestSetThatReachesP) {
    // Probabilities 0.5, 0.3, 0.15, 0.05.
    const std::vector<float> values{std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
    SamplingParams params;
    params.top_p = 0.7f;
    EXPECT_EQ(histogram(params, 1000, values).size(), 2u);
    params.top_p = 0.81f;
    EXPECT_EQ(histogram(params, 1000, values).size(), 3u);
    params.top_p = 0.1f;
    EXPECT_EQ(histogram(params, 100, values).size(), 1u);
}

TEST(Sampler, MinPIsRelativeToTheLikeliest) {
    const std::vector<float> values{std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
    SamplingParams params;
    params.min_p = 0.25f;
    EXPECT_EQ(histogram(params, 1000, values).size(), 3u);
}

TEST(Sampler, PenaltiesMoveTheChoice) {
    SamplingParams params;
    params.temperature = 0;
    params.presence_penalty = 1.5f;
    EXPECT_EQ(sample(input_of(logits, {1}), params).token, 4);
    EXPECT_EQ(sample(input_of(logits, {1, 4}), params).token, 2);
    params.presence_penalty = 0;
    params.frequency_penalty = 0.6f;
    EXPECT_EQ(sample(input_of(logits, {1, 1, 4}), params).token, 4);
    params.frequency_penalty = 0;
    params.repetition_penalty = 2;
    SamplerInput input = input_of(logits);
    const std::vector<int32_t> prompt{1, 4};
    input.prompt = prompt;
    EXPECT_EQ(sample(input, params).token, 2);
}

TEST(Sampler, MasksHold) {
    SamplingParams params;
    params.temperature = 0;
    params.allowed_token_ids = {0, 3};
    EXPECT_EQ(sample(input_of(logits), params).token, 0);
    params.allowed_token_ids.clear();
    params.logit_bias = {{3, 50.0f}};
    EXPECT_EQ(sample(input_of(logits), params).token, 3);
    params.logit_bias.clear();
    params.min_tokens = 1;
    SamplerInput input = input_of(logits);
    const std::vector<int32_t> ends{1, 4};
    input.end_tokens = ends;
    EXPECT_EQ(sample(input, params).token, 2);
    input.token_limit = 2;
    EXPECT_EQ(sample(input, params).token, 0);
}

TEST(Sampler, BadWordsAreNotCompleted) {
    SamplingParams params;
    params.temperature = 0;
    params.bad_words = {{1}, {0, 5, 4}};
    EXPECT_TRUE(needs_history(params));
    EXPECT_EQ(sample(input_of(logits), params).token, 4);
    EXPECT_EQ(sample(input_of(logits, {0, 5}), params).token, 2);
    EXPECT_EQ(sample(input_of(logits, {5, 0}), params).token, 4);
    EXPECT_EQ(sample(input_of(logits, {5}), params).token, 4);
    params.bad_words = {{1}};
    EXPECT_FALSE(needs_history(params));
}

TEST(Sampler, LogprobsAreThoseOfTheRawLogits) {
    SamplingParams params;
    params.temperature = 0;
    params.presence_penalty = 2;
    params.logprobs = 2;
    const auto token = sample(input_of(logits, {1, 4}), params);
    double total = 0;
    for (const float logit : logits) total += std::exp(static_cast<double>(logit));
    EXPECT_EQ(token.token, 2);
    EXPECT_NEAR(token.logprob.logprob, 2.0 - std::log(total), 1e-6);
    EXPECT_EQ(token.logprob.rank, 3);
    ASSERT_EQ(token.alternatives.size(), 2u);
    EXPECT_EQ(token.alternatives[0].token, 1);
    EXPECT_EQ(token.alternatives[1].token, 4);
}

TEST(Sampler, RefusesLogitsThatAreNotFinite) {
    SamplingParams params;
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        auto values = logits;
        values[2] = bad;
        EXPECT_THROW(sample(input_of(values), params), Error);
    }
}

TEST(Sampler, AnEmptyChoiceIsTheRequestsFault) {
    SamplingParams params;
    params.allowed_token_ids = {1};
    params.min_tokens = 5;
    SamplerInput input = input_of(logits);
    const std::vector<int32_t> ends{1};
    input.end_tokens = ends;
    EXPECT_THROW(sample(input, params), Error);
}

}  // namespace
}  // namespace sheaf
