#include "model/memory_plan.h"

#include <algorithm>

namespace sheaf {
namespace {

// Tokens of the largest step that working memory is counted for, and how many vectors of the residual's width
// live at once in a layer (projections, both halves of the experts, attention) - generous, measured by none.
constexpr uint64_t step_tokens = 2048, live_vectors = 24;
constexpr uint64_t reserve_per_device = 512u << 20;  // driver, kernels, fragments

uint64_t working_bytes(const TextConfig& text, int64_t devices) {
    const auto hidden = static_cast<uint64_t>(text.hidden_size),
               vocabulary = static_cast<uint64_t>(text.vocab_size);
    const uint64_t activations = step_tokens * hidden * live_vectors * 2, logits = 128 * vocabulary * 4;
    return activations + logits + reserve_per_device * static_cast<uint64_t>(std::max<int64_t>(devices, 1));
}

uint64_t sequence_bytes(const MemoryPlan& plan, int64_t context) {
    return plan.state_per_sequence + plan.kv_per_token * static_cast<uint64_t>(context);
}

/// Experts of one layer, the same for every layer.
uint64_t one_expert_of_all_layers(const MemoryPlan& plan, const TextConfig& text) {
    return text.num_experts == 0
               ? 0
               : (plan.weights - plan.dense_weights) / static_cast<uint64_t>(text.num_experts);
}

void place(MemoryPlan& plan, const TextConfig& text, const PlanRequest& request) {
    const uint64_t one_sequence = sequence_bytes(plan, request.context);
    const uint64_t needed = plan.weights + plan.working + one_sequence;
    if (needed <= plan.memory) {
        plan.placement = request.devices > 0 ? Placement::device : Placement::host;
        plan.cache = plan.memory - plan.weights - plan.working;
        return;
    }
    plan.missing = needed - plan.memory;
    if (request.devices == 0 || text.num_experts == 0) return;
    // The dense part and one sequence on the devices, as many experts as still fit there, all others on the
    // host.
    const uint64_t dense = plan.dense_weights + plan.working + one_sequence;
    const uint64_t expert = one_expert_of_all_layers(plan, text);
    if (dense > plan.memory || plan.missing > request.host_memory) return;
    plan.experts_on_device =
        std::min<int64_t>(text.num_experts, static_cast<int64_t>((plan.memory - dense) / expert));
    const uint64_t on_device = expert * static_cast<uint64_t>(plan.experts_on_device);
    if (plan.weights - plan.dense_weights - on_device > request.host_memory) return;
    plan.placement = Placement::experts_on_host;
    plan.missing = 0;
    plan.cache = plan.memory - plan.dense_weights - plan.working - on_device;
}

}  // namespace

std::string_view placement_name(Placement placement) {
    switch (placement) {
        case Placement::device:
            return "device";
        case Placement::experts_on_host:
            return "device, with experts on the host";
        case Placement::host:
            return "host";
        case Placement::does_not_fit:
            break;
    }
    return "does not fit";
}

MemoryPlan make_memory_plan(const ModelConfig& config, const Footprint& footprint,
                            const PlanRequest& request) {
    MemoryPlan plan;
    const double units = static_cast<double>(std::max<int64_t>(request.devices, 1));
    plan.memory = request.devices > 0 ? request.device_memory * static_cast<uint64_t>(request.devices)
                                      : request.host_memory;
    plan.weights = footprint.text_bytes();
    plan.dense_weights = plan.weights - footprint[WeightFamily::routed_experts].resident_bytes;
    plan.working = working_bytes(config.text, request.devices);
    plan.kv_per_token = kv_bytes_per_token(config.text, request.types);
    plan.state_per_sequence = state_bytes_per_sequence(config.text, request.types);
    place(plan, config.text, request);
    plan.sequences = static_cast<int64_t>(plan.cache / sequence_bytes(plan, request.context));
    plan.tokens = plan.sequences * request.context;
    if (request.flops > 0)
        plan.prefill_ceiling =
            units * request.flops / prefill_flops_per_token(config, footprint, request.context / 2);
    // With experts on the host the link between them decides, and that is not known here.
    const bool resident = plan.placement == Placement::device || plan.placement == Placement::host;
    for (const int64_t count : request.streams) {
        StreamPlan row;
        row.streams = count;
        row.fits = count <= plan.sequences;
        row.cache_bytes = sequence_bytes(plan, request.context) * static_cast<uint64_t>(count);
        row.touched_experts = touched_experts(config.text, static_cast<double>(count));
        row.step = decode_step(config, footprint, request.types, count, request.context);
        if (request.bandwidth > 0 && resident) {
            const double memory_seconds = row.step.bytes() / (units * request.bandwidth);
            const double compute_seconds = request.flops > 0 ? row.step.flops / (units * request.flops) : 0;
            row.ceiling = static_cast<double>(count) / std::max(memory_seconds, compute_seconds);
            row.predicted = row.ceiling * request.efficiency;
        }
        plan.streams.push_back(row);
    }
    return plan;
}

}  // namespace sheaf
