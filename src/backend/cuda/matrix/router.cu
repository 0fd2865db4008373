// The router: a warp per expert and (for few tokens) the last block to finish chooses; a warp per token
// chooses.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/async_copy.cuh"
#include "backend/cuda/matrix/launch.h"
#include "backend/cuda/matrix/matrix_values.cuh"
#include "backend/cuda/matrix/router.h"

namespace sheaf::cuda {
namespace {

constexpr int per_lane = static_cast<int>(max_router_experts) / 32;
constexpr unsigned all_lanes = 0xffffffffu;

__device__ float warp_sum(float value) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(all_lanes, value, step);
    return value;
}

__device__ float warp_max(float value) {
    for (int step = 16; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(all_lanes, value, step));
    return value;
}

/// One warp, one token. Probabilities are not negative, so their bits are in their order.
__device__ void choose(const float* logits, int experts, int top_k, int32_t* ids, float* weights) {
    const int lane = threadIdx.x % 32;
    float p[per_lane], largest = -INFINITY, sum = 0;
#pragma unroll
    for (int i = 0; i < per_lane; ++i) {
        const int id = i * 32 + lane;
        p[i] = id < experts ? __ldcg(logits + id) : -INFINITY;
        largest = fmaxf(largest, p[i]);
    }
    largest = warp_max(largest);
#pragma unroll
    for (int i = 0; i < per_lane; ++i) {
        p[i] = i * 32 + lane < experts ? expf(p[i] - largest) : -1.0f;
        if (p[i] > 0) sum += p[i];
    }
    sum = warp_sum(sum);
#pragma unroll
    for (int i = 0; i < per_lane; ++i) p[i] = p[i] < 0 ? -1.0f : p[i] / sum;  // -1: never chosen
    float kept = 0, mine = 0;
    int chosen = 0;
    for (int j = 0; j < top_k; ++j) {
        float best = -1.0f;
        int at = 0;
#pragma unroll
        for (int i = 0; i < per_lane; ++i)
            if (p[i] > best) {
                best = p[i];
                at = i;
            }
        const uint32_t bits = best < 0 ? 0u : __float_as_uint(best) + 1u;
        const uint32_t top = __reduce_max_sync(all_lanes, bits);
        const int id = __reduce_min_sync(all_lanes, bits == top ? at * 32 + lane : 0x7fffffff);
        const float value = __uint_as_float(top - 1u);
        if (id % 32 == lane) {
#pragma unroll
            for (int i = 0; i < per_lane; ++i)
                if (i == id / 32) p[i] = -1.0f;
        }
        if (lane == j) {
            chosen = id;
            mine = value;
        }
        kept += value;
    }
    if (lane < top_k) {
        ids[lane] = chosen;
        weights[lane] = mine / kept;
    }
}

struct TopKCall {
    const float* logits;
    int64_t stride, tokens;
    int experts, top_k;
    int32_t* ids;
    float* weights;
};

__global__ void top_k_rows(const __grid_constant__ TopKCall call) {
    allow_next_kernel();
    wait_for_previous_kernel();
    const int64_t token = static_cast<int64_t>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
    if (token < call.tokens)
        choose(call.logits + token * call.stride, call.experts, call.top_k, call.ids + token * call.top_k,
               call.weights + token * call.top_k);
}

/// Sum of eight products of neighbours, added to `sum`.
__device__ float dot8(uint4 a, uint4 b, float sum) {
    const uint32_t left[4] = {a.x, a.y, a.z, a.w}, right[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        sum = fmaf(__uint_as_float(left[i] << 16), __uint_as_float(right[i] << 16), sum);
        sum = fmaf(__uint_as_float(left[i] & 0xffff0000u), __uint_as_float(right[i] & 0xffff0000u), sum);
    }
    return sum;
}

constexpr int router_warps = 4, router_loads = 16;

struct RouterCall {
    const __nv_bfloat16* x;
    int top_k;
    DeviceMatrix weight;
    float* logits;
    uint32_t* counter;
    int32_t* ids;
    float* weights;
};

/// Pieces [base, base + 32 router_loads) of an expert's row, a lane's share.
__device__ void load_row(const RouterCall& call, int n, int base, uint4 (&part)[router_loads]) {
    const DeviceMatrix& w = call.weight;
    const auto* row = reinterpret_cast<const uint4*>(w.data) + n * (w.row_stride / 8);
    const int pieces = static_cast<int>(w.in / 8), lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < router_loads; ++i) {
        const int at = base + i * 32 + lane;
        part[i] = n < w.out && at < pieces ? __ldcs(row + at) : make_uint4(0, 0, 0, 0);
    }
}

/// The logit of expert n.
__device__ void multiply_row(const RouterCall& call, int n, uint4 (&part)[router_loads]) {
    const DeviceMatrix& w = call.weight;
    const int pieces = static_cast<int>(w.in / 8), lane = threadIdx.x % 32;
    const auto* values = reinterpret_cast<const uint4*>(call.x);
    float sum = 0;
    for (int base = 0; base < pieces; base += 32 * router_loads) {
        if (base > 0) load_row(call, n, base, part);
#pragma unroll
        for (int i = 0; i < router_loads; ++i) {
            const int at = base + i * 32 + lane;
            if (at < pieces) sum = dot8(part[i], values[at], sum);
        }
    }
    const float total = warp_sum(sum);
    if (lane == 0) call.logits[n] = total + (w.bias ? w.bias[n] : 0.0f);
}

__global__ void __launch_bounds__(router_warps * 32) router(const __grid_constant__ RouterCall call) {
    const int warp = threadIdx.x / 32, n = static_cast<int>(blockIdx.x) * router_warps + warp;
    const int experts = static_cast<int>(call.weight.out);
    uint4 part[router_loads];
    load_row(call, n, 0, part);  // weights depend on no kernel
    allow_next_kernel();
    wait_for_previous_kernel();
    if (n < experts) multiply_row(call, n, part);
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) last = atomicAdd(call.counter, 1u) == gridDim.x - 1;
    __syncthreads();
    if (!last) return;
    __threadfence();
    if (threadIdx.x == 0) *call.counter = 0;
    if (warp == 0) choose(call.logits, experts, call.top_k, call.ids, call.weights);
}

}  // namespace

void launch_top_k(const float* logits, int64_t stride, int64_t tokens, int64_t experts, int64_t top_k,
                  int32_t* ids, float* weights, cudaStream_t stream) {
    const unsigned warps = tokens < 512 ? 1 : 4;
    launch_kernel(
        top_k_rows, dim3((static_cast<unsigned>(tokens) + warps - 1) / warps), warps * 32, 0, stream,
        "top_k_rows",
        TopKCall{logits, stride, tokens, static_cast<int>(experts), static_cast<int>(top_k), ids, weights});
}

void launch_router(const Tensor& x, const DeviceMatrix& w, int64_t top_k, float* logits, uint32_t* counter,
                   int32_t* ids, float* weights, cudaStream_t stream) {
    const RouterCall call{static_cast<const __nv_bfloat16*>(x.raw()),
                          static_cast<int>(top_k),
                          w,
                          logits,
                          counter,
                          ids,
                          weights};
    launch_kernel(router, dim3(static_cast<unsigned>((w.out + router_warps - 1) / router_warps)),
                  router_warps * 32, 0, stream, "router", call);
}

}  // namespace sheaf::cuda
