// simd.h on AVX-512 F, BW, VL, DQ: one register. Must not be included except by simd.h.
#pragma once

#include <immintrin.h>

namespace sheaf::cpu::SHEAF_ISA {

struct f32x16 {
    __m512 v;
};
struct i32x16 {
    __m512i v;
};
struct mask16 {
    __mmask16 m;
};

SHEAF_SIMD __mmask16 first_lanes(int64_t n) {
    return static_cast<__mmask16>(n >= 16 ? 0xffffu : (1u << n) - 1u);
}

SHEAF_SIMD f32x16 set1(float x) {
    return {_mm512_set1_ps(x)};
}
SHEAF_SIMD f32x16 load(const float* p) {
    return {_mm512_loadu_ps(p)};
}
SHEAF_SIMD void store(float* p, f32x16 x) {
    _mm512_storeu_ps(p, x.v);
}
/// The first n (0..16) lanes; the others are 0.
SHEAF_SIMD f32x16 load_n(const float* p, int64_t n) {
    return {_mm512_maskz_loadu_ps(first_lanes(n), p)};
}
SHEAF_SIMD void store_n(float* p, f32x16 x, int64_t n) {
    _mm512_mask_storeu_ps(p, first_lanes(n), x.v);
}

SHEAF_SIMD f32x16 add(f32x16 a, f32x16 b) {
    return {_mm512_add_ps(a.v, b.v)};
}
SHEAF_SIMD f32x16 sub(f32x16 a, f32x16 b) {
    return {_mm512_sub_ps(a.v, b.v)};
}
SHEAF_SIMD f32x16 mul(f32x16 a, f32x16 b) {
    return {_mm512_mul_ps(a.v, b.v)};
}
SHEAF_SIMD f32x16 div(f32x16 a, f32x16 b) {
    return {_mm512_div_ps(a.v, b.v)};
}
/// a * b + c
SHEAF_SIMD f32x16 fma(f32x16 a, f32x16 b, f32x16 c) {
    return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
SHEAF_SIMD f32x16 sqrt(f32x16 a) {
    return {_mm512_sqrt_ps(a.v)};
}
SHEAF_SIMD f32x16 min(f32x16 a, f32x16 b) {
    return {_mm512_min_ps(a.v, b.v)};
}
SHEAF_SIMD f32x16 max(f32x16 a, f32x16 b) {
    return {_mm512_max_ps(a.v, b.v)};
}

SHEAF_SIMD i32x16 set1(int32_t x) {
    return {_mm512_set1_epi32(x)};
}
SHEAF_SIMD i32x16 load_i32(const void* p) {
    return {_mm512_loadu_si512(p)};
}
SHEAF_SIMD i32x16 add(i32x16 a, i32x16 b) {
    return {_mm512_add_epi32(a.v, b.v)};
}
SHEAF_SIMD i32x16 sub(i32x16 a, i32x16 b) {
    return {_mm512_sub_epi32(a.v, b.v)};
}
SHEAF_SIMD i32x16 bit_and(i32x16 a, i32x16 b) {
    return {_mm512_and_si512(a.v, b.v)};
}
template <int N>
SHEAF_SIMD i32x16 shift_left(i32x16 a) {
    return {_mm512_slli_epi32(a.v, N)};
}
template <int N>
SHEAF_SIMD i32x16 shift_right(i32x16 a) {  // fills with zeros
    return {_mm512_srli_epi32(a.v, N)};
}
template <int N>
SHEAF_SIMD i32x16 shift_right_signed(i32x16 a) {
    return {_mm512_srai_epi32(a.v, N)};
}
SHEAF_SIMD i32x16 to_int(f32x16 a) {  // nearest, ties to even
    return {_mm512_cvtps_epi32(a.v)};
}
SHEAF_SIMD f32x16 to_float(i32x16 a) {
    return {_mm512_cvtepi32_ps(a.v)};
}
SHEAF_SIMD f32x16 as_float(i32x16 a) {
    return {_mm512_castsi512_ps(a.v)};
}
SHEAF_SIMD i32x16 as_int(f32x16 a) {
    return {_mm512_castps_si512(a.v)};
}

SHEAF_SIMD mask16 less(f32x16 a, f32x16 b) {
    return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)};
}
SHEAF_SIMD mask16 less(i32x16 a, i32x16 b) {
    return {_mm512_cmplt_epi32_mask(a.v, b.v)};
}
SHEAF_SIMD mask16 is_nan(f32x16 a) {
    return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)};
}
SHEAF_SIMD f32x16 select(mask16 m, f32x16 yes, f32x16 no) {
    return {_mm512_mask_blend_ps(m.m, no.v, yes.v)};
}

SHEAF_SIMD f32x16 load_bf16(const uint16_t* p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
SHEAF_SIMD f32x16 load_f16(const uint16_t* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
/// Sixteen unsigned bytes.
SHEAF_SIMD i32x16 load_u8(const uint8_t* p) {
    return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
/// The low 16 bits of every lane.
SHEAF_SIMD void store_low_u16(uint16_t* p, i32x16 x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(x.v));
}
/// The low 16 bits of every lane as an IEEE half.
SHEAF_SIMD f32x16 half_to_float(i32x16 x) {
    return {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(x.v))};
}

/// Halving tree: lane i + lane i + 8, then 4, 2, 1.
SHEAF_SIMD float sum_lanes(f32x16 x) {
    const __m256 a = _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_shuffle_ps(c, c, 1)));
}
SHEAF_SIMD float max_lanes(f32x16 x) {
    return _mm512_reduce_max_ps(x.v);
}

/// Eight 4-bit codes, low first, each standing for code - 8: get<0> ... get<7> in this order; the word is
/// used up.
struct Int4Decoder {
    __m512 table = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    template <int J>
    SHEAF_SIMD f32x16 get(i32x16& word) const {
        const f32x16 value{_mm512_permutexvar_ps(word.v, table)};  // reads the low 4 bits only
        if constexpr (J < 7) word.v = _mm512_srli_epi32(word.v, 4);
        return value;
    }
};

}  // namespace sheaf::cpu::SHEAF_ISA
