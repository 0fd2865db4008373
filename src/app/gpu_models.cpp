#include "app/gpu_models.h"

#include <fmt/format.h>

#include "app/options.h"

namespace sheaf {
namespace {

constexpr GpuModel models[] = {
    {"h200", 139.8, 4180, 790},     {"h100", 79.1, 3350, 989},     {"b200", 178, 8000, 2250},
    {"a100-80gb", 79.1, 2039, 312}, {"l40s", 44.5, 864, 362},      {"rtx-pro-6000", 95, 1792, 504},
    {"rtx-5090", 31.3, 1792, 209},  {"rtx-4090", 23.5, 1008, 165}, {"rtx-3090", 23.5, 936, 71},
};

}  // namespace

const GpuModel& gpu_model(std::string_view name) {
    std::string known;
    for (const GpuModel& model : models) {
        if (model.name == name) return model;
        known += fmt::format("{}{}", known.empty() ? "" : ", ", model.name);
    }
    throw UsageError(
        fmt::format("--gpu {}: known are {}; for others --gpu-memory, --bandwidth and --flops", name, known));
}

}  // namespace sheaf
