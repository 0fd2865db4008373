// The matrix products of the CUDA back end: linear layers, router and mixture of experts. Used by CudaOps.
// Every function works in the order of `stream` on device tensors the caller made, allocates nothing, waits
// for nothing and may be recorded in a CUDA graph. Activations are bf16 or f32; sums are fp32. Rows of the
// activations may be strided. Which kernel runs is decided in dispatch.h. Must not know the model.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/matrix/weights.h"
#include "ops/ops.h"

namespace sheaf::cuda {

/// Bytes of scratch that linear() needs for up to `tokens` rows.
size_t linear_scratch_bytes(const CudaLinear& weight, int64_t tokens);
/// y = x W^T + bias. x (tokens, in) bf16 or f32; y (tokens, out) bf16 or f32, contiguous.
void linear(const Tensor& x, const CudaLinear& weight, const Tensor& y, const Tensor& scratch,
            cudaStream_t stream);

size_t route_scratch_bytes(const CudaLinear& router, int64_t tokens);
/// softmax(x W^T) over all experts in fp32, the top_k largest (ties to the lower id), renormalized to sum 1.
/// result.ids i32 and result.weights f32, both (tokens, top_k). At most 512 experts and top 16.
void route(const Tensor& x, const CudaLinear& router, int64_t top_k, const Routing& result,
           const Tensor& scratch, cudaStream_t stream);

/// The two halves of route(). Logits: f32 (tokens, router_columns()); columns from the router's outputs on
/// mean nothing. The choice is among the first `experts` columns of logits, whose rows may be strided.
int64_t router_columns(const CudaLinear& router);
void router_logits(const Tensor& x, const CudaLinear& router, const Tensor& logits, const Tensor& scratch,
                   cudaStream_t stream);
void choose_experts(const Tensor& logits, int64_t experts, int64_t top_k, const Routing& result,
                    cudaStream_t stream);

/// `routing` with one more choice for every token, the last: expert `id` with the weight sigmoid(gate). gate
/// (tokens, 1) bf16 or f32; `more`: (tokens, top_k + 1).
void add_choice(const Routing& routing, const Tensor& gate, int64_t id, const Routing& more,
                cudaStream_t stream);

size_t moe_scratch_bytes(const CudaExperts& experts, int64_t tokens, int64_t top_k);
/// y[t] = sum over a token's experts of weight * down(silu(gate x) * up x). y (tokens, hidden) of x's type.
void moe(const Tensor& x, const Routing& routing, const CudaExperts& experts, const Tensor& y,
         const Tensor& scratch, cudaStream_t stream);

size_t expert_scratch_bytes(const CudaExperts& experts, int64_t tokens);
/// One expert on all rows.
void expert(const Tensor& x, const CudaExperts& experts, int64_t index, const Tensor& y,
            const Tensor& scratch, cudaStream_t stream);

}  // namespace sheaf::cuda
