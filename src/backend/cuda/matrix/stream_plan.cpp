#include "backend/cuda/matrix/stream_plan.h"

#include <algorithm>

#include "backend/cuda/matrix/launch.h"
#include "backend/cuda/matrix/stream.h"

namespace sheaf::cuda {
namespace {

int units_of(const DeviceMatrix& m) {
    if (m.store == Store::int4) return m.units;
    return static_cast<int>((m.row_stride + bf16_unit_inputs - 1) / bf16_unit_inputs);
}

uint32_t unit_bytes_of(const DeviceMatrix& m) {
    return m.store == Store::int4 ? static_cast<uint32_t>(m.unit_bytes) : bf16_unit_bytes;
}

/// What a warp has in flight: `slots` slots of `units` units.
struct RingShape {
    int slots, units;
};

// Measured on one H200, us. (12288, 4096) int4, 1 row: two slots of two units 9.3, three 10.3, eight of one
// 12.5, two of four 10.3: what remains of shared memory lets the next kernel's block fill its ring while this
// one ends. The bf16 head: six of one 460, three of two 479. Experts by tokens, 4 tokens: two of two 82.9,
// three 83.5, four 83.9; by rows, 32 tokens: two of two 435, three 438, four 447, two of four 418.
constexpr RingShape linear_ring{2, 2}, bf16_ring{6, 1}, tokens_ring{2, 2}, rows_ring{2, 4};

RingShape ring_for(const DeviceMatrix& m, RingShape int4) {
    return m.store == Store::int4 ? int4 : bf16_ring;
}

/// The shape as far as it fits beside `others` bytes: slots as long as a run at most; smaller ones where
/// there is no room for two.
RingPlan plan_ring(uint32_t unit_bytes, int run_units, RingShape shape, uint32_t others) {
    const uint32_t all = device_limits().block_memory;
    RingPlan plan;
    plan.unit_bytes = unit_bytes;
    if (others + ring_barrier_bytes >= all) return plan;
    for (plan.slot_units = std::min(run_units, shape.units);; plan.slot_units = (plan.slot_units + 1) / 2) {
        const uint32_t slot = stream_warps * static_cast<uint32_t>(plan.slot_units) * unit_bytes;
        plan.slots = std::min({shape.slots * shape.units / plan.slot_units, max_ring_slots,
                               static_cast<int>((all - others - ring_barrier_bytes) / slot)});
        plan.bytes = ring_barrier_bytes + static_cast<uint32_t>(plan.slots) * slot;
        if (plan.slots >= 2 || plan.slot_units == 1) return plan;
    }
}

}  // namespace

StreamLinearPlan plan_stream_linear(const DeviceMatrix& weight, int64_t tokens) {
    StreamLinearPlan plan;
    const int units = units_of(weight);
    plan.blocks = std::min(weight.blocks, device_limits().multiprocessors);
    const int items = (weight.blocks + plan.blocks - 1) / plan.blocks;
    plan.slices = best_slices(units, items);
    const int all_turns = plan.slices == 1 ? 0 : (items * plan.slices + stream_warps - 1) / stream_warps;
    for (plan.columns = static_cast<int>(std::min<int64_t>(tokens, stream_columns)); plan.columns > 0;
         plan.columns = (plan.columns + 1) / 2) {
        plan.staged_bytes = staged_bytes(plan.columns, weight.in);
        for (plan.turns = std::min(all_turns, 8);; --plan.turns) {
            const uint32_t others =
                plan.staged_bytes + static_cast<uint32_t>(plan.turns) * turn_bytes(plan.columns);
            plan.ring = plan_ring(unit_bytes_of(weight), (units + plan.slices - 1) / plan.slices,
                                  ring_for(weight, linear_ring), others);
            plan.shared_bytes = others + plan.ring.bytes;
            if (plan.ring.slots >= 2 || plan.turns <= 1) break;
        }
        if (plan.ring.slots > 0 || plan.columns == 1) break;
    }
    return plan;
}

StreamMoePlan plan_stream_moe(const DeviceExperts& experts, int64_t tokens, int64_t top_k) {
    StreamMoePlan plan;
    plan.staged_bytes = staged_bytes(tokens, experts.hidden);
    if (tokens == 1)
        plan.staged_bytes =
            std::max(plan.staged_bytes, static_cast<uint32_t>(top_k) * staged_bytes(1, experts.intermediate));
    plan.table_bytes = expert_table_bytes;
    plan.turns = static_cast<int>((tokens == 1 ? 10 : 32) * 1024 / turn_bytes(tokens));
    const uint32_t others =
        plan.staged_bytes + plan.table_bytes + static_cast<uint32_t>(plan.turns) * turn_bytes(tokens);
    plan.ring = plan_ring(std::max(unit_bytes_of(experts.gate_up), unit_bytes_of(experts.down)), 2,
                          ring_for(experts.gate_up, tokens_ring), others);
    plan.shared_bytes = others + plan.ring.bytes;
    return plan;
}

StreamMoePlan plan_stream_moe_tiles(const DeviceExperts& experts) {
    StreamMoePlan plan;
    plan.ring = plan_ring(std::max(unit_bytes_of(experts.gate_up), unit_bytes_of(experts.down)), 4,
                          ring_for(experts.gate_up, rows_ring), 0);
    plan.shared_bytes = plan.ring.bytes;
    return plan;
}

}  // namespace sheaf::cuda
