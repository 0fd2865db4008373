// Small device functions that kernels share: numbers of any float type to and from fp32, sums over a warp or
// a block. Included by .cu files of the CUDA back end alone. Must not know tensors.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace sheaf::cuda {

__device__ __forceinline__ float to_float(float x) {
    return x;
}
__device__ __forceinline__ float to_float(__nv_bfloat16 x) {
    return __bfloat162float(x);
}
__device__ __forceinline__ float to_float(__half x) {
    return __half2float(x);
}

template <class T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
    return x;
}
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
    return __float2bfloat16_rn(x);
}
template <>
__device__ __forceinline__ __half from_float<__half>(float x) {
    return __float2half_rn(x);
}

/// The same value in all lanes; the order of the sum is fixed.
__device__ __forceinline__ float warp_sum(float value) {
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
    return value;
}
__device__ __forceinline__ float warp_max(float value) {
    for (int offset = 16; offset > 0; offset /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, offset));
    return value;
}

/// Over a block of whole warps, the same value in all threads. `shared` holds 32 floats; may be used again at
/// once.
template <class Combine>
__device__ __forceinline__ float block_combine(float value, float* shared, float neutral, Combine combine) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    value = combine(value);
    __syncthreads();
    if (lane == 0) shared[warp] = value;
    __syncthreads();
    return combine(lane < warps ? shared[lane] : neutral);
}
__device__ __forceinline__ float block_sum(float value, float* shared) {
    return block_combine(value, shared, 0.0f, [](float x) { return warp_sum(x); });
}
__device__ __forceinline__ float block_max(float value, float* shared) {
    return block_combine(value, shared, -INFINITY, [](float x) { return warp_max(x); });
}

__device__ __forceinline__ float sigmoid(float x) {
    return 1.0f / (1.0f + expf(-x));
}

}  // namespace sheaf::cuda
