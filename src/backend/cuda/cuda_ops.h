// CudaOps: every operator on one GPU, in the order of one stream. Activations are bf16, or f32 for checking.
// Primitives are plain kernels (primitives.h), operators delegate to matrix/ and sequence/. A recorded step
// is a CUDA graph. Made by the CUDA machine. Must not know the model.
#pragma once

#include "backend/cuda/batch_staging.h"
#include "backend/cuda/context.h"
#include "backend/cuda/matrix/weights.h"
#include "backend/cuda/readings.h"
#include "backend/cuda/transfer.h"
#include "ops/ops.h"

namespace sheaf::cuda {

class CudaOps final : public Ops {
  public:
    explicit CudaOps(std::shared_ptr<const CudaContext> context);

    DType activation_dtype() const override { return context_->activation(); }
    Tensor make(DType dtype, Shape shape) override;
    void begin_step() override;
    void begin_layer(int) override { arena_.flip(); }
    void stage(const Batch& batch) override;
    std::unique_ptr<Recording> record(const std::function<void()>& body) override;
    void download(const Tensor& source, void* host) override;
    std::unique_ptr<Reading> read_later(const Tensor& source) override;
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
    Tensor linear(const Tensor& x, const Linear& weight) override;
    std::vector<Tensor> linears(const Tensor& x, std::span<const Linear> weights) override;
    Tensor linear_f32(const Tensor& x, const Linear& weight) override;
    Tensor expert(const Tensor& x, const Experts& experts, int64_t index) override;
    std::pair<Tensor, Tensor> rotary_angles(const Tensor& positions, const Rotary& rotary) override;

    Tensor rms_norm(const Tensor& x, const Norm& norm) override;
    std::pair<Tensor, Tensor> add_rms_norm(const Tensor& x, const Tensor& residual,
                                           const Norm& norm) override;
    Tensor gated_rms_norm(const Tensor& x, const Tensor& gate, const Norm& norm) override;
    Tensor l2_norm(const Tensor& x, int64_t head_dim, float epsilon) override;
    Tensor swiglu(const Tensor& gate, const Tensor& up) override;
    Tensor add_gated(const Tensor& x, const Tensor& y, const Tensor& gate) override;
    Tensor rotate(const Tensor& x, int64_t head_dim, const Tensor& positions, const Rotary& rotary) override;
    void write_kv(const KvLayer& cache, const Tensor& key, const Tensor& value, const Batch& batch) override;
    Tensor attention(const Tensor& query, const KvLayer& cache, const Batch& batch, int64_t heads) override;
    Tensor gated_attention(const GatedAttentionInput& input, const Rotary& rotary, const KvLayer& cache,
                           const Batch& batch) override;
    Tensor causal_conv1d(const Tensor& x, const Tensor& weight, const StateLayer& state,
                         const Batch& batch) override;
    Tensor gated_delta_rule(const DeltaRuleInput& input, const StateLayer& state,
                            const Batch& batch) override;
    Tensor gated_delta_net(const GatedDeltaNetInput& input, const StateLayer& state,
                           const Batch& batch) override;
    Routing route(const Tensor& x, const Linear& router, int64_t top_k) override;
    std::pair<Routing, Tensor> route_with_shared(const Tensor& x, const Linear& router,
                                                 const Linear& shared_gate, int64_t top_k) override;
    Tensor moe(const Tensor& x, const Routing& routing, const Experts& experts) override;
    Tensor moe_with_shared(const Tensor& x, const Routing& routing, const Experts& experts,
                           const Experts& shared, const Tensor& gate) override;
    Tensor known_tokens(const Tensor& token_ids, const Tensor& chosen) override;
    Sampled sample(const Tensor& logits, const SamplingBatch& batch) override;

  private:
    /// The spans on the device: staged before, or now (not while recording).
    const DeviceBatch& device_batch(const Batch& batch);
    Tensor scratch(size_t bytes);
    Tensor mixture(const Tensor& x, const Routing& routing, const CudaExperts& experts);
    /// x in the activations' type.
    Tensor activations(const Tensor& x) {
        return x.dtype() == activation_dtype() ? x : cast(x, activation_dtype());
    }
    /// The type of a result that must lose nothing: f32 unless all operands are activations.
    DType wider(const Tensor& a, const Tensor& b) const;
    cudaStream_t stream() const { return context_->stream(); }

    std::shared_ptr<const CudaContext> context_;
    Arena arena_;
    StepUploads uploads_;
    BatchStaging staging_;
    Buffer download_memory_;  // page-locked
    std::shared_ptr<ReadingMemory> reading_memory_;
    Tensor arrivals_;  // zeros by which the blocks of a DeltaNet step find one another
    Buffer arrivals_memory_;
    bool recording_ = false;
};

}  // namespace sheaf::cuda
