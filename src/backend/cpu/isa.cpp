#include "backend/cpu/isa.h"

#include <fmt/format.h>

#include <fstream>
#include <thread>

namespace sheaf::cpu {
namespace {

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
