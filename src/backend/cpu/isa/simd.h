// Sixteen floats at a time, in whatever registers the instruction set has, so that every kernel is written
// once. Included only by the units of this folder, which are compiled once per instruction set into a
// namespace of their own (SHEAF_ISA: baseline, avx2 or avx512). Every function is one IEEE operation per
// lane, or a fixed sequence of them, and fma is one rounding on avx2 and avx512: these two give equal bits;
// baseline rounds a * b + c twice. min and max return the second operand when one is NaN. Must not call
// inline functions of other headers: the linker could keep the copy compiled for another instruction set.
#pragma once

#include <cstdint>

#define SHEAF_SIMD __attribute__((always_inline)) inline

#if defined(__AVX512F__)
#include "backend/cpu/isa/simd_avx512.h"
#elif defined(__AVX2__)
#include "backend/cpu/isa/simd_avx2.h"
#else
#include "backend/cpu/isa/simd_baseline.h"
#endif

namespace sheaf::cpu::SHEAF_ISA {

constexpr int lanes = 16;

SHEAF_SIMD f32x16 zero() {
    return set1(0.0f);
}

/// Prefetch into the first-level cache.
SHEAF_SIMD void prefetch(const void* address) {
    __builtin_prefetch(address, 0, 3);
}

}  // namespace sheaf::cpu::SHEAF_ISA
