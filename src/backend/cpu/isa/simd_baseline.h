// simd.h in plain C++ with the compiler's four-float vectors: what any processor runs, and the reference for
// the other two. fma rounds twice. Must not be included except by simd.h.
#pragma once

#include <cmath>
#include <cstring>

namespace sheaf::cpu::SHEAF_ISA {

using f32x4 = float __attribute__((vector_size(16)));
using i32x4 = int32_t __attribute__((vector_size(16)));
using u32x4 = uint32_t __attribute__((vector_size(16)));

struct f32x16 {
    f32x4 v[4];
};
struct i32x16 {
    i32x4 v[4];
};
using mask16 = i32x16;  // all bits or none

#define SHEAF_EACH(type, expression)                                           \
    type r;                                                                    \
    _Pragma("GCC unroll 4") for (int i = 0; i < 4; ++i) r.v[i] = (expression); \
    return r

SHEAF_SIMD f32x16 set1(float x) {
    SHEAF_EACH(f32x16, (f32x4{x, x, x, x}));
}
SHEAF_SIMD f32x16 load(const float* p) {
    f32x16 r;
    std::memcpy(&r, p, sizeof(r));
    return r;
}
SHEAF_SIMD void store(float* p, f32x16 x) {
    std::memcpy(p, &x, sizeof(x));
}
/// The first n (0..16) lanes; the others are 0.
SHEAF_SIMD f32x16 load_n(const float* p, int64_t n) {
    f32x16 r{};
    if (n > 0) std::memcpy(&r, p, static_cast<size_t>(n < 16 ? n : 16) * sizeof(float));
    return r;
}
SHEAF_SIMD void store_n(float* p, f32x16 x, int64_t n) {
    if (n > 0) std::memcpy(p, &x, static_cast<size_t>(n < 16 ? n : 16) * sizeof(float));
}

SHEAF_SIMD f32x16 add(f32x16 a, f32x16 b) {
    SHEAF_EACH(f32x16, a.v[i] + b.v[i]);
}
SHEAF_SIMD f32x16 sub(f32x16 a, f32x16 b) {
    SHEAF_EACH(f32x16, a.v[i] - b.v[i]);
}
SHEAF_SIMD f32x16 mul(f32x16 a, f32x16 b) {
    SHEAF_EACH(f32x16, a.v[i] * b.v[i]);
}
SHEAF_SIMD f32x16 div(f32x16 a, f32x16 b) {
    SHEAF_EACH(f32x16, a.v[i] / b.v[i]);
}
/// a * b + c
SHEAF_SIMD f32x16 fma(f32x16 a, f32x16 b, f32x16 c) {
    SHEAF_EACH(f32x16, a.v[i] * b.v[i] + c.v[i]);
}
SHEAF_SIMD f32x16 sqrt(f32x16 a) {
    f32x16 r;
    for (int i = 0; i < 16; ++i) r.v[i / 4][i % 4] = __builtin_sqrtf(a.v[i / 4][i % 4]);
    return r;
}
SHEAF_SIMD f32x16 min(f32x16 a, f32x16 b) {
    SHEAF_EACH(f32x16, a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}
SHEAF_SIMD f32x16 max(f32x16 a, f32x16 b) {
    SHEAF_EACH(f32x16, a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}

SHEAF_SIMD i32x16 set1(int32_t x) {
    SHEAF_EACH(i32x16, (i32x4{x, x, x, x}));
}
SHEAF_SIMD i32x16 load_i32(const void* p) {
    i32x16 r;
    std::memcpy(&r, p, sizeof(r));
    return r;
}
SHEAF_SIMD i32x16 add(i32x16 a, i32x16 b) {
    SHEAF_EACH(i32x16, (i32x4)((u32x4)a.v[i] + (u32x4)b.v[i]));
}
SHEAF_SIMD i32x16 sub(i32x16 a, i32x16 b) {
    SHEAF_EACH(i32x16, (i32x4)((u32x4)a.v[i] - (u32x4)b.v[i]));
}
SHEAF_SIMD i32x16 bit_and(i32x16 a, i32x16 b) {
    SHEAF_EACH(i32x16, a.v[i] & b.v[i]);
}
SHEAF_SIMD i32x16 bit_xor(i32x16 a, i32x16 b) {
    SHEAF_EACH(i32x16, a.v[i] ^ b.v[i]);
}
template <int N>
SHEAF_SIMD i32x16 shift_left(i32x16 a) {
    SHEAF_EACH(i32x16, (i32x4)((u32x4)a.v[i] << N));
}
template <int N>
SHEAF_SIMD i32x16 shift_right(i32x16 a) {  // fills with zeros
    SHEAF_EACH(i32x16, (i32x4)((u32x4)a.v[i] >> N));
}
template <int N>
SHEAF_SIMD i32x16 shift_right_signed(i32x16 a) {
    SHEAF_EACH(i32x16, a.v[i] >> N);
}
/// Nearest, ties to even; for magnitudes below 2^22.
SHEAF_SIMD i32x16 to_int(f32x16 a) {
    const f32x4 magic = {12582912.0f, 12582912.0f, 12582912.0f, 12582912.0f};
    SHEAF_EACH(i32x16, (i32x4)((u32x4)(a.v[i] + magic) - (u32x4)magic));
}
SHEAF_SIMD f32x16 to_float(i32x16 a) {
    SHEAF_EACH(f32x16, __builtin_convertvector(a.v[i], f32x4));
}
SHEAF_SIMD f32x16 as_float(i32x16 a) {
    SHEAF_EACH(f32x16, (f32x4)a.v[i]);
}
SHEAF_SIMD i32x16 as_int(f32x16 a) {
    SHEAF_EACH(i32x16, (i32x4)a.v[i]);
}

SHEAF_SIMD mask16 less(f32x16 a, f32x16 b) {
    SHEAF_EACH(mask16, a.v[i] < b.v[i]);
}
SHEAF_SIMD mask16 less(i32x16 a, i32x16 b) {
    SHEAF_EACH(mask16, a.v[i] < b.v[i]);
}
SHEAF_SIMD mask16 is_nan(f32x16 a) {
    SHEAF_EACH(mask16, a.v[i] != a.v[i]);
}
SHEAF_SIMD f32x16 select(mask16 m, f32x16 yes, f32x16 no) {
    SHEAF_EACH(f32x16, m.v[i] ? yes.v[i] : no.v[i]);
}
#undef SHEAF_EACH

SHEAF_SIMD f32x16 load_bf16(const uint16_t* p) {
    i32x16 r;
    for (int i = 0; i < 16; ++i) r.v[i / 4][i % 4] = static_cast<int32_t>(static_cast<uint32_t>(p[i]) << 16);
    return as_float(r);
}
/// The low 16 bits of every lane as an IEEE half: moved into place, then scaled by 2^112, which also
/// normalizes subnormals; infinities and NaN keep their exponent.
SHEAF_SIMD f32x16 half_to_float(i32x16 x) {
    f32x16 r;
    for (int i = 0; i < 16; ++i) {
        const uint32_t h = static_cast<uint32_t>(x.v[i / 4][i % 4]) & 0xffffu;
        const uint32_t magnitude = (h & 0x7fffu) << 13;
        float value;
        std::memcpy(&value, &magnitude, 4);
        value *= 0x1p112f;
        uint32_t bits;
        std::memcpy(&bits, &value, 4);
        if ((h & 0x7c00u) == 0x7c00u) bits = 0x7f800000u | magnitude;
        bits |= (h & 0x8000u) << 16;
        std::memcpy(&value, &bits, 4);
        r.v[i / 4][i % 4] = value;
    }
    return r;
}
SHEAF_SIMD f32x16 load_f16(const uint16_t* p) {
    i32x16 r;
    for (int i = 0; i < 16; ++i) r.v[i / 4][i % 4] = p[i];
    return half_to_float(r);
}
/// Sixteen unsigned bytes.
SHEAF_SIMD i32x16 load_u8(const uint8_t* p) {
    i32x16 r;
    for (int i = 0; i < 16; ++i) r.v[i / 4][i % 4] = p[i];
    return r;
}
/// The low 16 bits of every lane.
SHEAF_SIMD void store_low_u16(uint16_t* p, i32x16 x) {
    for (int i = 0; i < 16; ++i) p[i] = static_cast<uint16_t>(x.v[i / 4][i % 4]);
}

/// Halving tree: lane i + lane i + 8, then 4, 2, 1.
SHEAF_SIMD float sum_lanes(f32x16 x) {
    const f32x4 low = x.v[0] + x.v[2], high = x.v[1] + x.v[3];
    const f32x4 b = low + high;
    const float even = b[0] + b[2], odd = b[1] + b[3];
    return even + odd;
}
SHEAF_SIMD float max_lanes(f32x16 x) {
    float best = x.v[0][0];
    for (int i = 1; i < 16; ++i) best = x.v[i / 4][i % 4] > best ? x.v[i / 4][i % 4] : best;
    return best;
}

/// Eight 4-bit codes, low first, each standing for code - 8: get<0> ... get<7> in this order; the word is
/// used up. With its top bit flipped a code is code - 8 in two's complement.
struct Int4Decoder {
    template <int J>
    SHEAF_SIMD f32x16 get(i32x16& word) const {
        if constexpr (J == 0) word = bit_xor(word, set1(static_cast<int32_t>(0x88888888u)));
        return to_float(shift_right_signed<28>(shift_left<28 - 4 * J>(word)));
    }
};

}  // namespace sheaf::cpu::SHEAF_ISA
