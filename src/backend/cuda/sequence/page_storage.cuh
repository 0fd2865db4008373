// What pages hold: bf16 as the activations, or e4m3 (one byte, scale 1), and the ways between them and
// activations. Device code only.
#pragma once

#include <cuda_fp8.h>

#include "backend/cuda/sequence/device_math.cuh"

namespace sheaf::cuda {

struct f8 {  // e4m3
    uint8_t bits;
};

__device__ inline float to_float(f8 x) {
    return __half2float(__half(__nv_cvt_fp8_to_halfraw(x.bits, __NV_E4M3)));
}
/// To the nearest, even among two; beyond 448: 448.
template <>
__device__ inline f8 from_float<f8>(float x) {
    return {static_cast<uint8_t>(__nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3))};
}

/// Two numbers of e4m3, each in the high byte of its half, as bf16. Exponent and mantissa are moved to where
/// bf16 has them, which leaves a number 2^120 too small, whether normal or not.
__device__ inline uint32_t widen_pair(uint32_t x) {
    const uint32_t y = (x & 0x80008000u) | (x & 0x7f007f00u) >> 4;
    const __nv_bfloat162 scale = __floats2bfloat162_rn(0x1p120f, 0x1p120f);
    const __nv_bfloat162 z = __hmul2(*reinterpret_cast<const __nv_bfloat162*>(&y), scale);
    return *reinterpret_cast<const uint32_t*>(&z);
}
/// Eight numbers of e4m3 as bf16.
__device__ inline uint4 widen8(uint2 x) {
    return make_uint4(widen_pair(__byte_perm(x.x, 0, 0x1404)), widen_pair(__byte_perm(x.x, 0, 0x3424)),
                      widen_pair(__byte_perm(x.y, 0, 0x1404)), widen_pair(__byte_perm(x.y, 0, 0x3424)));
}

/// Eight neighbours of a page.
__device__ inline void load8(const f8* from, float (&x)[8]) {
    const uint4 a = widen8(*reinterpret_cast<const uint2*>(from));
    x[0] = low_bf16(a.x), x[1] = high_bf16(a.x), x[2] = low_bf16(a.y), x[3] = high_bf16(a.y);
    x[4] = low_bf16(a.z), x[5] = high_bf16(a.z), x[6] = low_bf16(a.w), x[7] = high_bf16(a.w);
}
__device__ inline void store8(f8* to, const float (&x)[8]) {
    uint32_t words[2] = {};
#pragma unroll
    for (int i = 0; i < 8; ++i)
        words[i / 4] |= static_cast<uint32_t>(from_float<f8>(x[i]).bits) << (8 * (i % 4));
    *reinterpret_cast<uint2*>(to) = make_uint2(words[0], words[1]);
}

}  // namespace sheaf::cuda
