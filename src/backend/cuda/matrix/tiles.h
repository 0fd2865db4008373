// Launchers of the tile products (tiles.cuh): int4 weights, many rows of activations, compute capability 9.0
// only. Used by matrix.cpp.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/matrix/device_matrix.h"
#include "backend/cuda/matrix/stream.h"
#include "tensor/tensor.h"

namespace sheaf::cuda {

constexpr int64_t max_tile_rows = 160, linear_tile_rows = 128;

/// Whether this build and the current device have them.
bool has_tile_products();

/// y = x W^T + bias of activations arranged in a buffer of `arranged_rows`. Where a few tiles would leave the
/// GPU half empty the sum is split; `partial` then holds tile_linear_partial_bytes().
void launch_tile_linear(const void* arranged, int64_t arranged_rows, const DeviceMatrix& weight,
                        const Tensor& y, float* partial, cudaStream_t stream);
size_t tile_linear_partial_bytes(const DeviceMatrix& weight, int64_t tokens);

struct TileMoeCall {
    DeviceExperts experts;
    const void* x;   // arranged by place
    void* act;       // arranged by place
    void* partial;   // bf16 (places, hidden), weighted
    int64_t places;  // the buffers' rows, a multiple of 8
    int64_t top_k;
    const float* weights;     // by pair
    const ExpertTile* tiles;  // each at a multiple of 8, at most max_tile_rows rows
    const int32_t* tile_count;
    const int32_t* pair_of_place;
};

/// act = silu(gate x) * up x, times the weight of the place.
void launch_tile_gate_up(const TileMoeCall& call, cudaStream_t stream);
/// partial = act down^T.
void launch_tile_down(const TileMoeCall& call, cudaStream_t stream);

}  // namespace sheaf::cuda
