// The router's choice: a few warps a token. One more choice beside it: a thread each.
#include <cuda_bf16.h>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/kernel_order.cuh"
#include "backend/cuda/matrix/launch.h"
#include "backend/cuda/matrix/router.h"

namespace sheaf::cuda {
namespace {

constexpr int router_warps = 8, router_threads = 32 * router_warps;
constexpr unsigned all_lanes = 0xffffffffu;

/// Unsigned numbers in the order of the floats; none is 0 but that of a NaN.
__device__ uint32_t ordered(float x) {
    const uint32_t bits = __float_as_uint(x);
    return bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u);
}
__device__ float from_ordered(uint32_t key) {
    return __uint_as_float(key ^ (key >> 31 ? 0x80000000u : 0xffffffffu));
}

struct TopKCall {
    const float* logits;
    int64_t stride, tokens;
    int experts, top_k;
    int32_t* ids;
    float* weights;
};

/// A block chooses for per_lane / 2 tokens: 16 / per_lane warps a token, each the best of its part of the
/// experts, then those by rank. The others' probabilities do not matter: the chosen ones' sum to 1.
template <int per_lane>
__global__ void __launch_bounds__(router_threads) top_k_rows(const __grid_constant__ TopKCall call) {
    allow_next_kernel();
    wait_for_previous_kernel();
    constexpr int warps = 16 / per_lane, most = static_cast<int>(max_top_k);
    __shared__ uint2 best[router_warps * most];
    __shared__ float kept[router_warps * most];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, mine = warp / warps, part = warp % warps;
    const int64_t token = static_cast<int64_t>(blockIdx.x) * (per_lane / 2) + mine;
    const bool exists = token < call.tokens;
    uint32_t key[per_lane];
#pragma unroll
    for (int i = 0; i < per_lane; ++i) {
        const int id = (i * warps + part) * 32 + lane;
        key[i] = exists && id < call.experts ? ordered(__ldcg(call.logits + token * call.stride + id)) : 0;
    }
    for (int j = 0; j < call.top_k; ++j) {
        uint32_t largest = key[0];
#pragma unroll
        for (int i = 1; i < per_lane; ++i) largest = max(largest, key[i]);
        const uint32_t top = __reduce_max_sync(all_lanes, largest);
        uint32_t at = 0x7fffffff;
#pragma unroll
        for (int i = per_lane - 1; i >= 0; --i)
            if (key[i] == top) at = static_cast<uint32_t>((i * warps + part) * 32 + lane);
        const uint32_t id = __reduce_min_sync(all_lanes, at);
#pragma unroll
        for (int i = 0; i < per_lane; ++i)
            if (static_cast<uint32_t>((i * warps + part) * 32 + lane) == id) key[i] = 0;
        if (lane == 0) best[warp * most + j] = make_uint2(top, id);
    }
    __syncthreads();
    const int candidate = part * 32 + lane, all = warps * call.top_k;
    const uint2* others = best + mine * warps * most;
    for (int c = candidate; exists && c < all; c += 32 * warps) {
        const uint2 own = others[c / call.top_k * most + c % call.top_k];
        int rank = 0;
        for (int w = 0; w < warps; ++w)
            for (int j = 0; j < call.top_k; ++j) {
                const uint2 other = others[w * most + j];
                rank += other.x > own.x || (other.x == own.x && other.y < own.y);
            }
        if (rank >= call.top_k) continue;
        call.ids[token * call.top_k + rank] = static_cast<int32_t>(own.y);
        kept[mine * most + rank] = from_ordered(own.x);
    }
    __syncthreads();
    if (exists && candidate < call.top_k) {
        const float* logits = kept + mine * most;
        float sum = 0;
        for (int j = 0; j < call.top_k; ++j) sum += expf(logits[j] - logits[0]);
        call.weights[token * call.top_k + candidate] = expf(logits[candidate] - logits[0]) / sum;
    }
}

constexpr int choice_threads = 256;

__global__ void __launch_bounds__(choice_threads) add_choice_rows(const __grid_constant__ AddChoice call) {
    allow_next_kernel();
    wait_for_previous_kernel();
    const int width = call.top_k + 1;
    const int64_t at = static_cast<int64_t>(blockIdx.x) * choice_threads + threadIdx.x;
    const int64_t token = at / width;
    const int j = static_cast<int>(at - token * width);
    if (token >= call.tokens) return;
    if (j < call.top_k) {
        call.more_ids[at] = call.ids[token * call.top_k + j];
        call.more_weights[at] = call.weights[token * call.top_k + j];
        return;
    }
    const int64_t place = token * call.gate_stride;
    const float gate = call.wide ? static_cast<const float*>(call.gate)[place]
                                 : __bfloat162float(static_cast<const __nv_bfloat16*>(call.gate)[place]);
    call.more_ids[at] = call.id;
    call.more_weights[at] = 1.0f / (1.0f + expf(-gate));
}

}  // namespace

void launch_add_choice(const AddChoice& call, cudaStream_t stream) {
    const int64_t all = call.tokens * (call.top_k + 1);
    launch_kernel(add_choice_rows, dim3(static_cast<unsigned>((all + choice_threads - 1) / choice_threads)),
                  choice_threads, 0, stream, "add_choice", call);
}

void launch_top_k(const float* logits, int64_t stride, int64_t tokens, int64_t experts, int64_t top_k,
                  int32_t* ids, float* weights, cudaStream_t stream) {
    const bool few = tokens < 512;
    const int64_t per_block = few ? 2 : 8;
    launch_kernel(
        few ? top_k_rows<4> : top_k_rows<16>,
        dim3(static_cast<unsigned>((tokens + per_block - 1) / per_block)), router_threads, 0, stream,
        "top_k_rows",
        TopKCall{logits, stride, tokens, static_cast<int>(experts), static_cast<int>(top_k), ids, weights});
}

}  // namespace sheaf::cuda
