// Sampling, as a step does it: how the token of each row of logits is chosen (Ops::sample), as plain records
// that travel to the machine in one piece each. choose() is the definition for one row, on the host: the only
// place that says what top-k, top-p, min-p, penalties and masks mean; back ends choose the same token
// wherever no rounding of a sum decides. Filled by the engine's sampler. Must not know requests, text or
// where the noise comes from.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace sheaf {

/// How the token of one row is chosen. Order of steps as in vLLM: mask, edits, limit, temperature, min-p,
/// top-k, top-p. Candidates are ordered by falling logit, equal ones by their ids.
struct RowSampling {
    double uniform = 0.5;               // the noise, in (0, 1): which part of the candidates' sum is chosen
    float temperature = 0;              // below least_temperature: the largest logit
    float top_p = 1, min_p = 0;         // (0, 1], [0, 1]
    int32_t top_k = 0;                  // 0: off
    float repetition_penalty = 1;       // for the edits that ask for it
    int32_t first_edit = 0, edits = 0;  // of SamplingBatch::edits
    int32_t mask = -1;                  // row of SamplingBatch::masks; -1: all ids are allowed
    int32_t limit = 0;                  // ids from here on are not chosen; 0: no limit
    int32_t slot = -1;                  // entry of SamplingBatch::chosen that keeps the token; -1: none
};

/// Below this temperature the second-best token's weight underflows: the limit is the greedy choice.
constexpr float least_temperature = 1e-5f;

/// What happens to the logit of one token; a row has at most one edit for each. In this order: + add; masked;
/// divided (or below 0: multiplied) by the row's repetition penalty; - subtract.
struct LogitEdit {
    int32_t token = 0;
    float add = 0, subtract = 0;
    int32_t kind = 0;
    static constexpr int32_t masked = 1, repeated = 2;
};

/// Numbers of the rows of logits, on the machine.
struct SamplingBatch {
    Tensor rows;   // u8 (rows, sizeof(RowSampling))
    Tensor edits;  // u8 (edits, sizeof(LogitEdit)); undefined: none
    Tensor
        masks;  // i32 (masks, (vocabulary + 31) / 32): bit i % 32 of word i / 32 allows id i; undefined: none
    Tensor chosen;  // i32 (slots): keeps tokens for later steps (Ops::known_tokens); undefined: nothing does
    int32_t logprobs = -1;  // -1: none; else of the chosen token and of the most likely `logprobs`
};

/// The same on the host, before it travels.
struct SamplingRecords {
    std::vector<RowSampling> rows;
    std::vector<LogitEdit> edits;
    std::vector<uint32_t> masks;
    int32_t logprobs = -1;
};

enum class SamplingStatus : int32_t {
    chosen = 0,
    not_finite = 1,    // the row held NaN or an infinity: no token (id 0)
    nothing_left = 2,  // masks and edits left no token to choose (id 0)
};

/// Result of Ops::sample.
struct Sampled {
    /// i32 (rows, 4): token, SamplingStatus, bits of the log-probability (f32), rank. The last two only with
    /// logprobs: of the raw logits, rank 1 is the most likely.
    Tensor rows;
    Tensor best_ids, best_logprobs;  // i32, f32 (rows, logprobs): the most likely, ties to the lower id
};

/// One row of Sampled::rows, on the host.
struct SampledRow {
    int32_t token = 0;
    SamplingStatus status = SamplingStatus::chosen;
    float logprob = 0;
    int32_t rank = 0;
};
static_assert(sizeof(SampledRow) == 4 * sizeof(int32_t) && sizeof(RowSampling) == 48 &&
              sizeof(LogitEdit) == 16);

/// Chooses the token of one row. `edits`: the row's own; `mask`: its words, or empty.
SampledRow choose(std::span<const float> logits, const RowSampling& row, std::span<const LogitEdit> edits,
                  std::span<const uint32_t> mask);

/// Row by row what Ops::sample does: `edits` and `masks` are those of all rows, the last two have `logprobs`
/// entries (0 where the logits are not finite).
void sample_row(std::span<const float> logits, const RowSampling& row, std::span<const LogitEdit> edits,
                std::span<const uint32_t> masks, int32_t logprobs, SampledRow& result, int32_t* best_ids,
                float* best_logprobs);

/// Whether all logits are finite: anything else is no answer of a model.
bool all_finite(std::span<const float> logits);

/// Fills in the log-probability and rank of row.token; returns log(sum(exp)) of the logits, which are finite.
double describe(std::span<const float> logits, SampledRow& row);

/// The ids of the largest logits, largest first, equal ones by their ids.
void largest_ids(std::span<const float> logits, std::span<int32_t> ids);

}  // namespace sheaf
