// What tests of the whole engine share: an engine with its model and machine, requests and what came of
// them. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <vector>

#include "engine/engine.h"
#include "model/model.h"
#include "ops/machine.h"

namespace sheaf {

struct Result {
    std::vector<int32_t> tokens;
    std::vector<float> logprobs, prompt_logprobs;
    std::optional<FinishReason> finish;
    std::string error;
    bool operator==(const Result&) const = default;
};

/// The first place where two answers part, for messages; empty where they do not.
inline std::string difference(const Result& a, const Result& b) {
    if (a == b) return {};
    std::ostringstream text;
    if (a.error != b.error) text << "errors '" << a.error << "' and '" << b.error << "'; ";
    text << a.tokens.size() << " and " << b.tokens.size() << " tokens; ";
    for (size_t i = 0; i < std::min(a.tokens.size(), b.tokens.size()); ++i) {
        if (a.tokens[i] == b.tokens[i] && a.logprobs[i] == b.logprobs[i]) continue;
        text << "token " << i << ": " << a.tokens[i] << " (" << a.logprobs[i] << ") and " << b.tokens[i]
             << " (" << b.logprobs[i] << ")";
        break;
    }
    return text.str();
}

inline void expect_same(const std::vector<Result>& got, const std::vector<Result>& wanted,
                        const std::string& what) {
    ASSERT_EQ(got.size(), wanted.size()) << what;
    for (size_t i = 0; i < got.size(); ++i)
        EXPECT_EQ(difference(got[i], wanted[i]), "") << what << ", request " << i;
}

/// Collects the updates of one request.
class Collector {
  public:
    UpdateSink sink() {
        return [this](RequestUpdate update) {
            std::lock_guard lock(mutex_);
            for (const auto& token : update.tokens) {
                result_.tokens.push_back(token.token);
                result_.logprobs.push_back(token.logprob.logprob);
            }
            for (const auto& entry : update.prompt_logprobs)
                result_.prompt_logprobs.push_back(entry.logprob.logprob);
            result_.error = update.error;
            result_.finish = update.finish;
            changed_.notify_all();
        };
    }
    Result wait() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return result_.finish.has_value(); });
        return result_;
    }
    void wait_for_tokens(size_t count) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return result_.tokens.size() >= count || result_.finish; });
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    Result result_;
};

struct Setup {
    std::shared_ptr<Machine> machine;
    std::shared_ptr<Model> model;
    std::unique_ptr<Engine> engine;
    EngineStats base;
};

inline Prompt prompt_of(int32_t size, int32_t seed, int32_t vocabulary) {
    Prompt prompt;
    for (int32_t i = 0; i < size; ++i)
        prompt.token_ids.push_back((i * i * 7 + i * 13 + seed * 31 + 5) % vocabulary);
    return prompt;
}

/// Of every kind of sampling one, by the seed.
inline SamplingParams params_of(int32_t max_tokens, uint64_t seed) {
    SamplingParams params;
    params.max_tokens = max_tokens;
    params.ignore_eos = true;
    params.temperature = seed % 2 == 0 ? 0.0f : 0.9f;
    params.seed = seed;
    params.logprobs = seed % 6 == 4 ? 2 : 0;
    if (seed % 6 == 2) params.repetition_penalty = 1.2f;
    if (seed % 6 == 3) params.top_p = 0.9f;
    if (seed % 6 == 4) params.presence_penalty = 0.5f;
    if (seed % 6 == 5) params.top_k = 20, params.min_p = 0.02f;
    return params;
}

constexpr int32_t prompt_sizes[] = {1, 3, 17, 64, 65, 90};

/// All requests at once; results in order.
inline std::vector<Result> run_together(Engine& engine, int32_t max_tokens) {
    std::vector<std::unique_ptr<Collector>> collectors;
    std::vector<std::unique_ptr<Request>> requests;
    for (size_t i = 0; i < std::size(prompt_sizes); ++i) {
        collectors.push_back(std::make_unique<Collector>());
        const auto seed = static_cast<int32_t>(i);
        requests.push_back(engine.submit(prompt_of(prompt_sizes[i], seed, engine.vocabulary_size()),
                                         params_of(max_tokens, i), collectors.back()->sink()));
        EXPECT_TRUE(requests.back());
    }
    std::vector<Result> results;
    for (const auto& collector : collectors) results.push_back(collector->wait());
    return results;
}

inline std::vector<Result> run_alone(Engine& engine, int32_t max_tokens) {
    std::vector<Result> results;
    for (size_t i = 0; i < std::size(prompt_sizes); ++i) {
        Collector collector;
        const auto request =
            engine.submit(prompt_of(prompt_sizes[i], static_cast<int32_t>(i), engine.vocabulary_size()),
                          params_of(max_tokens, i), collector.sink());
        results.push_back(collector.wait());
    }
    return results;
}

inline void expect_memory_returned(const Setup& setup) {
    ASSERT_TRUE(setup.engine->drain(10));
    const EngineStats now = setup.engine->stats();
    EXPECT_EQ(now.blocks_used, setup.base.blocks_used);
    EXPECT_EQ(now.slots_used, setup.base.slots_used);
    EXPECT_EQ(now.running, 0);
    EXPECT_EQ(now.waiting, 0);
}

/// One that none of the requests above has.
inline int32_t unused_token(int32_t vocabulary) {
    std::vector<bool> used(static_cast<size_t>(vocabulary), false);
    for (size_t i = 0; i < std::size(prompt_sizes); ++i)
        for (const int32_t token : prompt_of(prompt_sizes[i], static_cast<int32_t>(i), vocabulary).token_ids)
            used[static_cast<size_t>(token)] = true;
    return static_cast<int32_t>(std::find(used.rbegin(), used.rend(), false).base() - used.begin()) - 1;
}

/// A model of which one token's embedding is NaN spoils the request that has it, and no other.
inline void expect_one_spoiled(const Setup& setup, int32_t spoiled_token) {
    Engine& engine = *setup.engine;
    const auto expected = run_alone(engine, 8);
    for (const Result& result : expected) EXPECT_EQ(result.error, "");
    Prompt prompt = prompt_of(20, 1, engine.vocabulary_size());
    prompt.token_ids[11] = spoiled_token;
    Collector collector;
    const auto request = engine.submit(prompt, params_of(1000, 1), collector.sink());
    const auto others = run_together(engine, 8);
    const Result spoiled = collector.wait();
    EXPECT_EQ(spoiled.finish, FinishReason::error);
    EXPECT_NE(spoiled.error.find("not finite"), std::string::npos) << spoiled.error;
    EXPECT_TRUE(spoiled.tokens.empty());
    expect_same(others, expected, "beside a spoiled one");
    expect_memory_returned(setup);
}

}  // namespace sheaf
