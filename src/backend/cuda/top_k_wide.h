// The largest k of rows as wide as a vocabulary: so that a step returns a short list of tokens and not all
// logits. Used by CudaOps. Must not know what is chosen.
#pragma once

#include <cuda_runtime_api.h>

#include "tensor/tensor.h"

namespace sheaf::cuda {

/// Whether wide_top_k takes this shape: 64 of up to 524,288 columns, fewer of more.
bool fits_wide_top_k(int64_t columns, int64_t k);
size_t wide_top_k_scratch_bytes(int64_t rows, int64_t columns, int64_t k);
/// values f32 (rows, columns), rows may be strided; ids i32 and weights f32 (rows, k): largest first, ties to
/// the lower index. In a row with a value that is not finite all weights are NaN.
void wide_top_k(const Tensor& values, const Tensor& ids, const Tensor& weights, const Tensor& scratch,
                cudaStream_t stream);

}  // namespace sheaf::cuda
