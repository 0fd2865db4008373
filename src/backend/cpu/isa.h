// Instruction sets: which ones the CPU back end is compiled for, and which the processor at hand can run.
// Used by the machine that picks kernels, by `sheaf version` and by tests that force one. Must not know
// kernels.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sheaf::cpu {

/// In rising order. `baseline` runs anywhere; avx2 needs AVX2, FMA and F16C; avx512 needs F, BW, VL and DQ;
/// amx needs tiles of bf16 besides, and an operating system that hands them out. amx_emulated runs where
/// avx512 does and gives amx's results slowly: for tests, never chosen.
enum class Isa { baseline, avx2, avx512, amx, amx_emulated };

std::string_view isa_name(Isa isa);

/// The sets that this processor and operating system can run, in rising order; never empty.
const std::vector<Isa>& available_isas();
inline Isa best_isa() {
    return available_isas().back();
}

/// "AMD EPYC 9B45, 2 threads, avx512": for `sheaf version`.
std::string cpu_description();

}  // namespace sheaf::cpu
