// The tile products of the mixture of experts.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/launch.h"
#include "backend/cuda/matrix/matrix_values.cuh"
#include "backend/cuda/matrix/tile_launch.h"
#include "backend/cuda/matrix/tiles.cuh"
#include "backend/cuda/matrix/tiles.h"

namespace sheaf::cuda {
namespace {

struct MoeTiles {
    TileMoeCall call;
    TileRing ring;
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// gate's rows are rows g of a block, up's rows g + 8; two neighbouring results are stored at once.
template <int registers>
__device__ inline void store_act(const TileMoeCall& call, const ExpertTile& tile, int block,
                                 const float (&total)[registers]) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const int64_t k = static_cast<int64_t>(block) * 8 + g / 2 * 2;
    auto* act = static_cast<uint8_t*>(call.act);
#pragma unroll
    for (int i = 0; i < registers / 4; ++i) {
        const float2 value =
            pair_of_rows(silu(total[4 * i]) * total[4 * i + 2], silu(total[4 * i + 1]) * total[4 * i + 3]);
        const int column = 8 * i + 2 * t + g % 2;
        if (column >= tile.count || k >= call.experts.intermediate) continue;
        const int place = tile.first + column;
        const float weight = call.weights[call.pair_of_place[place]];
        *reinterpret_cast<__nv_bfloat162*>(act + arranged_offset(call.places, place, k)) =
            __floats2bfloat162_rn(value.x * weight, value.y * weight);
    }
}

template <int registers>
__device__ inline void store_partial(const TileMoeCall& call, const ExpertTile& tile, int block,
                                     const float (&total)[registers]) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    auto* partial = static_cast<__nv_bfloat16*>(call.partial);
#pragma unroll
    for (int i = 0; i < registers / 4; ++i) {
        const int column = 8 * i + 2 * t + g % 2;
        const float2 low = pair_of_rows(total[4 * i], total[4 * i + 1]);
        const float2 high = pair_of_rows(total[4 * i + 2], total[4 * i + 3]);
        if (column >= tile.count) continue;
        const int64_t n = static_cast<int64_t>(block) * 16 + g / 2 * 2;
        __nv_bfloat16* row = partial + static_cast<int64_t>(tile.first + column) * call.experts.hidden;
        if (n < call.experts.hidden)
            *reinterpret_cast<__nv_bfloat162*>(row + n) = __floats2bfloat162_rn(low.x, low.y);
        if (n + 8 < call.experts.hidden)
            *reinterpret_cast<__nv_bfloat162*>(row + n + 8) = __floats2bfloat162_rn(high.x, high.y);
    }
}

#endif

template <bool gate_up, bool fine>
__global__ void __launch_bounds__(tile_threads, 1) tile_moe(const __grid_constant__ MoeTiles job) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    extern __shared__ __align__(1024) uint8_t shared[];
    const TileMoeCall& call = job.call;
    const DeviceMatrix& weight = gate_up ? call.experts.gate_up : call.experts.down;
    const size_t stride = gate_up ? call.experts.gate_up_stride : call.experts.down_stride;
    Ring ring = tile_ring(shared, job.ring);
    const int weight_tiles = (weight.blocks + tile_blocks - 1) / tile_blocks;
    allow_next_kernel();
    wait_for_previous_kernel();
    const int items = weight_tiles * *call.tile_count;
    if (threadIdx.x / 128 == 0) {
        fewer_registers<40>();
        for (int item = blockIdx.x; fills(job.ring) && item < items; item += gridDim.x) {
            const ExpertTile tile = call.tiles[item / weight_tiles];
            if (tile.count == 0) continue;
            produce_tile(
                ring, job.ring, weight,
                {weight.data + static_cast<size_t>(tile.expert) * stride, item % weight_tiles * tile_blocks,
                 static_cast<const uint8_t*>(gate_up ? call.x : call.act), call.places, tile.first,
                 tile.count, 0, weight.units});
        }
    } else {
        more_registers<232>();
        const int group = threadIdx.x / 128 - 1;
        for (int item = blockIdx.x; item < items; item += gridDim.x) {
            const ExpertTile tile = call.tiles[item / weight_tiles];
            if (tile.count == 0) continue;
            consume_rows<fine>(ring, job.ring, weight, item % weight_tiles * tile_blocks, tile.count,
                               weight.units, group, [&](int block, const auto& total) {
                                   if constexpr (gate_up)
                                       store_act(call, tile, block, total);
                                   else
                                       store_partial(call, tile, block, total);
                               });
        }
    }
#endif
}

template <bool gate_up>
void launch(const TileMoeCall& call, cudaStream_t stream) {
    const DeviceMatrix& weight = gate_up ? call.experts.gate_up : call.experts.down;
    const TileRing ring = tile_ring_for(weight, max_tile_rows);
    launch_kernel(weight.unit_groups == 1 ? tile_moe<gate_up, false> : tile_moe<gate_up, true>,
                  dim3(static_cast<unsigned>(device_limits().multiprocessors)), tile_threads,
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
