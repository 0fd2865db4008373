#include "backend/cpu/isa.h"

#include <fmt/format.h>

#include <fstream>
#include <thread>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace sheaf::cpu {
namespace {

#if defined(__x86_64__)
/// Whether the processor multiplies tiles of bf16 and this process may use them. Linux saves the tiles of
/// those processes only that asked.
bool tiles_granted() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned amx_bf16 = 1u << 22, amx_tile = 1u << 24;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & amx_bf16) == 0 || (d & amx_tile) == 0)
        return false;
    unsigned low = 0, high = 0;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    constexpr unsigned tile_state = 3u << 17;  // configuration and data
    if ((low & tile_state) != tile_state) return false;
    constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}
#endif

std::vector<Isa> detect() {
    std::vector<Isa> found{Isa::baseline};
#if defined(__x86_64__)
    __builtin_cpu_init();  // looks at CPUID and at what the operating system saves
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
        found.push_back(Isa::avx2);
    if (found.back() == Isa::avx2 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        found.push_back(Isa::avx512);
    if (found.back() == Isa::avx512 && tiles_granted()) found.push_back(Isa::amx);
#endif
    return found;
}

std::string model_name() {
    std::ifstream info("/proc/cpuinfo");
    for (std::string line; std::getline(info, line);) {
        if (!line.starts_with("model name")) continue;
        const size_t colon = line.find(": ");
        if (colon != std::string::npos) return line.substr(colon + 2);
    }
    return "unknown processor";
}

}  // namespace

std::string_view isa_name(Isa isa) {
    switch (isa) {
        case Isa::baseline:
            return "baseline";
        case Isa::avx2:
            return "avx2";
        case Isa::avx512:
            return "avx512";
        case Isa::amx:
            return "amx";
        case Isa::amx_emulated:
            return "amx_emulated";
    }
    return "unknown";
}

const std::vector<Isa>& available_isas() {
    static const std::vector<Isa> isas = detect();
    return isas;
}

std::string cpu_description() {
    return fmt::format("{}, {} threads, {}", model_name(), std::thread::hardware_concurrency(),
                       isa_name(best_isa()));
}

}  // namespace sheaf::cpu
