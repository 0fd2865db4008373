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

/// The largest logits of a row, largest first (equal ones by their ids). Not finite: the row held such a
/// value.
struct ShortList {
    std::span<const int32_t> ids;
    std::span<const float> logits;
};

/// Whether the next token is the most likely one.
bool is_greedy(const SamplingParams& params);
/// How many of the largest logits decide about the token with this index, as surely as all of them do; 0: all
/// are needed.
int32_t short_list_for(const SamplingParams& params, int64_t generated);
/// The token that sample() would choose of the whole row; `list` has at least short_list_for() entries.
/// Errors: as below.
SampledToken sample(const ShortList& list, const SamplingParams& params, uint64_t index);

/// Errors: Error when the logits are not finite.
SampledToken sample(const SamplerInput& input, const SamplingParams& params);

/// Log-probability and rank of `token`, and the most likely `alternatives`, from raw logits. Errors: as
/// above.
PromptLogprob token_logprobs(std::span<const float> logits, int32_t token, int32_t alternatives);

}  // namespace sheaf
