// The order of activations in the buffers of the tile products (tiles.cuh). Device code only.
#pragma once

#include <cstdint>

namespace sheaf::cuda {

/// Where input k of row r lies: bytes from the start of a buffer of `rows` (a multiple of 8) rows.
__host__ __device__ inline int64_t arranged_offset(int64_t rows, int64_t r, int64_t k) {
    const int piece = static_cast<int>(k % 64 / 32 * 4 + k % 8 / 2), at = piece ^ static_cast<int>(r % 8);
    return (k / 64 * rows + r) * 128 + at * 16 + k % 32 / 8 * 4 + k % 2 * 2;
}

}  // namespace sheaf::cuda
