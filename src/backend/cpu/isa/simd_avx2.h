// simd.h on AVX2, FMA and F16C: two registers. Must not be included except by simd.h.
#pragma once

#include <immintrin.h>

namespace sheaf::cpu::SHEAF_ISA {

struct f32x16 {
    __m256 a, b;
};
struct i32x16 {
    __m256i a, b;
};
struct mask16 {
    __m256 a, b;
};

SHEAF_SIMD __m256i first_lanes(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

SHEAF_SIMD f32x16 set1(float x) {
    return {_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
SHEAF_SIMD f32x16 load(const float* p) {
    return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
SHEAF_SIMD void store(float* p, f32x16 x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
/// The first n (0..16) lanes; the others are 0.
SHEAF_SIMD f32x16 load_n(const float* p, int64_t n) {
    return {_mm256_maskload_ps(p, first_lanes(n)), _mm256_maskload_ps(p + 8, first_lanes(n - 8))};
}
SHEAF_SIMD void store_n(float* p, f32x16 x, int64_t n) {
    _mm256_maskstore_ps(p, first_lanes(n), x.a);
    _mm256_maskstore_ps(p + 8, first_lanes(n - 8), x.b);
}

SHEAF_SIMD f32x16 add(f32x16 x, f32x16 y) {
    return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
SHEAF_SIMD f32x16 sub(f32x16 x, f32x16 y) {
    return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
SHEAF_SIMD f32x16 mul(f32x16 x, f32x16 y) {
    return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
SHEAF_SIMD f32x16 div(f32x16 x, f32x16 y) {
    return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}
/// x * y + z
SHEAF_SIMD f32x16 fma(f32x16 x, f32x16 y, f32x16 z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
SHEAF_SIMD f32x16 sqrt(f32x16 x) {
    return {_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)};
}
SHEAF_SIMD f32x16 min(f32x16 x, f32x16 y) {
    return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}
SHEAF_SIMD f32x16 max(f32x16 x, f32x16 y) {
    return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}

SHEAF_SIMD i32x16 set1(int32_t x) {
    return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}
SHEAF_SIMD i32x16 load_i32(const void* p) {
    const auto* words = static_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(words), _mm256_loadu_si256(words + 1)};
}
SHEAF_SIMD i32x16 add(i32x16 x, i32x16 y) {
    return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}
SHEAF_SIMD i32x16 sub(i32x16 x, i32x16 y) {
    return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)};
}
SHEAF_SIMD i32x16 bit_and(i32x16 x, i32x16 y) {
    return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)};
}
SHEAF_SIMD i32x16 bit_xor(i32x16 x, i32x16 y) {
    return {_mm256_xor_si256(x.a, y.a), _mm256_xor_si256(x.b, y.b)};
}
template <int N>
SHEAF_SIMD i32x16 shift_left(i32x16 x) {
    return {_mm256_slli_epi32(x.a, N), _mm256_slli_epi32(x.b, N)};
}
template <int N>
SHEAF_SIMD i32x16 shift_right(i32x16 x) {  // fills with zeros
    return {_mm256_srli_epi32(x.a, N), _mm256_srli_epi32(x.b, N)};
}
template <int N>
SHEAF_SIMD i32x16 shift_right_signed(i32x16 x) {
    return {_mm256_srai_epi32(x.a, N), _mm256_srai_epi32(x.b, N)};
}
SHEAF_SIMD i32x16 to_int(f32x16 x) {  // nearest, ties to even
    return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)};
}
SHEAF_SIMD f32x16 to_float(i32x16 x) {
    return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)};
}
SHEAF_SIMD f32x16 as_float(i32x16 x) {
    return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)};
}
SHEAF_SIMD i32x16 as_int(f32x16 x) {
    return {_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)};
}

SHEAF_SIMD mask16 less(f32x16 x, f32x16 y) {
    return {_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)};
}
SHEAF_SIMD mask16 less(i32x16 x, i32x16 y) {
    return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(y.a, x.a)),
            _mm256_castsi256_ps(_mm256_cmpgt_epi32(y.b, x.b))};
}
SHEAF_SIMD mask16 is_nan(f32x16 x) {
    return {_mm256_cmp_ps(x.a, x.a, _CMP_UNORD_Q), _mm256_cmp_ps(x.b, x.b, _CMP_UNORD_Q)};
}
SHEAF_SIMD f32x16 select(mask16 m, f32x16 yes, f32x16 no) {
    return {_mm256_blendv_ps(no.a, yes.a, m.a), _mm256_blendv_ps(no.b, yes.b, m.b)};
}

SHEAF_SIMD __m256i widen_u16(const uint16_t* p) {
    return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
SHEAF_SIMD f32x16 load_bf16(const uint16_t* p) {
    return as_float(shift_left<16>(i32x16{widen_u16(p), widen_u16(p + 8)}));
}
SHEAF_SIMD f32x16 load_f16(const uint16_t* p) {
    const auto* halves = reinterpret_cast<const __m128i*>(p);
    return {_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}
/// Sixteen unsigned bytes.
SHEAF_SIMD i32x16 load_u8(const uint8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))};
}
SHEAF_SIMD __m256i low_u16(i32x16 x) {
    const __m256i low = _mm256_set1_epi32(0xffff);
    const __m256i packed = _mm256_packus_epi32(_mm256_and_si256(x.a, low), _mm256_and_si256(x.b, low));
    return _mm256_permute4x64_epi64(packed, 0xd8);
}
/// The low 16 bits of every lane.
SHEAF_SIMD void store_low_u16(uint16_t* p, i32x16 x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), low_u16(x));
}
/// The low 16 bits of every lane as an IEEE half.
SHEAF_SIMD f32x16 half_to_float(i32x16 x) {
    const __m256i packed = low_u16(x);
    return {_mm256_cvtph_ps(_mm256_castsi256_si128(packed)),
            _mm256_cvtph_ps(_mm256_extracti128_si256(packed, 1))};
}

/// Halving tree: lane i + lane i + 8, then 4, 2, 1.
SHEAF_SIMD float sum_lanes(f32x16 x) {
    const __m256 a = _mm256_add_ps(x.a, x.b);
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_shuffle_ps(c, c, 1)));
}
SHEAF_SIMD float max_lanes(f32x16 x) {
    const __m256 a = _mm256_max_ps(x.a, x.b);
    const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_shuffle_ps(c, c, 1)));
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
