// Sampler: how the next token of one sequence is chosen, in the records that a machine samples by
// (ops/sampling.h): a pure function of parameters, the tokens so far and (seed, index): no state, no order of
// requests. Order of steps as in vLLM: allowed ids, bias, bad words and early end tokens masked, penalties,
// temperature, min-p, top-k, top-p. Must not know text or sequences.
#pragma once

#include <span>
#include <unordered_map>
#include <vector>

#include "engine/engine.h"
#include "ops/sampling.h"

namespace sheaf {

/// Which tokens a sequence has, for penalties: brought up to date by the tokens that came since the last
/// call.
class TokenHistory {
  public:
    struct Entry {
        int32_t token = 0, generated = 0;  // how often it was generated; 0: in the prompt alone
    };
    /// `tokens`: all of them, the first `prompt_size` the prompt's; they only ever grow.
    void update(std::span<const int32_t> tokens, size_t prompt_size);
    const std::vector<Entry>& entries() const { return entries_; }

  private:
    size_t seen_ = 0;
    std::vector<Entry> entries_;  // each token once
    std::unordered_map<int32_t, size_t> places_;
};

/// What the choice depends on besides the logits.
struct ChoiceInput {
    int64_t vocabulary = 0;
    int64_t index = 0;                      // of the token to choose, among the generated ones
    std::span<const int32_t> generated;     // the tokens before it, where needs_history()
    const TokenHistory* history = nullptr;  // likewise
    std::span<const int32_t> end_tokens;    // masked while fewer than min_tokens exist
    int32_t token_limit = 0;                // ids from here on are padding rows of the matrix; 0: none
};

/// Whether the next token is the most likely one.
bool is_greedy(const SamplingParams& params);
/// Whether the choice depends on which tokens came before, and not only on how many.
bool needs_history(const SamplingParams& params);

/// Adds the row of one token to `records`.
void append_choice(const ChoiceInput& input, const SamplingParams& params, SamplingRecords& records);
/// A row of which nothing is wanted but its logits.
void append_no_choice(SamplingRecords& records);

/// Errors: Error for a row that gave no token, in words for the request.
void check_chosen(SamplingStatus status);

/// A sequence's logits and tokens, all on the host.
struct SamplerInput {
    std::span<const float> logits;        // (vocabulary)
    std::span<const int32_t> prompt;      // for the repetition penalty
    std::span<const int32_t> generated;   // its size is the index of the token to choose
    std::span<const int32_t> end_tokens;  // masked while fewer than min_tokens exist
    int32_t token_limit = 0;              // ids from here on are padding rows of the matrix; 0: none
};

/// The same choice by the definition, without a machine. Errors: Error when the logits are not finite, or
/// nothing is left to choose.
SampledToken sample(const SamplerInput& input, const SamplingParams& params);

/// Log-probability and rank of `token`, and the most likely `alternatives`, from raw logits. Errors: as
/// above.
PromptLogprob token_logprobs(std::span<const float> logits, int32_t token, int32_t alternatives);

}  // namespace sheaf
