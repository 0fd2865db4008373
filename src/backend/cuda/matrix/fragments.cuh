// Tensor-core building blocks of the streaming kernels: A fragments (16 rows of a weight) out of the layouts
// of device_matrix.h, and the product with 8 columns of activations. Device code only.
//
// Lane 4 g + t of a warp holds, for every run of 32 inputs, the eight neighbours 8 t ... 8 t + 7 of rows g
// and g + 8 of the weight and of column g of the activations: one 16-byte piece, two m16n8k16 products. The
// result's lane holds rows g and g + 8, columns 2 t and 2 t + 1.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "backend/cuda/matrix/async_copy.cuh"
#include "backend/cuda/matrix/device_matrix.h"
#include "backend/cuda/matrix/stream_plan.h"

namespace sheaf::cuda {

__device__ inline void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// The same on half precision.
__device__ inline void multiply_add_half(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// (word & 0x000f000f) | 0x43004300: two codes as bf16, 128 higher.
__device__ inline uint32_t code_pair(uint32_t word) {
    uint32_t pair;
    asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(pair) : "r"(word), "r"(0x000f000fu), "r"(0x43004300u));
    return pair;
}

__device__ inline uint32_t subtract_pairs(uint32_t a, uint32_t b) {
    const __nv_bfloat162 difference =
        __hsub2(reinterpret_cast<const __nv_bfloat162&>(a), reinterpret_cast<const __nv_bfloat162&>(b));
    return reinterpret_cast<const uint32_t&>(difference);
}

/// The A fragment of one word; low and high: 128 + zero point, twice, of rows g and g + 8.
__device__ inline void decode_word(uint32_t word, uint32_t low, uint32_t high, uint32_t (&a)[4]) {
    a[0] = subtract_pairs(code_pair(word), low);
    a[1] = subtract_pairs(code_pair(word >> 4), high);
    a[2] = subtract_pairs(code_pair(word >> 8), low);
    a[3] = subtract_pairs(code_pair(word >> 12), high);
}

/// Scales (and zero points) of one unit.
struct UnitScales {
    const uint8_t* data;  // behind the unit's codes
    ScaleType type;
    bool has_zeros;
    int groups;

    /// Of group `group`, rows g and g + 8.
    __device__ float2 at(int group, int g) const {
        const int index = group * 8 + g;
        if (type == ScaleType::f32) return reinterpret_cast<const float2*>(data)[index];
        const uint32_t pair = reinterpret_cast<const uint32_t*>(data)[index];
        if (type == ScaleType::bf16)
            return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
        return __half22float2(reinterpret_cast<const __half2&>(pair));
    }
    /// 128 + zero point as pairs of bf16.
    __device__ uint2 zeros(int group, int g) const {
        if (!has_zeros) return make_uint2(0x43084308u, 0x43084308u);
        const uint8_t* zero = data + 16 * groups * (type == ScaleType::f32 ? 4 : 2) + (group * 8 + g) * 2;
        return make_uint2(0x43004300u + zero[0] * 0x10001u, 0x43004300u + zero[1] * 0x10001u);
    }
};

/// Whether a matrix is of the common kind: groups of 128, 16-bit scales, no zero points.
__host__ __device__ inline bool is_simple(const DeviceMatrix& m) {
    return m.unit_groups == 1 && !m.has_zeros && m.scale != ScaleType::f32;
}

/// int4: a unit is 128 inputs, 16 words of activations a lane. simple: only matrices that are; a third fewer
/// instructions, of which there are barely enough for the memory's speed.
template <bool simple, bool halves = false>
struct Int4Format {
    static constexpr bool packed = true, half = halves;
    static constexpr int unit_inputs = 128, words = 16;

    /// unit: its address in shared memory.
    __device__ static void product(uint32_t unit, const DeviceMatrix& m, const uint32_t (&b)[words],
                                   float (&total)[4]) {
        const int lane = threadIdx.x % 32, g = lane / 4;
        const uint4 first = load_shared(unit + lane * 16);
        const uint4 second = load_shared(unit + 512 + lane * 16);
        const uint32_t codes[8] = {first.x,  first.y,  first.z,  first.w,
                                   second.x, second.y, second.z, second.w};
        if constexpr (simple) {
            const uint32_t pair = load_shared_word(unit + DeviceMatrix::unit_code_bytes + g * 4);
            float part[4] = {0, 0, 0, 0}, other[4] = {0, 0, 0, 0};  // two chains of half the latency
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                uint32_t a[4];
                decode_word(codes[i], 0x43084308u, 0x43084308u, a);
                multiply_add(i % 2 ? other : part, a, b[2 * i], b[2 * i + 1]);
            }
#pragma unroll
            for (int i = 0; i < 4; ++i) part[i] += other[i];
            const bool wide = m.scale == ScaleType::bf16;
            const float2 half = __half22float2(reinterpret_cast<const __half2&>(pair));
            add_scaled(part, wide ? __uint_as_float(pair << 16) : half.x,
                       wide ? __uint_as_float(pair & 0xffff0000u) : half.y, total);
        } else {
            general_product(codes, static_cast<const uint8_t*>(__cvta_shared_to_generic(unit)), m, b, total);
        }
    }

