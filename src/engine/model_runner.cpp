#include "engine/model_runner.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "ops/contracts.h"

namespace sheaf {

namespace {

template <class T>
void copy_out(Reading& reading, std::vector<T>& values) {
    const std::span<const std::byte> bytes = reading.wait();
    values.resize(bytes.size() / sizeof(T));
    if (!bytes.empty()) std::memcpy(static_cast<void*>(values.data()), bytes.data(), bytes.size());
}

}  // namespace

StepOutput RunningStep::wait() {
    if (rows_) copy_out(*rows_, output_.rows);
    if (best_ids_) copy_out(*best_ids_, output_.best_ids);
    if (best_logprobs_) copy_out(*best_logprobs_, output_.best_logprobs);
    return std::move(output_);
}

ModelRunner::ModelRunner(std::shared_ptr<const Model> model, Machine& machine, GraphOptions options,
                         bool keep_tokens)
    : model_(std::move(model)),
      machine_(machine),
      keep_tokens_(keep_tokens),
      vocabulary_(model_->config.text.vocab_size),
      runner_(model_, checked_in_debug(machine.make_ops()), {}, {}, options) {}

void ModelRunner::attach(const CachePool& pool) {
    const int64_t slots = std::max(pool.slots_total(), 1);
    if (keep_tokens_) chosen_ = machine_.allocate(static_cast<size_t>(slots) * sizeof(int32_t));
    runner_.attach(pool.kv(), pool.state(),
                   keep_tokens_ ? chosen_.tensor(DType::i32, Shape{slots}) : Tensor{});
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

StepInput ModelRunner::input_of(std::span<const Slice> slices, const StepWishes& wishes) const {
    SHEAF_CHECK(slices.size() == wishes.rows.size());
    StepInput input;
    std::array<std::vector<int32_t>, 3> positions;
    for (size_t i = 0; i < slices.size(); ++i) {
        const auto& [sequence, count] = slices[i];
        const auto begin = static_cast<int32_t>(input.token_ids.size());
        for (int32_t at = sequence->cached; at < sequence->cached + count; ++at) {
            const bool known = at < static_cast<int32_t>(sequence->tokens.size());
            SHEAF_CHECK(known || (keep_tokens_ && at + 1 == sequence->length()));
            input.token_ids.push_back(known ? sequence->tokens[at] : -1 - sequence->memory->slot());
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
    return input;
}

RunningStep ModelRunner::launch(std::span<const Slice> slices, const StepWishes& wishes) {
    const StepInput input = input_of(slices, wishes);
    const StepResult result = runner_.run(input);
    RunningStep step;
    step.output_.vocabulary = vocabulary_;
    if (input.output_rows.empty()) return step;
    const Sampled& sampled = result.sampled;
    Ops& ops = runner_.ops();
    step.rows_ = ops.read_later(sampled.rows);
    if (sampled.best_ids.defined()) {
        step.output_.best = sampled.best_ids.size(1);
        step.best_ids_ = ops.read_later(sampled.best_ids);
        step.best_logprobs_ = ops.read_later(sampled.best_logprobs);
    }
    if (wishes.logits) {
        step.output_.logits.resize(input.output_rows.size() * static_cast<size_t>(vocabulary_));
        ops.download(result.logits, step.output_.logits.data());
    }
    return step;
}

}  // namespace sheaf
