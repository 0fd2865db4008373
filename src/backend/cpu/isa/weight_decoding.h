// How the words of each packed format become sixteen floats. Used by the matrix kernels of this folder only.
#pragma once

#include "backend/cpu/isa/simd.h"
#include "backend/cpu/packed_matrix.h"

namespace sheaf::cpu::SHEAF_ISA {

// Each decoder: `per_word` inputs in a 64-byte row of words; get<0>, get<1>, ... give them for 16 outputs,
// once each and in this order, for they may use up the word.

struct F32Decoder {
    static constexpr int per_word = 1;
    template <int J>
    SHEAF_SIMD f32x16 get(i32x16& word) const {
        return as_float(word);
    }
};

struct Bf16Decoder {
    static constexpr int per_word = 2;
    template <int J>
    SHEAF_SIMD f32x16 get(i32x16& word) const {
        if constexpr (J == 0) return as_float(shift_left<16>(word));
        return as_float(bit_and(word, set1(static_cast<int32_t>(0xffff0000))));
    }
};

/// E4M3 has half's layout with three mantissa bits and an exponent bias smaller by 8; the scales carry the
/// missing 2^8 (pack.cpp).
struct Fp8Decoder {
    static constexpr int per_word = 4;
    template <int J>
    SHEAF_SIMD f32x16 get(i32x16& word) const {
        const i32x16 byte = shift_right<8 * J>(word);
        const i32x16 sign = shift_left<8>(bit_and(byte, set1(0x80)));
        const i32x16 magnitude = shift_left<7>(bit_and(byte, set1(0x7f)));
        return half_to_float(add(sign, magnitude));
    }
};

struct Int4WordDecoder : Int4Decoder {
    static constexpr int per_word = 8;
};

/// 1 for formats without scales.
SHEAF_SIMD f32x16 load_scale(const PackedMatrix& w, const uint8_t* tile, int64_t group) {
    const uint8_t* at = tile + w.scale_offset;
    switch (w.scale) {
        case ScaleFormat::f32:
            return load(reinterpret_cast<const float*>(at) + group * lanes);
        case ScaleFormat::bf16:
            return load_bf16(reinterpret_cast<const uint16_t*>(at) + group * lanes);
        case ScaleFormat::f16:
            return load_f16(reinterpret_cast<const uint16_t*>(at) + group * lanes);
        case ScaleFormat::none:
            break;
    }
    return set1(1.0f);
}

/// 8 - zero point.
SHEAF_SIMD f32x16 load_zero_shift(const PackedMatrix& w, const uint8_t* tile, int64_t group) {
    return to_float(sub(set1(8), load_u8(tile + w.zero_offset + group * lanes)));
}

}  // namespace sheaf::cpu::SHEAF_ISA
