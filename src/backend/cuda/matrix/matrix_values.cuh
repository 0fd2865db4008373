// Reading single numbers of weights and activations in any form: the definition of the layouts, for the plain
// kernels and for repacking. Device code only.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "backend/cuda/matrix/device_matrix.h"

namespace sheaf::cuda {

__device__ inline float to_float(float x) {
    return x;
}
__device__ inline float to_float(__nv_bfloat16 x) {
    return __bfloat162float(x);
}
__device__ inline void store_float(float* p, float x) {
    *p = x;
}
__device__ inline void store_float(__nv_bfloat16* p, float x) {
    *p = __float2bfloat16_rn(x);
}

/// Where input k (of a unit) of row r (of a block) lies: 32-bit word of the unit's codes, and nibble of it.
__host__ __device__ inline int code_word(int r, int k) {
    const int g = r % 8, t = k % 32 / 8, s = k / 32 % 2 * 2 + k % 8 / 4;
    return k / 64 * 128 + (4 * g + t) * 4 + s;
}
__host__ __device__ inline int code_nibble(int r, int k) {
    return k % 4 / 2 * 2 + r / 8 + k % 2 * 4;
}

__device__ inline float scale_value(const uint8_t* scales, ScaleType type, int index) {
    if (type == ScaleType::f32) return reinterpret_cast<const float*>(scales)[index];
    if (type == ScaleType::bf16)
        return __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(scales)[index]);
    return __half2float(reinterpret_cast<const __half*>(scales)[index]);
}
__host__ __device__ inline int scale_size(ScaleType type) {
    return type == ScaleType::f32 ? 4 : 2;
}

/// W[n][k], with the matrix's numbers at `data`.
__device__ inline float weight_at(const DeviceMatrix& m, const uint8_t* data, int64_t n, int64_t k) {
    if (m.store == Store::f32) return reinterpret_cast<const float*>(data)[n * m.row_stride + k];
    if (m.store == Store::bf16)
        return __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(data)[n * m.row_stride + k]);
    const int r = static_cast<int>(n % 16), u = static_cast<int>(k % 128);
    const uint8_t* unit = data + (n / 16 * m.units + k / 128) * m.unit_bytes;
    const uint32_t word = reinterpret_cast<const uint32_t*>(unit)[code_word(r, u)];
    const int code = static_cast<int>(word >> (4 * code_nibble(r, u)) & 15u);
    const int index = u / (128 / m.unit_groups) * 16 + r % 8 * 2 + r / 8;
    const uint8_t* scales = unit + DeviceMatrix::unit_code_bytes;
    const int zero = m.has_zeros ? scales[m.unit_groups * 16 * scale_size(m.scale) + index] : 8;
    return static_cast<float>(code - zero) * scale_value(scales, m.scale, index);
}

__device__ inline float silu(float x) {
    return x / (1.0f + __expf(-x));
}

}  // namespace sheaf::cuda
