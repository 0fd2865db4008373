// How the streaming kernels cut their work and fill a block's shared memory, from shapes alone: what
// stream_linear.cu and stream_moe.cu launch with, and what dispatch.cpp asks before it chooses them. Must not
// launch anything.
#pragma once

#include "backend/cuda/matrix/device_matrix.h"

namespace sheaf::cuda {

constexpr int stream_warps = 16, stream_threads = 32 * stream_warps, stream_columns = 8;
constexpr int max_ring_slots = 8;
constexpr uint32_t ring_barrier_bytes = stream_warps * max_ring_slots * 8;
constexpr int bf16_unit_inputs = 64, bf16_unit_bytes = 2048;

/// A warp's ring: slots of a few units each.
struct RingPlan {
    int slots = 0, slot_units = 0;  // no slots: it does not fit
    uint32_t unit_bytes = 0, bytes = 0;
};

/// Columns of activations in shared memory, and their terms (HalfColumns).
constexpr uint32_t staged_bytes(int64_t columns, int64_t inputs) {
    return static_cast<uint32_t>((inputs + 127) / 128 * (256 * columns + 16 * ((columns + 1) / 2)));
}

/// The sums of all warps once.
constexpr uint32_t turn_bytes(int64_t columns) {
    return static_cast<uint32_t>(stream_warps * 128 * ((columns + 1) / 2));
}

/// How many warps share an item of `units` where a block of threads has `items`: the least work for the
/// busiest warp, then the fewest.
constexpr int best_slices(int units, int items) {
    int best = 1, least = 1 << 30;
    for (int slices = 1; slices <= stream_warps && slices <= units; slices *= 2) {
        const int cost = (items * slices + stream_warps - 1) / stream_warps * ((units + slices - 1) / slices);
        if (cost >= least) continue;
        least = cost;
        best = slices;
    }
    return best;
}

struct StreamLinearPlan {
    int columns = 0;  // at most so many rows a launch
    int blocks = 0, slices = 0, turns = 0;
    uint32_t staged_bytes = 0, shared_bytes = 0;
    RingPlan ring;
};

/// For `tokens` rows (at most 8) or as many as fit; which warps share a sum depends on the weight alone.
StreamLinearPlan plan_stream_linear(const DeviceMatrix& weight, int64_t tokens);

struct StreamMoePlan {
    int turns = 0;
    uint32_t staged_bytes = 0, table_bytes = 0, shared_bytes = 0;
    RingPlan ring;
};

/// Columns are tokens (at most 8). No slots where shared memory does not suffice.
StreamMoePlan plan_stream_moe(const DeviceExperts& experts, int64_t tokens, int64_t top_k);
/// Columns are an expert's rows.
StreamMoePlan plan_stream_moe_tiles(const DeviceExperts& experts);

}  // namespace sheaf::cuda