    /// Of activations in half precision (HalfColumns): a code c, as it lies in the word, is the half c 2^-24
    /// or, in rows g + 8, 16 c 2^-24, which tensor cores multiply exactly; half the instructions. terms: of
    /// columns 2 t and 2 t + 1 the factor of the products and what is added to them.
    __device__ static void half_product(uint32_t unit, const DeviceMatrix& m, const uint32_t (&b)[words],
                                        float4 terms, float (&total)[4]) {
        const int lane = threadIdx.x % 32, g = lane / 4;
        const uint4 first = load_shared(unit + lane * 16);
        const uint4 second = load_shared(unit + 512 + lane * 16);
        const uint32_t codes[8] = {first.x,  first.y,  first.z,  first.w,
                                   second.x, second.y, second.z, second.w};
        const uint32_t pair = load_shared_word(unit + DeviceMatrix::unit_code_bytes + g * 4);
        float part[4] = {0, 0, 0, 0}, other[4] = {0, 0, 0, 0};
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const uint32_t word = codes[i], upper = word >> 8;
            const uint32_t a[4] = {word & 0x000f000fu, word & 0x00f000f0u, upper & 0x000f000fu,
                                   upper & 0x00f000f0u};
            multiply_add_half(i % 2 ? other : part, a, b[2 * i], b[2 * i + 1]);
        }
        const bool wide = m.scale == ScaleType::bf16;
        const float2 half = __half22float2(reinterpret_cast<const __half2&>(pair));
        const float low = wide ? __uint_as_float(pair << 16) : half.x;
        const float high = wide ? __uint_as_float(pair & 0xffff0000u) : half.y;
        total[0] = fmaf(low, fmaf(part[0] + other[0], terms.x, terms.y), total[0]);
        total[1] = fmaf(low, fmaf(part[1] + other[1], terms.z, terms.w), total[1]);
        total[2] = fmaf(high, fmaf(part[2] + other[2], terms.x * 0.0625f, terms.y), total[2]);
        total[3] = fmaf(high, fmaf(part[3] + other[3], terms.z * 0.0625f, terms.w), total[3]);
    }

  private:
    __device__ static void add_scaled(const float (&part)[4], float low, float high, float (&total)[4]) {
        total[0] = fmaf(low, part[0], total[0]);
        total[1] = fmaf(low, part[1], total[1]);
        total[2] = fmaf(high, part[2], total[2]);
        total[3] = fmaf(high, part[3], total[3]);
    }

    __device__ static void general_product(const uint32_t (&codes)[8], const uint8_t* unit,
                                           const DeviceMatrix& m, const uint32_t (&b)[words],
                                           float (&total)[4]) {
        const int g = threadIdx.x % 32 / 4;
        const UnitScales scales{unit + DeviceMatrix::unit_code_bytes, m.scale, m.has_zeros, m.unit_groups};
        const int last = 4 / m.unit_groups - 1, shift = m.unit_groups == 4 ? 0 : m.unit_groups == 2 ? 1 : 2;
        float part[4] = {0, 0, 0, 0};
        uint2 zero = scales.zeros(0, g);
#pragma unroll
        for (int run = 0; run < 4; ++run) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                uint32_t a[4];
                decode_word(codes[2 * run + half], zero.x, zero.y, a);
                multiply_add(part, a, b[4 * run + 2 * half], b[4 * run + 2 * half + 1]);
            }
            if ((run & last) != last) continue;
            const float2 scale = scales.at(run >> shift, g);
            add_scaled(part, scale.x, scale.y, total);
            if (run == 3) break;
            part[0] = part[1] = part[2] = part[3] = 0;
            if (m.has_zeros) zero = scales.zeros((run + 1) >> shift, g);
        }
    }
};

/// bf16: a unit is 64 inputs, 8 words of activations a lane.
struct Bf16Units {
    static constexpr bool packed = false, half = false;
    static constexpr int unit_inputs = bf16_unit_inputs, words = 8, unit_bytes = bf16_unit_bytes;

    /// Where 16 bytes of a row lie: rows next to each other use different banks.
    __device__ static int place(int row, int piece) { return row * 128 + ((piece ^ row % 2 * 4) * 16); }

    __device__ static void product(uint32_t unit, const DeviceMatrix&, const uint32_t (&b)[words],
                                   float (&total)[4]) {
        const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
        for (int run = 0; run < 2; ++run) {
            const uint4 low = load_shared(unit + place(g, 4 * run + t));
            const uint4 high = load_shared(unit + place(g + 8, 4 * run + t));
            const uint32_t first[4] = {low.x, high.x, low.y, high.y};
            const uint32_t second[4] = {low.z, high.z, low.w, high.w};
            multiply_add(total, first, b[4 * run], b[4 * run + 1]);
            multiply_add(total, second, b[4 * run + 2], b[4 * run + 3]);
        }
    }
};

}  // namespace sheaf::cuda
