#include "backend/cuda/matrix/dispatch.h"

#include "backend/cuda/matrix/library.h"
#include "backend/cuda/matrix/stream.h"
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
            return shape.vectors && shape.weight.store == Store::int4 && shape.weight.in % 8 == 0 &&
                   has_tile_products();
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
                   shape.tokens * shape.top_k <= max_stream_pairs;
        case MoePath::by_rows:
            return streams;
        case MoePath::tiles:
            return shape.vectors && packed && experts.hidden % 8 == 0 && experts.intermediate % 128 == 0 &&
                   has_tile_products();
    }
    return false;
}

constexpr int64_t most_streamed_tokens = 8;
constexpr int64_t most_rows_per_expert = 8;  // on average, until tiles are faster

}  // namespace

LinearPath linear_path(const LinearShape& shape) {
    if (forced.linear && can_run(*forced.linear, shape)) return *forced.linear;
    const bool few = shape.tokens <= most_streamed_tokens;
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

bool stream_in_integers() {
    return forced.integers.value_or(false);
}

Fill stream_fill() {
    return forced.fill ? *forced.fill : Fill::bulk;
}

Fill tile_fill() {
    return forced.fill ? *forced.fill : Fill::bulk;
}

void force_paths(const ForcedPaths& paths) {
    forced = paths;
}

}  // namespace sheaf::cuda
