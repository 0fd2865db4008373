// Sampler: the next token of one sequence from its logits. A pure function of logits, parameters, the tokens
// so far and (seed, index): no state, no order of requests. Order of steps as in vLLM: allowed ids, bias, end
// tokens masked before min_tokens, penalties, temperature, min-p, top-k, top-p. Must not know text or
// sequences.
#pragma once

#include <span>
#include <vector>

#include "engine/engine.h"

namespace sheaf {

struct SamplerInput {
    std::span<const float> logits;        // (vocabulary)
    std::span<const int32_t> prompt;      // for the repetition penalty
    std::span<const int32_t> generated;   // its size is the index of the token to choose
    std::span<const int32_t> end_tokens;  // masked while fewer than min_tokens exist
    int32_t token_limit = 0;              // ids from here on are padding rows of the matrix; 0: none
};

/// Errors: Error when the logits are not finite.
SampledToken sample(const SamplerInput& input, const SamplingParams& params);

/// Log-probability and rank of `token`, and the most likely `alternatives`, from raw logits. Errors: as
/// above.
PromptLogprob token_logprobs(std::span<const float> logits, int32_t token, int32_t alternatives);

}  // namespace sheaf
