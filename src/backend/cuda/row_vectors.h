// Rows in vectors of 16 bytes: the copies and sums that run over whole activations. Used by the primitives.
// Must not know the model.
#pragma once

#include <cuda_runtime_api.h>

#include "tensor/tensor.h"

namespace sheaf::cuda {

/// gather_rows of one type without conversion; false (and nothing done) when rows are no whole vectors. A row
/// outside the table becomes all ones in bits: NaN, or -1 in integers.
bool gather_vectors(const Tensor& table, const Tensor& indices, const Tensor& result, cudaStream_t stream);

}  // namespace sheaf::cuda
