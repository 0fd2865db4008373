// Grouping of (token, choice) pairs by expert, and the sum over a token's choices.
#include <cuda_bf16.h>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/async_copy.cuh"
#include "backend/cuda/matrix/group.h"
#include "backend/cuda/matrix/launch.h"

namespace sheaf::cuda {
namespace {

constexpr int group_threads = 1024, most_experts = 1024;

struct GroupCall {
    const int32_t* ids;
    int pairs, experts, tile_rows;
    bool even;
    Grouping grouping;
};

/// Inclusive sum over the block of two numbers at once.
__device__ int2 block_scan(int2 value, int2* warp_sums) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int step = 1; step < 32; step *= 2) {
        const int x = __shfl_up_sync(0xffffffffu, value.x, step),
                  y = __shfl_up_sync(0xffffffffu, value.y, step);
        if (lane >= step) value = make_int2(value.x + x, value.y + y);
    }
    if (lane == 31) warp_sums[warp] = value;
    __syncthreads();
    for (int w = 0; w < warp; ++w) value = make_int2(value.x + warp_sums[w].x, value.y + warp_sums[w].y);
    return value;
}

/// work(pair, its expert), with several reads under way.
template <class Work>
__device__ inline void for_all_pairs(const GroupCall& call, const Work& work) {
    constexpr int batch = 8;
    for (int first = threadIdx.x; first < call.pairs; first += batch * group_threads) {
        int experts[batch];
#pragma unroll
        for (int i = 0; i < batch; ++i) {
            const int pair = first + i * group_threads;
            experts[i] = pair < call.pairs ? call.ids[pair] : -1;
        }
#pragma unroll
        for (int i = 0; i < batch; ++i)
            if (experts[i] >= 0) work(first + i * group_threads, experts[i]);
    }
}

__global__ void __launch_bounds__(group_threads) group_pairs(const __grid_constant__ GroupCall call) {
    __shared__ int counts[most_experts];
    __shared__ int2 warp_sums[32];
    allow_next_kernel();
    wait_for_previous_kernel();
    const int thread = threadIdx.x;
    counts[thread] = 0;
    __syncthreads();
    for_all_pairs(call, [&](int, int expert) { atomicAdd(&counts[expert], 1); });
    __syncthreads();
    const int count = thread < call.experts ? counts[thread] : 0;
    const int tiles = (count + call.tile_rows - 1) / call.tile_rows;
    const int filled = call.even ? (count + 7) / 8 * 8 : count;
    const int2 ends = block_scan(make_int2(filled, tiles), warp_sums);
    const int first = ends.x - filled;
    int rows = call.tile_rows;
    if (call.even && tiles > 0) rows = ((count + tiles - 1) / tiles + 7) / 8 * 8;
    for (int i = 0; i < tiles; ++i) {
        const int begin = min(count, i * rows), size = min(count - begin, rows);
        call.grouping.tiles[ends.y - tiles + i] = ExpertTile{thread, first + begin, size};
    }
    for (int i = count; i < filled; ++i) call.grouping.pair_of_place[first + i] = -1;
    if (thread == group_threads - 1) {
        call.grouping.tile_count[0] = ends.y;
        call.grouping.tile_count[1] = ends.x;
    }
    __syncthreads();
    counts[thread] = first;
    __syncthreads();
    for_all_pairs(call, [&](int pair, int expert) {
        const int place = atomicAdd(&counts[expert], 1);
        call.grouping.pair_of_place[place] = pair;
        call.grouping.place_of_pair[pair] = place;
    });
}

struct AddCall {
    const void* partial;
    const int32_t* place_of_pair;
    int64_t hidden;
    int top_k;
    __nv_bfloat16* y;
};

constexpr int add_threads = 128;

__device__ inline void load_part(const float* from, float (&values)[8]) {
    const float4 low = reinterpret_cast<const float4*>(from)[0],
                 high = reinterpret_cast<const float4*>(from)[1];
    values[0] = low.x, values[1] = low.y, values[2] = low.z, values[3] = low.w;
    values[4] = high.x, values[5] = high.y, values[6] = high.z, values[7] = high.w;
}
__device__ inline void load_part(const __nv_bfloat16* from, float (&values)[8]) {
    const uint4 bits = *reinterpret_cast<const uint4*>(from);
    const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        values[2 * i] = __uint_as_float(words[i] << 16);
        values[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
}

/// Eight neighbours a thread, the parts of several choices under way.
template <class Part>
__global__ void __launch_bounds__(add_threads) add_choices(const __grid_constant__ AddCall call) {
    constexpr int batch = 4;
    allow_next_kernel();
    wait_for_previous_kernel();
    const int64_t token = blockIdx.x, n = (static_cast<int64_t>(blockIdx.y) * add_threads + threadIdx.x) * 8;
    if (n >= call.hidden) return;
    const auto* partial = static_cast<const Part*>(call.partial);
    float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int first = 0; first < call.top_k; first += batch) {
        float parts[batch][8];
#pragma unroll
        for (int j = 0; j < batch; ++j)
            if (first + j < call.top_k)
                load_part(partial + call.place_of_pair[token * call.top_k + first + j] * call.hidden + n,
                          parts[j]);
#pragma unroll
        for (int j = 0; j < batch; ++j)
#pragma unroll
            for (int i = 0; i < 8; ++i)
                if (first + j < call.top_k) sum[i] += parts[j][i];
    }
    __nv_bfloat162 pairs[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) pairs[i] = __floats2bfloat162_rn(sum[2 * i], sum[2 * i + 1]);
    *reinterpret_cast<uint4*>(call.y + token * call.hidden + n) = *reinterpret_cast<const uint4*>(pairs);
}

}  // namespace

int64_t group_tiles(int64_t pairs, int64_t experts, int64_t tile_rows) {
    const int64_t touched = pairs < experts ? pairs : experts;
    return touched + pairs / tile_rows;
}

int64_t group_places(int64_t pairs, int64_t experts, Places places) {
    if (places == Places::close) return pairs;
    return (pairs + 7 * (pairs < experts ? pairs : experts)) / 8 * 8;
}

void launch_group(const int32_t* ids, int64_t pairs, int64_t experts, int64_t tile_rows, Places places,
                  const Grouping& grouping, cudaStream_t stream) {
    SHEAF_CHECK(experts <= most_experts, "{} experts", experts);
    launch_kernel(group_pairs, dim3(1), group_threads, 0, stream, "group_pairs",
                  GroupCall{ids, static_cast<int>(pairs), static_cast<int>(experts),
                            static_cast<int>(tile_rows), places == Places::even, grouping});
}

void launch_add_choices(const void* partial, bool wide, const int32_t* place_of_pair, int64_t tokens,
                        int64_t top_k, int64_t hidden, void* y, cudaStream_t stream) {
    const dim3 grid(static_cast<unsigned>(tokens),
                    static_cast<unsigned>((hidden / 8 + add_threads - 1) / add_threads));
    const AddCall call{partial, place_of_pair, hidden, static_cast<int>(top_k),
                       static_cast<__nv_bfloat16*>(y)};
    launch_kernel(wide ? add_choices<float> : add_choices<__nv_bfloat16>, grid, add_threads, 0, stream,
                  "add_choices", call);
}

}  // namespace sheaf::cuda
