// ModelRunner: turns the slices of a step into its input, runs the model and brings the chosen tokens to the
// host. The only place where engine and operators meet. Must not know scheduling, or how tokens are chosen.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/graph_runner.h"
#include "engine/scheduler.h"
#include "model/model.h"
#include "ops/ops.h"

namespace sheaf {

/// What one step brings to the host, rows in the order of the slices that wanted them.
struct StepOutput {
    std::vector<SampledRow> rows;      // the chosen tokens
    std::vector<int32_t> best_ids;     // (rows, best), the most likely tokens
    std::vector<float> best_logprobs;  // likewise
    int64_t best = 0;
    std::vector<float> logits;  // (rows, vocabulary), or none
    int64_t vocabulary = 0;
    std::span<const float> logits_of(int64_t row) const {
        return std::span(logits).subspan(static_cast<size_t>(row * vocabulary),
                                         static_cast<size_t>(vocabulary));
    }
};

/// What a step is to do besides reading its tokens.
struct StepWishes {
    std::vector<int32_t> rows;  // of each slice: how many of its last rows are output rows
    SamplingRecords sampling;   // a row for each output row
    bool logits = false;        // whether whole logits come to the host
};

/// A step that the machine has been given.
class RunningStep {
  public:
    /// Waits for it. Errors: io for a fault of the machine.
    StepOutput wait();

  private:
    friend class ModelRunner;
    StepOutput output_;
    std::unique_ptr<Reading> rows_, best_ids_, best_logprobs_;
};

class ModelRunner {
  public:
    /// keep_tokens: chosen tokens stay on the machine too, so that a step may begin before the host has seen
    /// those of the step before it.
    ModelRunner(std::shared_ptr<const Model> model, Machine& machine, GraphOptions options = {},
                bool keep_tokens = false);

    /// Which caches the steps work on; they stay where they are.
    void attach(const CachePool& pool);
    /// Does a step of `tokens` tokens with `outputs` wanted rows, and one of a single token, on caches of its
    /// own: afterwards the machine holds the memory that steps need, and has its kernels at hand.
    void rehearse(Machine& machine, int32_t tokens, int32_t outputs);

    /// Begins to run the slices' tokens and to choose the tokens of their output rows. A token that is still
    /// in flight (Sequence::in_flight) is taken from where its step keeps it. Does not change the sequences.
    RunningStep launch(std::span<const Slice> slices, const StepWishes& wishes);

  private:
    StepInput input_of(std::span<const Slice> slices, const StepWishes& wishes) const;

    std::shared_ptr<const Model> model_;
    Machine& machine_;
    bool keep_tokens_;
    int64_t vocabulary_;
    GraphRunner runner_;
    Buffer chosen_;
};

}  // namespace sheaf
