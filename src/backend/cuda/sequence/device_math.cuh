// What the kernels of this folder share: conversions, 8-wide vectors, reductions, activation functions, and
// the tensor-core and asynchronous-copy instructions that every architecture from sm_80 on has. Device code
// only.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace sheaf::cuda {

using bf16 = __nv_bfloat16;

__device__ inline float to_float(float x) {
    return x;
}
__device__ inline float to_float(bf16 x) {
    return __bfloat162float(x);
}
template <class T>
__device__ inline T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
    return x;
}
template <>
__device__ inline bf16 from_float<bf16>(float x) {
    return __float2bfloat16_rn(x);
}

/// Two floats as a bf16 pair, the first in the low half.
__device__ inline uint32_t pack_bf16(float low, float high) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
}
__device__ inline float low_bf16(uint32_t pair) {
    return __uint_as_float(pair << 16);
}
__device__ inline float high_bf16(uint32_t pair) {
    return __uint_as_float(pair & 0xffff0000u);
}

/// Eight neighbours at a 16-byte aligned place.
__device__ inline void load8(const float* from, float (&x)[8]) {
    const float4 a = *reinterpret_cast<const float4*>(from), b = *reinterpret_cast<const float4*>(from + 4);
    x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w, x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
}
__device__ inline void load8(const bf16* from, float (&x)[8]) {
    const uint4 a = *reinterpret_cast<const uint4*>(from);
    x[0] = low_bf16(a.x), x[1] = high_bf16(a.x), x[2] = low_bf16(a.y), x[3] = high_bf16(a.y);
    x[4] = low_bf16(a.z), x[5] = high_bf16(a.z), x[6] = low_bf16(a.w), x[7] = high_bf16(a.w);
}
__device__ inline void store8(float* to, const float (&x)[8]) {
    *reinterpret_cast<float4*>(to) = make_float4(x[0], x[1], x[2], x[3]);
    *reinterpret_cast<float4*>(to + 4) = make_float4(x[4], x[5], x[6], x[7]);
}
__device__ inline void store8(bf16* to, const float (&x)[8]) {
    *reinterpret_cast<uint4*>(to) = make_uint4(pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]),
                                               pack_bf16(x[4], x[5]), pack_bf16(x[6], x[7]));
}

template <int width = 32>
__device__ inline float warp_sum(float x) {
#pragma unroll
    for (int step = width / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

__device__ inline float sigmoid(float x) {
    return __fdividef(1.0f, 1.0f + __expf(-x));
}
__device__ inline float silu(float x) {
    return x * sigmoid(x);
}
__device__ inline float softplus(float x) {
    return x > 20.0f ? x : log1pf(expf(x));
}

/// c += a b with a (16, 16) by rows, b (16, 8) by columns, bf16 in, f32 out.
__device__ inline void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ inline uint32_t shared_address(const void* pointer) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}
/// Four 8 x 8 matrices of 16 bits; lanes 8 i to 8 i + 7 give the rows of matrix i.
__device__ inline void load_matrices(uint32_t (&x)[4], uint32_t row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(row)
                 : "memory");
}
__device__ inline void load_matrices_transposed(uint32_t (&x)[4], uint32_t row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(row)
                 : "memory");
}

/// Tiles in shared memory: rows of `dim` bf16, 16-byte chunks swizzled by the row's number so that eight rows
/// of one chunk lie in different banks. The address of a chunk.
template <int dim>
__device__ inline uint32_t tile_address(uint32_t tile, int row, int chunk) {
    return tile + row * (dim * 2) + ((chunk ^ (row & 7)) << 4);
}

__device__ inline void store_shared(uint32_t place, const uint4& x) {
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};\n" ::"r"(place), "r"(x.x), "r"(x.y), "r"(x.z),
                 "r"(x.w)
                 : "memory");
}

/// 16 bytes to shared memory in the background; zeros instead when not `valid` (nothing is read then).
__device__ inline void copy16(uint32_t to, const void* from, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(to), "l"(from), "r"(valid ? 16 : 0)
                 : "memory");
}
__device__ inline void commit_copies() {
    asm volatile("cp.async.commit_group;\n" ::: "memory");
}
template <int left>
__device__ inline void wait_copies() {
    asm volatile("cp.async.wait_group %0;\n" ::"n"(left) : "memory");
}

}  // namespace sheaf::cuda
