#include "backend/cuda/matrix/dispatch.h"

#include <atomic>

#include "backend/cuda/matrix/stream.h"

namespace sheaf::cuda {
namespace {

std::atomic<bool> batch_invariant{false};

bool streamable(const DeviceMatrix& m) {
    return (m.store == Store::int4 || m.store == Store::bf16) && m.in % 8 == 0 && m.in <= max_stream_inputs;
}

constexpr int64_t most_streamed_tokens = 64;

}  // namespace

LinearPath linear_path(const LinearShape& shape) {
    if (!shape.vectors || !streamable(shape.weight) || shape.tokens > most_streamed_tokens)
        return LinearPath::plain;
    return LinearPath::stream;
}

MoePath moe_path(const MoeShape& shape) {
    const DeviceExperts& experts = shape.experts;
    if (!shape.vectors || !streamable(experts.gate_up) || !streamable(experts.down) ||
        experts.gate_up.store != experts.down.store || experts.intermediate > max_stream_inner)
        return MoePath::plain;
    if (!batch_invariant && shape.tokens <= max_stream_tokens &&
        shape.tokens * shape.top_k <= max_stream_pairs)
        return MoePath::by_tokens;
    return MoePath::by_tiles;
}

void set_batch_invariant(bool on) {
    batch_invariant = on;
}

}  // namespace sheaf::cuda
