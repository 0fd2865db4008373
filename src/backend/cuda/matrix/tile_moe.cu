// The tile products of the mixture of experts.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/launch.h"
#include "backend/cuda/matrix/matrix_values.cuh"
#include "backend/cuda/matrix/tile_launch.h"
#include "backend/cuda/matrix/tile_mma.cuh"
#include "backend/cuda/matrix/tile_wgmma.cuh"
#include "backend/cuda/matrix/tiles.h"

namespace sheaf::cuda {
namespace {

struct MoeTiles {
    TileMoeCall call;
    TileRing ring;
};

#if __CUDA_ARCH__ >= 800

constexpr int act_row = 64;  // bytes of a staged row: a warpgroup's 32 results of gate and up

/// gate's rows are rows g of a block, up's rows g + 8. The run of 32 inputs of `down` from input k on, by
/// `rows` places from `place` on, goes out in whole pieces.
template <int registers>
__device__ __forceinline__ void store_act(const TileMoeCall& call, uint8_t* stager, int group, int64_t k,
                                          int place, int rows, const float* weights,
                                          const float (&total)[registers]) {
    const int thread = threadIdx.x % 128, warp = thread / 32, g = thread % 32 / 4, t = thread % 4;
    group_barrier(group);
#pragma unroll
    for (int i = 0; i < registers / 4; ++i) {
        const int row = 8 * i + 2 * t + g % 2;
        const float2 value =
            pair_of_rows(silu(total[4 * i]) * total[4 * i + 2], silu(total[4 * i + 1]) * total[4 * i + 3]);
        const float weight = weights[row];
        *reinterpret_cast<uint32_t*>(stager + row * act_row + ((g / 2) ^ (row / 2 % 4)) * 16 + warp * 4) =
            bf16_pair(make_float2(value.x * weight, value.y * weight));
    }
    group_barrier(group);
    uint8_t* target = static_cast<uint8_t*>(call.act) + (k / 64 * call.places + place) * 128;
    for (int i = thread; i < rows * 4; i += 128) {
        const int row = i / 4, piece = i % 4;
        *reinterpret_cast<uint4*>(target + row * 128 +
                                  ((static_cast<int>(k % 64 / 32) * 4 + piece) ^ ((place + row) % 8)) * 16) =
            *reinterpret_cast<const uint4*>(stager + row * act_row + (piece ^ (row / 2 % 4)) * 16);
    }
}

template <int registers>
__device__ __forceinline__ void store_partial(const TileMoeCall& call, uint8_t* stager, int group, int64_t n,
                                              int place, int rows, const float (&total)[registers]) {
    auto* partial = static_cast<__nv_bfloat16*>(call.partial);
    put_in_rows(stager, group, rows, total, [&](int row, int piece, uint4 values) {
        if (n + 8 * piece < call.experts.hidden)
            *reinterpret_cast<uint4*>(partial + (place + row) * call.experts.hidden + n + 8 * piece) = values;
    });
}

template <class Engine, bool gate_up>
__device__ inline void produce(const MoeTiles& job, Ring ring, int weight_tiles, int items) {
    const TileMoeCall& call = job.call;
    const DeviceMatrix& weight = gate_up ? call.experts.gate_up : call.experts.down;
    const size_t stride = gate_up ? call.experts.gate_up_stride : call.experts.down_stride;
    for (int item = blockIdx.x; item < items; item += gridDim.x) {
        const ExpertTile tile = call.tiles[item / weight_tiles];
        const TileWork work{weight.data + static_cast<size_t>(tile.expert) * stride,
                            item % weight_tiles * tile_blocks,
                            static_cast<const uint8_t*>(gate_up ? call.x : call.act),
                            call.places,
                            tile.first,
                            tile.count};
        for (int unit = 0; unit < weight.units; ++unit) {
            ring.wait_empty();
            Engine::fill_weights(ring, job.ring, weight, work, unit);
            Engine::fill_columns(ring, job.ring, work, unit);
            ring.advance();
        }
    }
}

#endif

template <class Engine, bool gate_up, Scaling scaling>
__global__ void __launch_bounds__(tile_threads, 1) tile_moe(const __grid_constant__ MoeTiles job) {
#if __CUDA_ARCH__ >= 800
    if constexpr (Engine::exists) {
        extern __shared__ __align__(1024) uint8_t shared[];
        const TileMoeCall& call = job.call;
        const DeviceMatrix& weight = gate_up ? call.experts.gate_up : call.experts.down;
        Ring ring = tile_ring(shared, job.ring, Engine::arrivals);
        const int weight_tiles = (weight.blocks + tile_blocks - 1) / tile_blocks;
        allow_next_kernel();
        wait_for_previous_kernel();
        const int items = weight_tiles * *call.tile_count;
        if (threadIdx.x / 128 == 0) {
            Engine::template begin_filling<24>();
            if (threadIdx.x < Engine::fillers) produce<Engine, gate_up>(job, ring, weight_tiles, items);
        } else {
            const int group = threadIdx.x / 128 - 1;
            Engine::template begin_summing<24>();
            uint8_t* stager = shared + 1024 + static_cast<uint32_t>(group) * stager_bytes;
            auto* weights = reinterpret_cast<float*>(shared + 1024 + 2 * stager_bytes) + group * 128;
            for (int item = blockIdx.x; item < items; item += gridDim.x) {
                const ExpertTile tile = call.tiles[item / weight_tiles];
                const int block = item % weight_tiles * tile_blocks + group * 8;
                const auto multiply = [&](auto columns) __attribute__((always_inline)) {
                    float total[2][columns / 2];
                    Engine::template sum_tile<columns, scaling>(ring, job.ring, weight, weight.units, group,
                                                                total);
                    const int row = threadIdx.x % 128;
                    if (gate_up && row < tile.count)
                        weights[row] = call.weights[call.pair_of_place[tile.first + row]];
#pragma unroll
                    for (int h = 0; h < 2; ++h) {
                        if (block + 4 * h >= weight.blocks) continue;
                        if constexpr (gate_up)
                            store_act(call, stager, group, (block + 4 * h) * int64_t{8}, tile.first,
                                      tile.count, weights, total[h]);
                        else
                            store_partial(call, stager, group, (block + 4 * h) * int64_t{16}, tile.first,
                                          tile.count, total[h]);
                    }
                };
                with_columns(typename Engine::template Widths<scaling>{}, tile.count, multiply);
            }
        }
    }
#endif
}

using MoeKernel = void (*)(MoeTiles);

template <class Engine, bool gate_up>
MoeKernel kernel_for(const DeviceMatrix& weight) {
    if (is_simple(weight)) return tile_moe<Engine, gate_up, Scaling::simple>;
    return weight.unit_groups == 1 ? tile_moe<Engine, gate_up, Scaling::coarse>
                                   : tile_moe<Engine, gate_up, Scaling::fine>;
}

template <bool gate_up>
void launch(const TileMoeCall& call, cudaStream_t stream) {
    const DeviceMatrix& weight = gate_up ? call.experts.gate_up : call.experts.down;
    const TileRing ring = tile_ring_for(weight, call.tile_rows);
    const MoeKernel kernel = tile_engine() == TileEngine::wgmma ? kernel_for<WgmmaTiles, gate_up>(weight)
                                                                : kernel_for<MmaTiles, gate_up>(weight);
    launch_kernel(kernel, dim3(static_cast<unsigned>(device_limits().multiprocessors)), tile_threads,
                  tile_memory_bytes(ring), stream, "tile_moe", MoeTiles{call, ring});
}

}  // namespace

void launch_tile_gate_up(const TileMoeCall& call, cudaStream_t stream) {
    launch<true>(call, stream);
}

void launch_tile_down(const TileMoeCall& call, cudaStream_t stream) {
    launch<false>(call, stream);
}

}  // namespace sheaf::cuda
