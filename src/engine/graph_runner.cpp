#include "engine/graph_runner.h"

#include <algorithm>

#include "base/log.h"

namespace sheaf {
namespace {

/// Padding costs the bytes of a few experts more, a recording memory and the time to make it: four sizes to
/// each doubling.
constexpr int64_t step_sizes[] = {1,  2,  3,  4,  5,  6,  7,  8,  10,  12,  14,  16,  20,  24,
                                  28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256};
/// Steps are recorded for sequences of up to this many tokens, then for four times as many, and so on.
constexpr int32_t shortest_bound = 1024, bound_factor = 4;

StepInput padded(const StepInput& input, int64_t sequences) {
    const int64_t tokens = input.tokens();
    StepInput result;
    result.token_ids = input.token_ids;
    result.token_ids.resize(static_cast<size_t>(sequences), 0);
    result.positions.assign(static_cast<size_t>(3 * sequences), 0);
    for (int64_t axis = 0; axis < 3; ++axis)
        std::copy_n(input.positions.begin() + axis * tokens, tokens,
                    result.positions.begin() + axis * sequences);
    result.output_rows = input.output_rows;
    result.sequences = input.sequences;
    for (int64_t row = tokens; row < sequences; ++row) {
        result.output_rows.push_back(static_cast<int32_t>(row));
        result.sequences.push_back({.begin = static_cast<int32_t>(row), .count = 0, .context = 0, .slot = 0});
    }
    return result;
}

}  // namespace

GraphRunner::GraphRunner(std::shared_ptr<const Model> model, std::unique_ptr<Ops> ops,
                         std::span<const KvLayer> kv, std::span<const StateLayer> state, GraphOptions options)
    : model_(std::move(model)),
      ops_(std::move(ops)),
      kv_(kv),
      state_(state),
      options_(options),
      machine_records_(ops_->record([] {}) != nullptr) {}

void GraphRunner::attach(std::span<const KvLayer> kv, std::span<const StateLayer> state) {
    recorded_.clear();
    kv_ = kv;
    state_ = state;
}

int64_t GraphRunner::padded_sequences(int64_t sequences) {
    const auto* size = std::lower_bound(std::begin(step_sizes), std::end(step_sizes), sequences);
    return size == std::end(step_sizes) ? sequences : *size;
}

bool GraphRunner::is_decode(const StepInput& input) const {
    if (input.sequences.empty() || std::ssize(input.sequences) > most_recorded) return false;
    if (input.output_rows.size() != input.sequences.size()) return false;
    for (size_t i = 0; i < input.sequences.size(); ++i)
        if (input.sequences[i].count != 1 || input.output_rows[i] != static_cast<int32_t>(i)) return false;
    return true;
}

int32_t GraphRunner::length_bound(const StepInput& input) const {
    int32_t longest = 1;
    for (const SequenceSpan& span : input.sequences) longest = std::max(longest, span.context + span.count);
    int32_t bound = shortest_bound;
    while (bound < longest && bound < INT32_MAX / bound_factor) bound *= bound_factor;
    return options_.max_length >= longest ? std::min(bound, options_.max_length) : bound;
}

StepResult GraphRunner::forward(const Batch& batch, const StepChoice& choice) {
    StepResult result;
    if (!batch.output_rows.defined()) {
        result.logits = model_->text.hidden(*ops_, batch);
        return result;
    }
    result.logits = model_->text.forward(*ops_, batch);
    if (choice.best == 0) return result;
    const int64_t vocabulary = result.logits.size(1);
    const int64_t limit = choice.limit > 0 ? std::min<int64_t>(choice.limit, vocabulary) : vocabulary;
    result.best = ops_->top_k(result.logits.columns(0, limit), std::min<int64_t>(choice.best, limit));
    return result;
}

bool GraphRunner::record(Recorded& recorded, const Batch& batch, const StepChoice& choice) {
    try {
        recorded.recording = ops_->record([&] { recorded.result = forward(batch, choice); });
    } catch (const std::exception& error) {
        log::warn("steps are launched one by one from here on: recording one failed ({})", error.what());
        options_.replay = false;
        return false;
    }
    return true;
}

StepResult GraphRunner::run_plain(const StepInput& input, const StepChoice& choice, int32_t bound,
                                  Recorded* recorded) {
    const int64_t tokens = input.tokens();
    ops_->begin_step();
    Batch batch;
    batch.token_ids = ops_->upload(input.token_ids.data(), DType::i32, Shape{tokens});
    batch.positions = ops_->upload(input.positions.data(), DType::i32, Shape{3, tokens});
    batch.sequences = input.sequences;
    batch.length_bound = bound;
    batch.kv = kv_;
    batch.state = state_;
    if (!input.output_rows.empty())
        batch.output_rows = ops_->upload(input.output_rows.data(), DType::i32,
                                         Shape{static_cast<int64_t>(input.output_rows.size())});
    ops_->stage(batch);
    if (!recorded || !options_.replay) return forward(batch, choice);
    if (!recorded->done_once) {
        recorded->done_once = true;
        return forward(batch, choice);
    }
    // A failed recording leaves a step half made: it begins anew.
    if (!recorded->recording && !record(*recorded, batch, choice))
        return run_plain(input, choice, bound, nullptr);
    recorded->recording->replay();
    return recorded->result;
}

StepResult GraphRunner::run(const StepInput& input, const StepChoice& choice) {
    if (!machine_records_ || !is_decode(input)) return run_plain(input, choice, 0, nullptr);
    const int64_t sequences = padded_sequences(std::ssize(input.sequences)), wanted = input.tokens();
    const int32_t bound = length_bound(input);
    Recorded& recorded = recorded_[{sequences, bound, choice}];
    if (sequences == wanted) return run_plain(input, choice, bound, &recorded);
    StepResult result = run_plain(padded(input, sequences), choice, bound, &recorded);
    result.logits = result.logits.rows(0, wanted);
    if (choice.best > 0) result.best = {result.best.ids.rows(0, wanted), result.best.weights.rows(0, wanted)};
    return result;
}

}  // namespace sheaf
