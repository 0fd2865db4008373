// Exponential and its relatives on sixteen floats, to 1-2 units in the last place, with the same operations
// in the same order on every instruction set; bf16 rounding. Used by the kernels of this folder only.
#pragma once

#include "backend/cpu/isa/simd.h"

namespace sheaf::cpu::SHEAF_ISA {

/// e^x: x = n ln 2 + r with |r| <= ln 2 / 2, Taylor polynomial of degree 7 (its next term is 0.09 ulp), times
/// 2^n in two steps, so that overflow and underflow come out by themselves. exp(0) = 1, exp(-inf) = 0,
/// exactly.
SHEAF_SIMD f32x16 exp(f32x16 x) {
    x = min(set1(89.0f), max(set1(-104.0f), x));  // NaN passes
    const i32x16 n = to_int(mul(x, set1(1.44269504f)));
    const f32x16 whole = to_float(n);
    f32x16 r = fma(whole, set1(-0x1.62e4p-1f), x);  // ln 2 in two parts, the first of few bits
    r = fma(whole, set1(-1.42860677e-06f), r);
    f32x16 p = set1(1.0f / 5040);
    p = fma(p, r, set1(1.0f / 720));
    p = fma(p, r, set1(1.0f / 120));
    p = fma(p, r, set1(1.0f / 24));
    p = fma(p, r, set1(1.0f / 6));
    p = fma(p, r, set1(0.5f));
    p = fma(p, r, set1(1.0f));
    p = fma(p, r, set1(1.0f));
    const i32x16 first = shift_right_signed<1>(n), bias = set1(127);
    const i32x16 second = sub(n, first);
    p = mul(p, as_float(shift_left<23>(add(first, bias))));
    return mul(p, as_float(shift_left<23>(add(second, bias))));
}

SHEAF_SIMD f32x16 sigmoid(f32x16 x) {
    return div(set1(1.0f), add(set1(1.0f), exp(sub(zero(), x))));
}

SHEAF_SIMD f32x16 silu(f32x16 x) {
    return div(x, add(set1(1.0f), exp(sub(zero(), x))));
}

/// As bf16 in the low half of every lane: to nearest even; a NaN stays one.
SHEAF_SIMD i32x16 round_bf16(f32x16 x) {
    const i32x16 u = as_int(x);
    const i32x16 odd = bit_and(shift_right<16>(u), set1(1));
    const i32x16 rounded = add(add(u, set1(0x7fff)), odd);
    const f32x16 quiet = as_float(set1(0x7fc00000));
    return shift_right<16>(as_int(select(is_nan(x), quiet, as_float(rounded))));
}

SHEAF_SIMD void store_bf16(uint16_t* p, f32x16 x) {
    store_low_u16(p, round_bf16(x));
}

}  // namespace sheaf::cpu::SHEAF_ISA
