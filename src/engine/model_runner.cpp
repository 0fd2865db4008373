#include "engine/model_runner.h"

#include "ops/contracts.h"

namespace sheaf {

ModelRunner::ModelRunner(std::shared_ptr<const Model> model, Machine& machine, const CachePool& pool)
    : model_(std::move(model)), pool_(pool), ops_(checked_in_debug(machine.make_ops())) {}

StepLogits ModelRunner::run(std::span<const Slice> slices, std::span<const int32_t> wanted) {
    SHEAF_CHECK(slices.size() == wanted.size());
    std::vector<int32_t> token_ids, output_rows;
    std::array<std::vector<int32_t>, 3> positions;
    std::vector<SequenceSpan> spans;
    for (size_t i = 0; i < slices.size(); ++i) {
        const auto& [sequence, count] = slices[i];
        const auto begin = static_cast<int32_t>(token_ids.size());
        for (int32_t at = sequence->cached; at < sequence->cached + count; ++at) {
            token_ids.push_back(sequence->tokens[at]);
            for (int32_t axis = 0; axis < 3; ++axis) positions[axis].push_back(sequence->position(axis, at));
        }
        for (int32_t row = count - wanted[i]; row < count; ++row) output_rows.push_back(begin + row);
        spans.push_back({.begin = begin,
                         .count = count,
                         .context = sequence->cached,
                         .slot = sequence->memory->slot(),
                         .blocks = sequence->memory->blocks()});
    }
    const auto tokens = static_cast<int64_t>(token_ids.size());
    std::vector<int32_t> flat;
    for (const auto& axis : positions) flat.insert(flat.end(), axis.begin(), axis.end());

    ops_->begin_step();
    Batch batch;
    batch.token_ids = ops_->upload(token_ids.data(), DType::i32, Shape{tokens});
    batch.positions = ops_->upload(flat.data(), DType::i32, Shape{3, tokens});
    batch.sequences = spans;
    batch.kv = pool_.kv();
    batch.state = pool_.state();

    StepLogits logits;
    logits.vocabulary = model_->config.text.vocab_size;
    if (output_rows.empty()) {
        model_->text.hidden(*ops_, batch);
        return logits;
    }
    const auto outputs = static_cast<int64_t>(output_rows.size());
    batch.output_rows = ops_->upload(output_rows.data(), DType::i32, Shape{outputs});
    const Tensor result = model_->text.forward(*ops_, batch);
    logits.values.resize(static_cast<size_t>(outputs * logits.vocabulary));
    ops_->download(result, logits.values.data());
    return logits;
}

}  // namespace sheaf
