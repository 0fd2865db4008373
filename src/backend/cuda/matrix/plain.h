// Launchers of the plain kernels: any weight, any activation type, any shape; exact and slow. They are the
// checking mode's (f32 activations) and what the fast kernels hand over to. Used by dispatch.cpp.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/matrix/device_matrix.h"
#include "tensor/tensor.h"

namespace sheaf::cuda {

void launch_plain_linear(const Tensor& x, const DeviceMatrix& weight, const Tensor& y, cudaStream_t stream);

/// act (tokens * top_k, intermediate) f32: silu(gate x) * up x of every (token, choice).
void launch_plain_gate_up(const Tensor& x, const int32_t* ids, int64_t top_k, const DeviceExperts& experts,
                          float* act, cudaStream_t stream);
/// y[t] = sum over choices, in order, of weights[t][j] * (act[t][j] down^T).
void launch_plain_down(const float* act, const int32_t* ids, const float* weights, int64_t top_k,
                       const DeviceExperts& experts, const Tensor& y, cudaStream_t stream);

/// ids all `index`, weights all 1.
void launch_one_expert(int32_t* ids, float* weights, int64_t tokens, int32_t index, cudaStream_t stream);

}  // namespace sheaf::cuda
