// SamplingParams: how the tokens of one request are chosen and when it ends, in token terms. Filled by the
// request readers from JSON, read by the sampler and the scheduler. Must not know text (stop strings belong
// to processor/text_stream).
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace sheaf {

struct SamplingParams {
    float temperature = 1.0f;                                 // 0: greedy
    float top_p = 1.0f;                                       // (0, 1]
    int32_t top_k = 0;                                        // 0: off
    float min_p = 0.0f;                                       // [0, 1]
    float presence_penalty = 0.0f, frequency_penalty = 0.0f;  // [-2, 2], over generated tokens
    float repetition_penalty = 1.0f;                          // > 0, over prompt and generated tokens
    uint64_t seed = 0;       // with the token's index the only source of noise
    int32_t max_tokens = 0;  // 0 is allowed: prompt log-probabilities only
    int32_t min_tokens = 0;  // no stop token before
    bool ignore_eos = false;
    std::vector<int32_t> stop_token_ids;                // besides the model's own end tokens
    std::vector<std::pair<int32_t, float>> logit_bias;  // token, added to its logit
    std::vector<int32_t> allowed_token_ids;             // empty: all
    std::vector<std::vector<int32_t>> bad_words;        // runs of tokens that the answer never completes
    int32_t logprobs =
        -1;  // alternatives reported per generated token; -1: none reported, 0: the token's own
    int32_t prompt_logprobs = -1;  // likewise for prompt tokens
};

}  // namespace sheaf
