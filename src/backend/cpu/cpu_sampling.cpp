// Tokens from logits, a row to a task: the definition of ops/sampling.h on the memory as it lies.
#include "backend/cpu/cpu_ops.h"

namespace sheaf::cpu {
namespace {

/// The records that a tensor of bytes holds.
template <class T>
std::span<const T> records(const Tensor& bytes) {
    if (!bytes.defined()) return {};
    return {static_cast<const T*>(bytes.raw()), bytes.bytes() / sizeof(T)};
}

}  // namespace

Tensor CpuOps::known_tokens(const Tensor& token_ids, const Tensor& chosen) {
    const Tensor result = make(DType::i32, token_ids.shape());
    for (int64_t i = 0; i < token_ids.elements(); ++i) {
        const int32_t token = token_ids.data<int32_t>()[i];
        result.data<int32_t>()[i] = token < 0 ? chosen.data<int32_t>()[-1 - token] : token;
    }
    return result;
}

Sampled CpuOps::sample(const Tensor& logits, const SamplingBatch& batch) {
    const int64_t rows = logits.size(0), vocabulary = logits.size(1), best = std::max(batch.logprobs, 0);
    const auto choices = records<RowSampling>(batch.rows);
    Sampled sampled;
    sampled.rows = make(DType::i32, Shape{rows, 4});
    if (best > 0) {
        sampled.best_ids = make(DType::i32, Shape{rows, best});
        sampled.best_logprobs = make(DType::f32, Shape{rows, best});
    }
    for_rows(rows, vocabulary, [&](int64_t row) {
        sample_row({logits.row<float>(row), static_cast<size_t>(vocabulary)},
                   choices[static_cast<size_t>(row)], records<LogitEdit>(batch.edits),
                   records<uint32_t>(batch.masks), batch.logprobs,
                   reinterpret_cast<SampledRow*>(sampled.rows.raw())[row],
                   best > 0 ? sampled.best_ids.row<int32_t>(row) : nullptr,
                   best > 0 ? sampled.best_logprobs.row<float>(row) : nullptr);
    });
    // In the order of rows, as a slot may be named twice.
    for (int64_t row = 0; batch.chosen.defined() && row < rows; ++row)
        if (const int32_t slot = choices[static_cast<size_t>(row)].slot; slot >= 0)
            batch.chosen.data<int32_t>()[slot] = sampled.rows.row<int32_t>(row)[0];
    return sampled;
}

}  // namespace sheaf::cpu
