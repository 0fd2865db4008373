// Activations put in order for the tile products (tiles.cuh). Used by matrix.cpp and the tile kernels.
#pragma once

#include <cuda_runtime_api.h>

#include "tensor/tensor.h"

namespace sheaf::cuda {

/// Bytes of an arranged buffer; inputs are filled up to whole units of 128.
inline size_t arranged_bytes(int64_t rows, int64_t inputs) {
    return static_cast<size_t>((rows + 7) / 8 * 8 * ((inputs + 127) / 128) * 256);
}

/// Row p of `target` (p < rows, a multiple of 8) is row pair_of_place[p] / top_k of x, or row p where
/// pair_of_place is null; zeros where there is none. x: bf16, in 16-byte pieces. `used`: how many rows to
/// write, in device memory, or null: all.
void launch_arrange(const Tensor& x, const int32_t* pair_of_place, int64_t top_k, const int32_t* used,
                    void* target, int64_t rows, uint32_t* zeroed, int64_t zeros, cudaStream_t stream);

}  // namespace sheaf::cuda
