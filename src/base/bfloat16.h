// 16-bit floats as stored in checkpoints: bfloat16 (the model's own) and IEEE half (quantization scales).
// Conversions to float are exact; to 16 bits they round to nearest even. Must not know tensors.
#pragma once

#include <bit>
#include <cstdint>

namespace sheaf {

struct bfloat16 {
    uint16_t bits = 0;

    bfloat16() = default;
    explicit bfloat16(float value) {
        const uint32_t u = std::bit_cast<uint32_t>(value);
        if ((u & 0x7fffffffu) > 0x7f800000u) {
            bits = static_cast<uint16_t>((u >> 16) | 0x40u);  // keep NaN a NaN
        } else {
            bits = static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
        }
    }
    explicit operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

struct float16 {
    uint16_t bits = 0;

    float16() = default;
    explicit float16(float value);
    explicit operator float() const;
};

/// FP8 E4M3 (finite, no infinity; 0x7f and 0xff are NaN) to float.
float float8_e4m3_to_float(uint8_t bits);

}  // namespace sheaf
