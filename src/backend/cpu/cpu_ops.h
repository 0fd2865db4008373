// CpuOps: every operator on the CPU. Activations are f32. A row's result is the same bits whatever the batch,
// the chunk of the prompt and the number of threads: kernels fix the order of every sum, and tasks write to
// places of their own. Made by CpuMachine. Must not know the model.
#pragma once

#include "backend/cpu/kernels.h"
#include "base/thread_pool.h"
#include "ops/ops.h"
#include "tensor/buffer.h"

namespace sheaf::cpu {

class CpuOps : public Ops {
  public:
    /// exact: for the products that keep f32 activations whatever `kernels` does (the router's).
    CpuOps(const Kernels& kernels, const Kernels& exact, ThreadPool& pool)
        : kernels_(kernels), exact_(exact), pool_(pool) {}

    DType activation_dtype() const override { return DType::f32; }
    Tensor make(DType dtype, Shape shape) override { return arena_.make(dtype, shape); }
    void begin_step() override { arena_.reset(); }
    void begin_layer(int) override { arena_.flip(); }
    void download(const Tensor& source, void* host) override;
    Tensor upload(const void* host, DType dtype, Shape shape) override;

    Tensor cast(const Tensor& x, DType dtype) override;
    Tensor unary(Unary function, const Tensor& x) override;
    Tensor binary(Binary function, const Tensor& x, const Tensor& b) override;
    Tensor scale(const Tensor& x, float factor) override;
    Tensor matmul(const Tensor& a, const Tensor& b) override;
    Tensor transpose(const Tensor& x) override;
    Tensor sum_columns(const Tensor& x) override;
    Tensor rsqrt(const Tensor& x, float epsilon) override;
    Tensor softmax(const Tensor& x, const Tensor& valid) override;
    Routing top_k(const Tensor& probabilities, int64_t k) override;
    Tensor gather_rows(const Tensor& table, const Tensor& indices) override;
    void scatter_rows(const Tensor& destination, const Tensor& indices, const Tensor& rows) override;
    Tensor concat_columns(std::span<const Tensor> parts) override;
    Tensor linear(const Tensor& x, const Linear& weight) override { return product(kernels_, x, weight); }
    Tensor linear_f32(const Tensor& x, const Linear& weight) override { return linear(x, weight); }
    Tensor expert(const Tensor& x, const Experts& experts, int64_t index) override;
    std::pair<Tensor, Tensor> rotary_angles(const Tensor& positions, const Rotary& rotary) override;

    Tensor rms_norm(const Tensor& x, const Norm& norm) override;
    std::pair<Tensor, Tensor> add_rms_norm(const Tensor& x, const Tensor& residual,
                                           const Norm& norm) override;
    Tensor gated_rms_norm(const Tensor& x, const Tensor& gate, const Norm& norm) override;
    Tensor l2_norm(const Tensor& x, int64_t head_dim, float epsilon) override;
    Tensor swiglu(const Tensor& gate, const Tensor& up) override;
    Tensor rotate(const Tensor& x, int64_t head_dim, const Tensor& positions, const Rotary& rotary) override;
    void write_kv(const KvLayer& cache, const Tensor& key, const Tensor& value, const Batch& batch) override;
    Tensor attention(const Tensor& query, const KvLayer& cache, const Batch& batch, int64_t heads) override;
    Tensor gated_attention(const GatedAttentionInput& input, const Rotary& rotary, const KvLayer& cache,
                           const Batch& batch) override;
    Tensor causal_conv1d(const Tensor& x, const Tensor& weight, const StateLayer& state,
                         const Batch& batch) override;
    Tensor gated_delta_rule(const DeltaRuleInput& input, const StateLayer& state,
                            const Batch& batch) override;
    Routing route(const Tensor& x, const Linear& router, int64_t top_k) override;
    Tensor moe(const Tensor& x, const Routing& routing, const Experts& experts) override;
    Tensor known_tokens(const Tensor& token_ids, const Tensor& chosen) override;
    Sampled sample(const Tensor& logits, const SamplingBatch& batch) override;

  private:
    /// work(row) for all rows, a few thousand numbers to a task.
    template <class Work>
    void for_rows(int64_t rows, int64_t columns, const Work& work) {
        constexpr int64_t numbers_per_task = 8192;
        const int64_t step = std::max<int64_t>(1, numbers_per_task / std::max<int64_t>(1, columns));
        pool_.parallel_for((rows + step - 1) / step, [&](int64_t task) {
            const int64_t end = std::min(rows, (task + 1) * step);
            for (int64_t row = task * step; row < end; ++row) work(row);
        });
    }
    Tensor product(const Kernels& kernels, const Tensor& x, const Linear& weight);
    Tensor normalized_heads(const Tensor& x, int64_t head_stride, const Norm& norm, const Tensor& cosine,
                            const Tensor& sine, int64_t heads);
    void attend(const Tensor& query, const KvLayer& cache, const Batch& batch, int64_t heads,
                const Tensor& gate, const Tensor& result);

    const Kernels &kernels_, &exact_;
    ThreadPool& pool_;
    Arena arena_;
};

/// Copies `source` (rows may be strided) to `target` (contiguous, same shape): between float types, or of the
/// same type. Errors: unsupported for any other pair.
void convert(const Kernels& kernels, ThreadPool& pool, const Tensor& source, const Tensor& target);

/// The k largest of one row, largest first, ties to the lower index.
void select_top_k(const float* values, int64_t n, int64_t k, int32_t* ids, float* best);

}  // namespace sheaf::cpu
