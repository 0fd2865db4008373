#include "engine/model_runner.h"

#include <algorithm>
#include <array>

#include "ops/contracts.h"

namespace sheaf {

ModelRunner::ModelRunner(std::shared_ptr<const Model> model, Machine& machine, GraphOptions options)
    : model_(std::move(model)),
      vocabulary_(model_->config.text.vocab_size),
      runner_(model_, checked_in_debug(machine.make_ops()), {}, {}, options) {}

void ModelRunner::attach(const CachePool& pool) {
    runner_.attach(pool.kv(), pool.state());
}

void ModelRunner::rehearse(Machine& machine, int32_t tokens, int32_t outputs) {
    constexpr int32_t block_size = 16;
    CachePool pool(model_->config.text, machine, 1, tokens / block_size + 2, block_size);
    SequenceMemory memory = pool.acquire();
    memory.reserve(tokens + 1);
    attach(pool);
    for (const int32_t count : {tokens, 1}) {
        StepInput input;
        const int32_t context = count == 1 ? tokens : 0;
        for (int32_t i = 0; i < count; ++i) input.token_ids.push_back(i % static_cast<int32_t>(vocabulary_));
        for (int32_t i = 0; i < 3 * count; ++i) input.positions.push_back(context + i % count);
        for (int32_t i = count - std::min(count, outputs); i < count; ++i) input.output_rows.push_back(i);
        input.sequences.push_back({.begin = 0,
                                   .count = count,
                                   .context = context,
                                   .slot = memory.slot(),
                                   .blocks = memory.blocks()});
        input.sampling.rows.resize(input.output_rows.size());
        const Tensor chosen = runner_.run(input).sampled.rows;
        std::vector<SampledRow> rows(input.output_rows.size());
        runner_.ops().download(chosen, rows.data());
    }
    runner_.attach({}, {});
}

StepOutput ModelRunner::run(std::span<const Slice> slices, const StepWishes& wishes) {
    SHEAF_CHECK(slices.size() == wishes.rows.size());
    StepInput input;
    std::array<std::vector<int32_t>, 3> positions;
    for (size_t i = 0; i < slices.size(); ++i) {
        const auto& [sequence, count] = slices[i];
        const auto begin = static_cast<int32_t>(input.token_ids.size());
        for (int32_t at = sequence->cached; at < sequence->cached + count; ++at) {
            input.token_ids.push_back(sequence->tokens[at]);
            for (int32_t axis = 0; axis < 3; ++axis) positions[axis].push_back(sequence->position(axis, at));
        }
        for (int32_t row = count - wishes.rows[i]; row < count; ++row)
            input.output_rows.push_back(begin + row);
        input.sequences.push_back({.begin = begin,
                                   .count = count,
                                   .context = sequence->cached,
                                   .slot = sequence->memory->slot(),
                                   .blocks = sequence->memory->blocks()});
    }
    for (const auto& axis : positions)
        input.positions.insert(input.positions.end(), axis.begin(), axis.end());
    input.sampling = wishes.sampling;

    const StepResult result = runner_.run(input);
    StepOutput output;
    output.vocabulary = vocabulary_;
    if (input.output_rows.empty()) return output;
    const Sampled& sampled = result.sampled;
    output.rows.resize(input.output_rows.size());
    runner_.ops().download(sampled.rows, output.rows.data());
    if (sampled.best_ids.defined()) {
        output.best = sampled.best_ids.size(1);
        output.best_ids.resize(static_cast<size_t>(sampled.best_ids.elements()));
        output.best_logprobs.resize(output.best_ids.size());
        runner_.ops().download(sampled.best_ids, output.best_ids.data());
        runner_.ops().download(sampled.best_logprobs, output.best_logprobs.data());
    }
    if (wishes.logits) {
        output.logits.resize(input.output_rows.size() * static_cast<size_t>(vocabulary_));
        runner_.ops().download(result.logits, output.logits.data());
    }
    return output;
}

}  // namespace sheaf
