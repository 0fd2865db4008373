// GPUs that `sheaf plan --gpu` knows by name: what one of them holds and moves at most. The H200's figures
// are measured (docs/performance.md), the others' come from their makers' data sheets. Used by plan. Must not
// know the models that run on them.
#pragma once

#include <cstdint>
#include <string_view>

namespace sheaf {

struct GpuModel {
    std::string_view name;
    double memory_gib;        // that programs may use
    double gigabytes_second;  // of its memory
    double tera_flops;        // bf16 products with fp32 sums, dense
};

/// Throws UsageError, with the known names, for another one.
const GpuModel& gpu_model(std::string_view name);

}  // namespace sheaf
