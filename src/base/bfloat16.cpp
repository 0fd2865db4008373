#include "base/bfloat16.h"

#include <cmath>
#include <limits>

namespace sheaf {

float16::float16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint16_t sign = static_cast<uint16_t>((u >> 16) & 0x8000u);
    const uint32_t magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        bits = sign | 0x7e00u;
    } else if (magnitude >= 0x477ff000u) {  // rounds to infinity
        bits = sign | 0x7c00u;
    } else if (magnitude < 0x38800000u) {  // subnormal half: let the float adder round at 2^-24
        const float scaled = std::bit_cast<float>(magnitude) + std::bit_cast<float>(0x3f000000u);
        bits = sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(scaled) - 0x3f000000u);
    } else {
        const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
        bits = sign | static_cast<uint16_t>((rounded - 0x38000000u) >> 13);
    }
}

float16::operator float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t exponent = (bits >> 10) & 0x1fu;
    const uint32_t mantissa = bits & 0x3ffu;
    if (exponent == 0) {
        const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
        return sign ? -magnitude : magnitude;
    }
    if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

float float8_e4m3_to_float(uint8_t bits) {
    const int exponent = (bits >> 3) & 0xf;
    const int mantissa = bits & 0x7;
    if (exponent == 15 && mantissa == 7) return std::numeric_limits<float>::quiet_NaN();
    const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                          : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
    return (bits & 0x80) ? -magnitude : magnitude;
}

}  // namespace sheaf
