#include "engine/model_runner.h"

#include <array>

#include "ops/contracts.h"

namespace sheaf {

ModelRunner::ModelRunner(std::shared_ptr<const Model> model, Machine& machine, const CachePool& pool,
                         GraphOptions options)
    : vocabulary_(model->config.text.vocab_size),
      runner_(std::move(model), checked_in_debug(machine.make_ops()), pool.kv(), pool.state(), options) {}

StepLogits ModelRunner::run(std::span<const Slice> slices, std::span<const int32_t> wanted) {
    SHEAF_CHECK(slices.size() == wanted.size());
    StepInput input;
    std::array<std::vector<int32_t>, 3> positions;
    for (size_t i = 0; i < slices.size(); ++i) {
        const auto& [sequence, count] = slices[i];
        const auto begin = static_cast<int32_t>(input.token_ids.size());
        for (int32_t at = sequence->cached; at < sequence->cached + count; ++at) {
            input.token_ids.push_back(sequence->tokens[at]);
            for (int32_t axis = 0; axis < 3; ++axis) positions[axis].push_back(sequence->position(axis, at));
        }
        for (int32_t row = count - wanted[i]; row < count; ++row) input.output_rows.push_back(begin + row);
        input.sequences.push_back({.begin = begin,
                                   .count = count,
                                   .context = sequence->cached,
                                   .slot = sequence->memory->slot(),
                                   .blocks = sequence->memory->blocks()});
    }
    for (const auto& axis : positions)
        input.positions.insert(input.positions.end(), axis.begin(), axis.end());

    const Tensor result = runner_.run(input);
    StepLogits logits;
    logits.vocabulary = vocabulary_;
    if (input.output_rows.empty()) return logits;
    logits.values.resize(input.output_rows.size() * static_cast<size_t>(vocabulary_));
    runner_.ops().download(result, logits.values.data());
    return logits;
}

}  // namespace sheaf
