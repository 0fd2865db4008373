// What fits where: a model's footprint against the memory of some devices and a host. Pure arithmetic behind
// `sheaf plan`. Must not know real machines.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "model/footprint.h"

namespace sheaf {

struct PlanRequest {
    int64_t devices = 0;  // 0: the host alone runs the model
    uint64_t device_memory = 0, host_memory = 0;
    double bandwidth = 0,
           flops = 0;         // bytes and operations per second of one device or the host; 0: not known
    double efficiency = 0.6;  // share of the ceiling to predict
    int64_t context = 2048;
    std::vector<int64_t> streams{};
    CacheTypes types{};
};

enum class Placement { device, experts_on_host, host, does_not_fit };
std::string_view placement_name(Placement placement);

struct StreamPlan {
    int64_t streams = 0;
    bool fits = false;
    uint64_t cache_bytes = 0;
    double touched_experts = 0;  // per layer, under uniform routing
    StepCost step;
    double ceiling = 0, predicted = 0;  // tokens per second of all streams; 0: bandwidth not known
};

struct MemoryPlan {
    Placement placement = Placement::does_not_fit;
    uint64_t memory = 0;            // of all devices, or of the host
    uint64_t weights = 0;           // of the text model
    uint64_t dense_weights = 0;     // without routed experts
    uint64_t working = 0;           // activations and buffers
    uint64_t cache = 0;             // what is left for pages and states
    uint64_t missing = 0;           // to fit at least one sequence
    int64_t experts_on_device = 0;  // per layer, when the others stay on the host
    uint64_t kv_per_token = 0, state_per_sequence = 0;
    int64_t sequences = 0, tokens = 0;  // that fit at the wanted context
    double prefill_ceiling = 0;         // tokens per second
    std::vector<StreamPlan> streams;
};

MemoryPlan make_memory_plan(const ModelConfig& config, const Footprint& footprint,
                            const PlanRequest& request);

}  // namespace sheaf
