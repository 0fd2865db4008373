#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_map>

#include "base/counter_random.h"
#include "base/error.h"
#include "model/logits.h"

namespace sheaf {
namespace {

constexpr float masked = -std::numeric_limits<float>::infinity();

void check_finite(std::span<const float> logits) {
    float largest = masked, smallest = std::numeric_limits<float>::infinity();
    bool nan = false;
    for (const float value : logits) {
        nan |= value != value;
        largest = std::max(largest, value);
        smallest = std::min(smallest, value);
    }
    if (nan || !std::isfinite(largest) || !std::isfinite(smallest))
        fail(ErrorKind::corrupt_file,
             "the model produced logits that are not finite; its weights or dtype are broken");
}

void apply_penalties(std::vector<float>& logits, const SamplerInput& input, const SamplingParams& params) {
    if (params.repetition_penalty != 1.0f) {
        std::vector<bool> seen(logits.size(), false);
        for (const auto tokens : {input.prompt, input.generated}) {
            for (const int32_t token : tokens) {
                if (token < 0 || token >= static_cast<int32_t>(logits.size()) || seen[token]) continue;
                seen[token] = true;
                float& logit = logits[token];
                logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
            }
        }
    }
    if (params.presence_penalty == 0 && params.frequency_penalty == 0) return;
    std::unordered_map<int32_t, int32_t> counts;
    for (const int32_t token : input.generated) ++counts[token];
    for (const auto& [token, count] : counts)
        logits[token] -= params.presence_penalty + params.frequency_penalty * static_cast<float>(count);
}

void apply_masks(std::vector<float>& logits, const SamplerInput& input, const SamplingParams& params) {
    if (!params.allowed_token_ids.empty()) {
        std::vector<float> kept(logits.size(), masked);
        for (const int32_t token : params.allowed_token_ids) kept[token] = logits[token];
        logits = std::move(kept);
    }
    for (const auto& [token, bias] : params.logit_bias) logits[token] += bias;
    if (static_cast<int32_t>(input.generated.size()) < params.min_tokens) {
        for (const int32_t token : input.end_tokens) logits[token] = masked;
        for (const int32_t token : params.stop_token_ids) logits[token] = masked;
    }
    if (input.token_limit > 0) {
        for (size_t token = static_cast<size_t>(input.token_limit); token < logits.size(); ++token)
            logits[token] = masked;
    }
}

int32_t argmax(std::span<const float> logits) {
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

struct Candidate {
    int32_t token;
    double weight;  // exp((logit - largest) / temperature)
};

bool more_likely(const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
}

/// ids: of the logits, ascending; empty: their places.
int32_t draw(std::span<const int32_t> ids, std::span<const float> logits, const SamplingParams& params,
             uint64_t index) {
    const float largest = logits[argmax(logits)];
    std::vector<Candidate> candidates;
    double total = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
        if (logits[i] == masked) continue;
        const double weight = std::exp(static_cast<double>(logits[i] - largest) / params.temperature);
        if (weight < params.min_p) continue;  // the most likely token has weight 1
        candidates.push_back({ids.empty() ? static_cast<int32_t>(i) : ids[i], weight});
        total += weight;
    }
    const size_t top_k = params.top_k > 0 ? static_cast<size_t>(params.top_k) : candidates.size();
    if (top_k < candidates.size()) {
        std::nth_element(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(top_k),
                         candidates.end(), more_likely);
        candidates.resize(top_k);
        std::sort(candidates.begin(), candidates.end(), more_likely);  // fixes the order of the sum
        total = 0;
        for (const Candidate& candidate : candidates) total += candidate.weight;
    }
    if (params.top_p < 1.0f) {
        // Tokens that even together weigh less than the part to be cut off need no sorting.
        const double least = total * (1.0 - params.top_p) / static_cast<double>(candidates.size());
        std::erase_if(candidates, [&](const Candidate& candidate) { return candidate.weight < least; });
        std::sort(candidates.begin(), candidates.end(), more_likely);
        double sum = 0;
        size_t kept = 0;
        while (kept < candidates.size() && sum < params.top_p * total) sum += candidates[kept++].weight;
        candidates.resize(std::max<size_t>(kept, 1));
        total = sum;
    }
    double left = counter_random_uniform(params.seed, index) * total;
    for (const Candidate& candidate : candidates) {
        left -= candidate.weight;
        if (left <= 0) return candidate.token;
    }
    return candidates.back().token;
}

}  // namespace

bool is_greedy(const SamplingParams& params) {
    return params.temperature < 1e-5f;
}

int32_t short_list_for(const SamplingParams& params, int64_t generated) {
    const bool plain = params.logprobs < 0 && params.repetition_penalty == 1.0f &&
                       params.presence_penalty == 0 && params.frequency_penalty == 0 &&
                       params.allowed_token_ids.empty() && params.logit_bias.empty() &&
                       generated >= params.min_tokens;
    if (!plain) return 0;
    if (is_greedy(params)) return 1;
    return params.top_k > 0 && params.top_k < INT32_MAX ? params.top_k + 1
                                                        : 0;  // one more: something is cut off
}

SampledToken sample(const ShortList& list, const SamplingParams& params, uint64_t index) {
    check_finite(list.logits);
    SampledToken chosen;
    if (is_greedy(params)) {
        chosen.token = list.ids[0];
        return chosen;
    }
    std::vector<size_t> order(list.ids.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return list.ids[a] < list.ids[b]; });
    std::vector<int32_t> ids;
    std::vector<float> logits;
    for (const size_t i : order) {
        ids.push_back(list.ids[i]);
        logits.push_back(list.logits[i]);
    }
    chosen.token = draw(ids, logits, params, index);
    return chosen;
}

PromptLogprob token_logprobs(std::span<const float> logits, int32_t token, int32_t alternatives) {
    check_finite(logits);
    const double normalizer = log_sum_exp(logits);
    auto describe = [&](int32_t id, int32_t rank) {
        return TokenLogprob{id, static_cast<float>(static_cast<double>(logits[id]) - normalizer), rank};
    };
    PromptLogprob result;
    const auto above =
        std::count_if(logits.begin(), logits.end(), [&](float value) { return value > logits[token]; });
    result.logprob = describe(token, static_cast<int32_t>(above) + 1);
    if (alternatives <= 0) return result;
    std::vector<int32_t> ids(logits.size());
    std::iota(ids.begin(), ids.end(), 0);
    const size_t count = std::min<size_t>(static_cast<size_t>(alternatives), ids.size());
    std::partial_sort(
        ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count), ids.end(),
        [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
    for (size_t i = 0; i < count; ++i)
        result.alternatives.push_back(describe(ids[i], static_cast<int32_t>(i) + 1));
    return result;
}

SampledToken sample(const SamplerInput& input, const SamplingParams& params) {
    check_finite(input.logits);
    std::vector<float> logits(input.logits.begin(), input.logits.end());
    apply_masks(logits, input, params);
    apply_penalties(logits, input, params);
    const int32_t best = argmax(logits);
    if (logits[best] == masked)
        fail(ErrorKind::invalid_input,
             "allowed_token_ids, logit_bias and min_tokens leave no token to choose");
    SampledToken chosen;
    // Below this temperature the second-best token's weight underflows: the limit is the greedy choice.
    chosen.token = is_greedy(params) ? best : draw({}, logits, params, input.generated.size());
    if (params.logprobs >= 0) {
        PromptLogprob described = token_logprobs(input.logits, chosen.token, params.logprobs);
        chosen.logprob = described.logprob;
        chosen.alternatives = std::move(described.alternatives);
    }
    return chosen;
}

}  // namespace sheaf
