// ModelRunner: turns the slices of a step into its input, runs the model and brings the wanted logits to the
// host. The only place where engine and operators meet. Must not know sampling or scheduling.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/graph_runner.h"
#include "engine/scheduler.h"
#include "model/model.h"
#include "ops/ops.h"

namespace sheaf {

/// Logits of one step, rows in the order of the slices that wanted them: all of them, or a short list of the
/// largest ones of each row, largest first.
struct StepLogits {
    std::vector<float> values;      // (rows, vocabulary), or (rows, best)
    std::vector<int32_t> best_ids;  // (rows, best), or none
    int64_t best = 0;
    int64_t vocabulary = 0;
    std::span<const float> row(int64_t i) const {
        return std::span(values).subspan(static_cast<size_t>(i * vocabulary),
                                         static_cast<size_t>(vocabulary));
    }
    /// Of a short list.
    std::span<const float> best_of(int64_t i) const {
        return std::span(values).subspan(static_cast<size_t>(i * best), static_cast<size_t>(best));
    }
    std::span<const int32_t> best_ids_of(int64_t i) const {
        return std::span(best_ids).subspan(static_cast<size_t>(i * best), static_cast<size_t>(best));
    }
};

class ModelRunner {
  public:
    ModelRunner(std::shared_ptr<const Model> model, Machine& machine, GraphOptions options = {});

    /// Which caches the steps work on; they stay where they are.
    void attach(const CachePool& pool);
    /// Does a step of `tokens` tokens with `outputs` wanted rows, and one of a single token, on caches of its
    /// own: afterwards the machine holds the memory that steps need, and has its kernels at hand.
    void rehearse(Machine& machine, int32_t tokens, int32_t outputs);

    /// Runs the slices' tokens and, for each slice, gives the logits of its last `wanted[i]` rows (0: none).
    /// `choice`: whether a short list will do. Does not change the sequences.
    StepLogits run(std::span<const Slice> slices, std::span<const int32_t> wanted,
                   const StepChoice& choice = {});

  private:
    std::shared_ptr<const Model> model_;
    int64_t vocabulary_;
    GraphRunner runner_;
};

}  // namespace sheaf
