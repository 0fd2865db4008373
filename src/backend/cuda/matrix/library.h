// Plain bf16 products by cuBLASLt, where it is at the limit of the GPU. The library is looked for at run
// time, so that a program runs without it (slower). Used by matrix.cpp. Must not know which product it is.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/matrix/device_matrix.h"
#include "tensor/tensor.h"

namespace sheaf::cuda {

constexpr size_t library_workspace_bytes = size_t{32} << 20;

/// Whether the library was found.
bool has_library();

/// y = x W^T for a bf16 weight without bias; x bf16, y bf16 or f32. `workspace`: library_workspace_bytes.
void library_linear(const Tensor& x, const DeviceMatrix& weight, const Tensor& y, void* workspace,
                    cudaStream_t stream);

}  // namespace sheaf::cuda
