// Launchers of the tile products (tiles.cuh): int4 weights, many rows of activations. Used by matrix.cpp.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/matrix/device_matrix.h"
#include "backend/cuda/matrix/stream.h"
#include "tensor/tensor.h"

namespace sheaf::cuda {

constexpr int64_t most_cut_tokens = 512;
constexpr size_t most_tile_arrivals = 2 * 4096;

/// Whether this build and the current device have the tiles on wgmma; those on mma.sync are everywhere.
bool has_wgmma_tiles();
/// The most rows of activations of a tile: of the engine in use (dispatch.h).
int64_t most_tile_rows();

/// y = x W^T + bias of activations arranged in a buffer of `arranged_rows`. Where whole tiles would leave a
/// part of the GPU idle they are cut: the sums of the pieces lie in `parts` (tile_linear_part_bytes()), and
/// `arrivals` holds tile_linear_arrivals() zeros, which it leaves behind.
void launch_tile_linear(const void* arranged, int64_t arranged_rows, const DeviceMatrix& weight,
                        const Tensor& y, float* parts, uint32_t* arrivals, cudaStream_t stream);
size_t tile_linear_part_bytes(int64_t tokens);
int64_t tile_linear_arrivals(const DeviceMatrix& weight, int64_t tokens);

struct TileMoeCall {
    DeviceExperts experts;
    const void* x;   // arranged by place
    void* act;       // arranged by place
    void* partial;   // bf16 (places, hidden), weighted
    int64_t places;  // the buffers' rows, a multiple of 8
    int64_t top_k;
    const float* weights;     // by pair
    const ExpertTile* tiles;  // each at a multiple of 8, at most tile_rows rows
    int64_t tile_rows;        // at most most_tile_rows()
    const int32_t* tile_count;
    const int32_t* pair_of_place;
};

/// act = silu(gate x) * up x, times the weight of the place.
void launch_tile_gate_up(const TileMoeCall& call, cudaStream_t stream);
/// partial = act down^T.
void launch_tile_down(const TileMoeCall& call, cudaStream_t stream);

}  // namespace sheaf::cuda
