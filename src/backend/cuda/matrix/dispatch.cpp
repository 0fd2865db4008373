#include "backend/cuda/matrix/dispatch.h"

#include "backend/cuda/matrix/launch.h"
#include "backend/cuda/matrix/library.h"
#include "backend/cuda/matrix/stream.h"
#include "backend/cuda/matrix/stream_plan.h"
#include "backend/cuda/matrix/tiles.h"

namespace sheaf::cuda {
namespace {

ForcedPaths forced;

bool streamable(const DeviceMatrix& m) {
    return (m.store == Store::int4 || m.store == Store::bf16) && m.in % 8 == 0 && m.in <= max_stream_inputs;
}

bool can_run(LinearPath path, const LinearShape& shape) {
    switch (path) {
        case LinearPath::plain:
            return true;
        case LinearPath::stream:
            return shape.vectors && streamable(shape.weight);
        case LinearPath::tiles:
            return shape.vectors && shape.weight.store == Store::int4 && shape.weight.in % 8 == 0;
        case LinearPath::library:
            return shape.vectors && shape.weight.store == Store::bf16 && !shape.weight.bias && has_library();
    }
    return false;
}

bool can_run(MoePath path, const MoeShape& shape) {
    const DeviceExperts& experts = shape.experts;
    const bool packed = experts.gate_up.store == Store::int4 && experts.down.store == Store::int4;
    const bool streams = shape.vectors && streamable(experts.gate_up) && streamable(experts.down) &&
                         experts.gate_up.store == experts.down.store &&
                         experts.intermediate <= max_stream_inner;
    switch (path) {
        case MoePath::plain:
            return true;
        case MoePath::by_tokens:
            return streams && shape.tokens <= max_stream_tokens &&
                   shape.tokens * shape.top_k <= max_stream_pairs &&
                   plan_stream_moe(experts, shape.tokens, shape.top_k).ring.slots > 0;
        case MoePath::by_rows:
            return streams;
        case MoePath::tiles:
            return shape.vectors && packed && experts.hidden % 8 == 0 && experts.intermediate % 128 == 0;
    }
    return false;
}

// Measured on one H200, 2026-11-23; all rows in docs/performance.md.
// Linear, us: (12288, 4096) int4 at 8 rows: streamed 10.4, so 16 in two passes: 20.7, tiles 23.7; (4096,
// 8192): 8.5, 17.0, tiles 21.1; (8192, 2048): 4.3, 8.6, tiles 13.4. Tiles at 32: 25.1. bf16, the head at 1
// and 8 rows: streamed 460 and 471, the library 473 and 482, and 493 at 32.
constexpr int64_t most_streamed_tokens = 16, most_streamed_floats = 8;
// Experts (333 of 4096 x 1024, top 10), us: 4 tokens: by tokens 83, by rows 102; 8: 150, 165; 128 tokens (3.9
// rows an expert): by rows 698, tiles 945; 256 (7.7): 995, 988; 1,024 (31): tiles 1140.
constexpr int64_t most_rows_per_expert = 8;

}  // namespace

LinearPath linear_path(const LinearShape& shape) {
    if (forced.linear && can_run(*forced.linear, shape)) return *forced.linear;
    const bool few =
        shape.tokens <= (shape.weight.store == Store::int4 ? most_streamed_tokens : most_streamed_floats);
    if (few && can_run(LinearPath::stream, shape)) return LinearPath::stream;
    for (const LinearPath path : {LinearPath::tiles, LinearPath::library, LinearPath::stream})
        if (can_run(path, shape)) return path;
    return LinearPath::plain;
}

MoePath moe_path(const MoeShape& shape) {
    if (forced.moe && can_run(*forced.moe, shape)) return *forced.moe;
    const bool few = shape.tokens * shape.top_k <= most_rows_per_expert * shape.experts.count;
    if (can_run(MoePath::by_tokens, shape)) return MoePath::by_tokens;
    for (const MoePath path : {few ? MoePath::by_rows : MoePath::tiles, MoePath::by_rows})
        if (can_run(path, shape)) return path;
    return MoePath::plain;
}

int64_t expert_tile_rows(int64_t pairs, int64_t experts) {
    return pairs <= 40 * experts ? 64 : most_tile_rows();
}

Fill stream_fill() {
    // (12288, 4096) int4 at 1 row, us: bulk 9.5, lanes 9.2; 131072 rows of it: 74.8, 81.0; experts at 8
    // tokens: 199, 218. bf16 is always filled by lanes: its pieces are short.
    const bool has_bulk = device_limits().architecture >= 90;
    return forced.fill ? *forced.fill : has_bulk ? Fill::bulk : Fill::lanes;
}

TileEngine tile_engine() {
    return forced.engine ? *forced.engine : has_wgmma_tiles() ? TileEngine::wgmma : TileEngine::mma;
}

void force_paths(const ForcedPaths& paths) {
    forced = paths;
}

}  // namespace sheaf::cuda
