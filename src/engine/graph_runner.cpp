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
/// Room for edits of logits grows likewise.
constexpr int32_t fewest_edits = 1024;
/// Steps that report more alternatives than this are rare, and are not recorded.
constexpr int32_t most_recorded_logprobs = 64;

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
    result.sampling = input.sampling;
    if (!result.sampling.rows.empty()) result.sampling.rows.resize(static_cast<size_t>(sequences));
    return result;
}

/// Rows of records as a machine takes them, up to `room` of them.
template <class T>
Tensor upload_records(Ops& ops, const std::vector<T>& records, size_t room) {
    const Shape shape{static_cast<int64_t>(room), static_cast<int64_t>(sizeof(T))};
    if (records.size() == room) return ops.upload(records.data(), DType::u8, shape);
    std::vector<T> filled(records);
    filled.resize(room);
    return ops.upload(filled.data(), DType::u8, shape);
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

void GraphRunner::attach(std::span<const KvLayer> kv, std::span<const StateLayer> state,
                         const Tensor& chosen) {
    recorded_.clear();
    chosen_ = chosen;
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

GraphRunner::Form GraphRunner::form_of(const StepInput& input) const {
    const SamplingRecords& sampling = input.sampling;
    Form form{
        .logprobs = sampling.logprobs, .sampled = !sampling.rows.empty(), .masked = !sampling.masks.empty()};
    const auto edits = static_cast<int32_t>(sampling.edits.size());
    if (edits > 0)
        for (form.edits = fewest_edits; form.edits < edits;) form.edits *= bound_factor;
    return form;
}

GraphRunner::Uploaded GraphRunner::upload(const StepInput& input, const Form& form) {
    const int64_t tokens = input.tokens(), words = (model_->config.text.vocab_size + 31) / 32;
    Uploaded step;
    step.batch.token_ids = ops_->upload(input.token_ids.data(), DType::i32, Shape{tokens});
    step.batch.positions = ops_->upload(input.positions.data(), DType::i32, Shape{3, tokens});
    step.batch.sequences = input.sequences;
    step.batch.length_bound = form.length_bound;
    step.batch.kv = kv_;
    step.batch.state = state_;
    if (!input.output_rows.empty())
        step.batch.output_rows = ops_->upload(input.output_rows.data(), DType::i32,
                                              Shape{static_cast<int64_t>(input.output_rows.size())});
    if (!form.sampled) return step;
    const SamplingRecords& sampling = input.sampling;
    SHEAF_CHECK(sampling.rows.size() == input.output_rows.size());
    step.sampling.rows = upload_records(*ops_, sampling.rows, sampling.rows.size());
    step.sampling.chosen = chosen_;
    step.sampling.logprobs = form.logprobs;
    if (form.edits > 0)
        step.sampling.edits = upload_records(*ops_, sampling.edits, static_cast<size_t>(form.edits));
    if (form.masked) {
        std::vector<uint32_t> masks = sampling.masks;
        masks.resize(sampling.rows.size() * static_cast<size_t>(words));
        step.sampling.masks = ops_->upload(masks.data(), DType::i32, Shape{std::ssize(sampling.rows), words});
    }
    return step;
}

StepResult GraphRunner::forward(const Uploaded& step) {
    StepResult result;
    Batch batch = step.batch;
    if (chosen_.defined()) batch.token_ids = ops_->known_tokens(batch.token_ids, chosen_);
    if (!batch.output_rows.defined()) {
        result.logits = model_->text.hidden(*ops_, batch);
        return result;
    }
    result.logits = model_->text.forward(*ops_, batch);
    if (step.sampling.rows.defined()) result.sampled = ops_->sample(result.logits, step.sampling);
    return result;
}

bool GraphRunner::record(Recorded& recorded, const Uploaded& step) {
    try {
        recorded.recording = ops_->record([&] { recorded.result = forward(step); });
    } catch (const std::exception& error) {
        log::warn("steps are launched one by one from here on: recording one failed ({})", error.what());
        options_.replay = false;
        return false;
    }
    return true;
}

StepResult GraphRunner::run_plain(const StepInput& input, const Form& form, Recorded* recorded) {
    ops_->begin_step();
    const Uploaded step = upload(input, form);
    ops_->stage(step.batch);
    if (!recorded || !options_.replay) return forward(step);
    if (!recorded->done_once) {
        recorded->done_once = true;
        return forward(step);
    }
    // A failed recording leaves a step half made: it begins anew.
    if (!recorded->recording && !record(*recorded, step)) return run_plain(input, form, nullptr);
    recorded->recording->replay();
    return recorded->result;
}

StepResult GraphRunner::run(const StepInput& input) {
    Form form = form_of(input);
    if (!machine_records_ || !is_decode(input) || form.logprobs > most_recorded_logprobs)
        return run_plain(input, form, nullptr);
    const int64_t sequences = padded_sequences(std::ssize(input.sequences)), wanted = input.tokens();
    form.length_bound = length_bound(input);
    Recorded& recorded = recorded_[{sequences, form}];
    if (sequences == wanted) return run_plain(input, form, &recorded);
    StepResult result = run_plain(padded(input, sequences), form, &recorded);
    result.logits = result.logits.rows(0, wanted);
    if (!form.sampled) return result;
    Sampled& sampled = result.sampled;
    sampled.rows = sampled.rows.rows(0, wanted);
    if (sampled.best_ids.defined()) {
        sampled.best_ids = sampled.best_ids.rows(0, wanted);
        sampled.best_logprobs = sampled.best_logprobs.rows(0, wanted);
    }
    return result;
}

}  // namespace sheaf
