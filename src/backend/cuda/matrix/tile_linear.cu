// The tile product of linear layers.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/launch.h"
#include "backend/cuda/matrix/tile_launch.h"
#include "backend/cuda/matrix/tiles.cuh"
#include "backend/cuda/matrix/tiles.h"

namespace sheaf::cuda {
namespace {

struct LinearTiles {
    DeviceMatrix weight;
    const uint8_t* columns;
    int64_t column_rows;
    int tokens, row_tiles;
    void* y;
    bool wide, pairs;  // f32 results; whether two neighbours may be stored at once
    int64_t y_stride;
    TileRing ring;
};

/// Rows n and n + 1 of the weight, one token.
__device__ void store_pair(const LinearTiles& call, int64_t n, int token, float2 value) {
    if (token >= call.tokens) return;
    const int64_t at = token * call.y_stride + n;
    if (call.weight.bias) {
        if (n < call.weight.out) value.x += call.weight.bias[n];
        if (n + 1 < call.weight.out) value.y += call.weight.bias[n + 1];
    }
    if (call.pairs) {
        if (n >= call.weight.out) return;
        if (call.wide)
            *reinterpret_cast<float2*>(static_cast<float*>(call.y) + at) = value;
        else
            *reinterpret_cast<__nv_bfloat162*>(static_cast<__nv_bfloat16*>(call.y) + at) =
                __floats2bfloat162_rn(value.x, value.y);
        return;
    }
    for (int i = 0; i < 2; ++i) {
        if (n + i >= call.weight.out) return;
        const float one = i ? value.y : value.x;
        if (call.wide)
            static_cast<float*>(call.y)[at + i] = one;
        else
            static_cast<__nv_bfloat16*>(call.y)[at + i] = __float2bfloat16_rn(one);
    }
}

template <bool fine>
__global__ void __launch_bounds__(tile_threads, 1) tile_linear(const __grid_constant__ LinearTiles call) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    extern __shared__ __align__(1024) uint8_t shared[];
    Ring ring = tile_ring(shared, call.ring);
    const int weight_tiles = (call.weight.blocks + tile_blocks - 1) / tile_blocks;
    const int items = weight_tiles * ((call.tokens + call.row_tiles - 1) / call.row_tiles);
    allow_next_kernel();
    wait_for_previous_kernel();
    if (threadIdx.x / 128 == 0) {
        fewer_registers<24>();
        if (threadIdx.x != 0) return;
        for (int item = blockIdx.x; item < items; item += gridDim.x) {
            const int row = item / weight_tiles * call.row_tiles, tile = item % weight_tiles;
            produce_tile(ring, call.ring, call.weight,
                         {call.weight.data, tile * tile_blocks, call.columns, call.column_rows, row,
                          min(call.row_tiles, call.tokens - row)});
        }
    } else {
        more_registers<240>();
        const int group = threadIdx.x / 128 - 1, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
        for (int item = blockIdx.x; item < items; item += gridDim.x) {
            const int row = item / weight_tiles * call.row_tiles, tile = item % weight_tiles;
            consume_rows<fine>(
                ring, call.ring, call.weight, tile * tile_blocks, min(call.row_tiles, call.tokens - row),
                group, [&](int block, const auto& total) {
                    constexpr int columns = sizeof(total) / sizeof(float) * 2;
                    const int64_t n = static_cast<int64_t>(block) * 16 + g / 2 * 2;
#pragma unroll
                    for (int i = 0; i < columns / 8; ++i) {
                        const int token = row + 8 * i + 2 * t + g % 2;
                        store_pair(call, n, token, pair_of_rows(total[4 * i], total[4 * i + 1]));
                        store_pair(call, n + 8, token, pair_of_rows(total[4 * i + 2], total[4 * i + 3]));
                    }
                });
        }
    }
#endif
}

}  // namespace

void launch_tile_linear(const void* arranged, int64_t arranged_rows, const DeviceMatrix& weight,
                        const Tensor& y, cudaStream_t stream) {
    const int64_t tokens = y.size(0),
                  rows = tokens < linear_tile_rows ? (tokens + 7) / 8 * 8 : linear_tile_rows;
    const TileRing ring = tile_ring_for(weight, rows);
    const bool wide = y.dtype() == DType::f32;
    const bool pairs =
        y.row_stride() % 2 == 0 && weight.out % 2 == 0 && reinterpret_cast<uintptr_t>(y.raw()) % 8 == 0;
    const LinearTiles call{weight,
                           static_cast<const uint8_t*>(arranged),
                           arranged_rows,
                           static_cast<int>(tokens),
                           static_cast<int>(rows),
                           y.raw(),
                           wide,
                           pairs,
                           y.row_stride(),
                           ring};
    const int64_t items = (weight.blocks + tile_blocks - 1) / tile_blocks * ((tokens + rows - 1) / rows);
    const int64_t most = device_limits().multiprocessors;
    launch_kernel(weight.unit_groups == 1 ? tile_linear<false> : tile_linear<true>,
                  dim3(static_cast<unsigned>(items < most ? items : most)), tile_threads,
                  tile_memory_bytes(ring), stream, "tile_linear", call);
}

}  // namespace sheaf::cuda
