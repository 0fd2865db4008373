// Launchers of the router's kernels: logits, softmax, the choice of experts. Used by matrix.cpp. Must not
// know who calls them or the experts themselves.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/matrix/device_matrix.h"
#include "tensor/tensor.h"

namespace sheaf::cuda {

constexpr int64_t max_router_experts = 512, max_top_k = 16;

/// softmax over the first `experts` of each row, the k largest (ties to the lower id), renormalized. logits
/// f32 (tokens, stride).
void launch_top_k(const float* logits, int64_t stride, int64_t tokens, int64_t experts, int64_t top_k,
                  int32_t* ids, float* weights, cudaStream_t stream);
/// The product too, in one kernel, for one row of bf16 and a bf16 weight whose inputs are a multiple of 8.
/// logits: scratch (experts); counter: zero, and zero again afterwards.
void launch_router(const Tensor& x, const DeviceMatrix& router, int64_t top_k, float* logits,
                   uint32_t* counter, int32_t* ids, float* weights, cudaStream_t stream);

}  // namespace sheaf::cuda
