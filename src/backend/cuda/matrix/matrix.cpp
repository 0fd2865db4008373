#include "backend/cuda/matrix/matrix.h"

#include <algorithm>
#include <limits>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/arrange.h"
#include "backend/cuda/matrix/dispatch.h"
#include "backend/cuda/matrix/group.h"
#include "backend/cuda/matrix/library.h"
#include "backend/cuda/matrix/plain.h"
#include "backend/cuda/matrix/router.h"
#include "backend/cuda/matrix/stream.h"
#include "backend/cuda/matrix/tiles.h"

namespace sheaf::cuda {
namespace {

bool is_activation(const Tensor& x) {
    return x.rank() == 2 && (x.dtype() == DType::bf16 || x.dtype() == DType::f32);
}

/// Rows that kernels read 16 bytes at a time.
bool in_vectors(const Tensor& x) {
    return x.dtype() == DType::bf16 && reinterpret_cast<uintptr_t>(x.raw()) % 16 == 0 &&
           x.row_stride() % 8 == 0 && x.size(1) % 8 == 0;
}

/// Cuts a scratch tensor into aligned parts.
class Cutter {
  public:
    /// Only counts.
    Cutter() = default;
    explicit Cutter(const Tensor& scratch) : memory_(static_cast<uint8_t*>(scratch.raw())) {
        size_ = scratch.defined() ? scratch.bytes() : 0;
    }
    template <class T>
    T* take(int64_t count) {
        const size_t begin = taken_;
        taken_ += padded(static_cast<size_t>(count) * sizeof(T));
        SHEAF_CHECK(taken_ <= size_, "{} bytes of scratch, more than {} wanted", size_, taken_);
        return memory_ ? reinterpret_cast<T*>(memory_ + begin) : nullptr;
    }
    size_t taken() const { return taken_; }
    static size_t padded(size_t bytes) { return (bytes + 255) / 256 * 256; }

  private:
    uint8_t* memory_ = nullptr;
    size_t taken_ = 0, size_ = std::numeric_limits<size_t>::max();
};

/// The scratch of the fast mixtures of experts.
struct MoeScratch {
    uint8_t* rows = nullptr;  // tiles: activations in the tiles' order, then the weighted results
    uint16_t* act = nullptr;
    float* partial = nullptr;
    int64_t places = 0;
    Grouping grouping{};

    void cut(Cutter& parts, const CudaExperts& experts, int64_t pairs, MoePath path) {
        const bool tiles = path == MoePath::tiles;
        const Places how = tiles ? Places::even : Places::close;
        places = group_places(pairs, experts.count, how);
        act =
            parts.take<uint16_t>(path == MoePath::by_tokens ? pairs * max_stream_tokens * experts.intermediate
                                                            : places * experts.intermediate);
        if (path == MoePath::by_tokens) return;
        if (tiles)
            rows = parts.take<uint8_t>(static_cast<int64_t>(arranged_bytes(places, experts.hidden)));
        else
            partial = parts.take<float>(pairs * experts.hidden);
        grouping.pair_of_place = parts.take<int32_t>(places);
        grouping.place_of_pair = parts.take<int32_t>(pairs);
        grouping.tiles = parts.take<ExpertTile>(group_tiles(
            pairs, experts.count, tiles ? expert_tile_rows(pairs, experts.count) : max_stream_tokens));
        grouping.tile_count = parts.take<int32_t>(2);
    }
    static size_t size(const CudaExperts& experts, int64_t pairs, MoePath path) {
        if (path == MoePath::plain)
            return Cutter::padded(static_cast<size_t>(pairs * experts.intermediate) * sizeof(float));
        Cutter counter;
        MoeScratch().cut(counter, experts, pairs, path);
        return counter.taken();
    }
};

void moe_on_tiles(const Tensor& x, const Routing& routing, const CudaExperts& experts, const Tensor& y,
                  const MoeScratch& scratch, cudaStream_t stream) {
    const int64_t tokens = x.size(0), top_k = routing.ids.size(1), pairs = tokens * top_k;
    const Grouping& grouping = scratch.grouping;
    const int64_t tile_rows = expert_tile_rows(pairs, experts.count);
    launch_group(routing.ids.data<int32_t>(), pairs, experts.count, tile_rows, Places::even, grouping,
                 stream);
    launch_arrange(x, grouping.pair_of_place, top_k, grouping.tile_count + 1, scratch.rows, scratch.places,
                   nullptr, 0, stream);
    const TileMoeCall call{experts.device(),
                           scratch.rows,
                           scratch.act,
                           scratch.rows,
                           scratch.places,
                           top_k,
                           routing.weights.data<float>(),
                           grouping.tiles,
                           tile_rows,
                           grouping.tile_count,
                           grouping.pair_of_place};
    launch_tile_gate_up(call, stream);
    launch_tile_down(call, stream);
    launch_add_choices(scratch.rows, false, grouping.place_of_pair, tokens, top_k, experts.hidden, y.raw(),
                       stream);
}

/// A router with the rows of zeros that fill its last block as experts, so that rows of logits are aligned.
DeviceMatrix filled_up(DeviceMatrix router) {
    if (router.store != Store::int4 && !router.bias) router.out = static_cast<int64_t>(router.blocks) * 16;
    return router;
}

size_t product_scratch_bytes(const DeviceMatrix& weight, int64_t tokens) {
    const LinearPath path = linear_path({weight, tokens, true});
    if (path == LinearPath::library) return library_workspace_bytes;
    if (path != LinearPath::tiles) return 0;
    return Cutter::padded(arranged_bytes(tokens, weight.in)) +
           Cutter::padded(tile_linear_part_bytes(tokens)) +
           Cutter::padded(most_tile_arrivals * sizeof(uint32_t));
}

void multiply(const Tensor& x, const DeviceMatrix& weight, const Tensor& y, Cutter parts,
              cudaStream_t stream) {
    switch (linear_path({weight, x.size(0), in_vectors(x)})) {
        case LinearPath::plain:
            return launch_plain_linear(x, weight, y, stream);
        case LinearPath::stream:
            for (int64_t begin = 0; begin < x.size(0); begin += max_stream_tokens) {
                const int64_t end = std::min(x.size(0), begin + max_stream_tokens);
                launch_stream_linear(x.rows(begin, end), weight, y.rows(begin, end), stream);
            }
            return;
        case LinearPath::tiles: {
            const int64_t rows = (x.size(0) + 7) / 8 * 8;
            auto* arranged = parts.take<uint8_t>(static_cast<int64_t>(arranged_bytes(rows, x.size(1))));
            const size_t bytes = tile_linear_part_bytes(x.size(0));
            auto* sums = parts.take<float>(static_cast<int64_t>(bytes / sizeof(float)));
            const int64_t zeros = tile_linear_arrivals(weight, x.size(0));
            auto* arrivals = parts.take<uint32_t>(zeros);
            launch_arrange(x, nullptr, 1, nullptr, arranged, rows, arrivals, zeros, stream);
            return launch_tile_linear(arranged, rows, weight, y, sums, arrivals, stream);
        }
        case LinearPath::library:
            return library_linear(x, weight, y,
                                  parts.take<uint8_t>(static_cast<int64_t>(library_workspace_bytes)), stream);
    }
}

}  // namespace

size_t linear_scratch_bytes(const CudaLinear& weight, int64_t tokens) {
    return product_scratch_bytes(weight.matrix(), tokens);
}

void linear(const Tensor& x, const CudaLinear& weight, const Tensor& y, const Tensor& scratch,
            cudaStream_t stream) {
    SHEAF_CHECK(is_activation(x) && is_activation(y) && x.size(1) == weight.in && y.size(1) == weight.out &&
                    x.size(0) == y.size(0),
                "{} by ({}, {}) to {}", x.shape().to_string(), weight.out, weight.in, y.shape().to_string());
    if (x.size(0) > 0) multiply(x, weight.matrix(), y, Cutter(scratch), stream);
}

size_t route_scratch_bytes(const CudaLinear& router, int64_t tokens) {
    const DeviceMatrix matrix = filled_up(router.matrix());
    return Cutter::padded(static_cast<size_t>(tokens * matrix.out) * sizeof(float)) +
           product_scratch_bytes(matrix, tokens);
}

int64_t router_columns(const CudaLinear& router) {
    return filled_up(router.matrix()).out;
}

void router_logits(const Tensor& x, const CudaLinear& router, const Tensor& logits, const Tensor& scratch,
                   cudaStream_t stream) {
    const DeviceMatrix matrix = filled_up(router.matrix());
    SHEAF_CHECK(
        is_activation(x) && x.size(1) == router.in && (logits.shape() == Shape{x.size(0), matrix.out}),
        "{} to logits {}", x.shape().to_string(), logits.shape().to_string());
    if (x.size(0) > 0) multiply(x, matrix, logits, Cutter(scratch), stream);
}

void choose_experts(const Tensor& logits, int64_t experts, int64_t top_k, const Routing& result,
                    cudaStream_t stream) {
    SHEAF_CHECK(top_k >= 1 && top_k <= max_top_k && top_k <= experts && experts <= max_router_experts &&
                    experts <= logits.size(1),
                "{} of {} experts", top_k, experts);
    if (logits.size(0) == 0) return;
    launch_top_k(logits.data<float>(), logits.row_stride(), logits.size(0), experts, top_k,
                 result.ids.data<int32_t>(), result.weights.data<float>(), stream);
}

void route(const Tensor& x, const CudaLinear& router, int64_t top_k, const Routing& result,
           const Tensor& scratch, cudaStream_t stream) {
    if (x.size(0) == 0) return;
    Cutter parts(scratch);
    const Shape shape{x.size(0), router_columns(router)};
    const Tensor logits(parts.take<float>(shape.elements()), DType::f32, shape);
    const auto left = static_cast<int64_t>(scratch.bytes() - parts.taken());
    router_logits(x, router, logits, Tensor(parts.take<uint8_t>(left), DType::u8, Shape{left}), stream);
    choose_experts(logits, router.out, top_k, result, stream);
}

void add_choice(const Routing& routing, const Tensor& gate, int64_t id, const Routing& more,
                cudaStream_t stream) {
    const int64_t tokens = routing.ids.size(0), top_k = routing.ids.size(1);
    SHEAF_CHECK(is_activation(gate) && gate.size(0) == tokens && more.ids.size(0) == tokens &&
                    more.ids.size(1) == top_k + 1 && more.weights.shape() == more.ids.shape() &&
                    routing.ids.contiguous() && routing.weights.contiguous(),
                "a choice beside {}", routing.ids.shape().to_string());
    if (tokens == 0) return;
    launch_add_choice({routing.ids.data<int32_t>(), routing.weights.data<float>(), gate.raw(),
                       gate.row_stride(), gate.dtype() == DType::f32, tokens, static_cast<int>(top_k),
                       static_cast<int32_t>(id), more.ids.data<int32_t>(), more.weights.data<float>()},
                      stream);
}

size_t moe_scratch_bytes(const CudaExperts& experts, int64_t tokens, int64_t top_k) {
    // Activations that are no vectors take the plain kernels; all choices up to `tokens` fit.
    size_t most = MoeScratch::size(experts, tokens * top_k, MoePath::plain);
    const auto consider = [&](int64_t count) {
        const MoePath path = moe_path({experts.device(), count, top_k, true});
        most = std::max(most, MoeScratch::size(experts, count * top_k, path));
    };
    consider(tokens);
    for (int64_t count = 1; count <= std::min(tokens, max_stream_tokens); ++count) consider(count);
    return most;
}

void moe(const Tensor& x, const Routing& routing, const CudaExperts& experts, const Tensor& y,
         const Tensor& scratch, cudaStream_t stream) {
    SHEAF_CHECK(is_activation(x) && x.size(1) == experts.hidden && y.shape() == x.shape() &&
                    routing.ids.size(0) == x.size(0) && routing.ids.contiguous() &&
                    routing.weights.contiguous(),
                "{} through experts of {}", x.shape().to_string(), experts.hidden);
    const int64_t tokens = x.size(0), top_k = routing.ids.size(1), pairs = tokens * top_k;
    if (tokens == 0) return;
    const auto* ids = routing.ids.data<int32_t>();
    const auto* weights = routing.weights.data<float>();
    const MoePath path = moe_path({experts.device(), tokens, top_k, in_vectors(x) && y.contiguous()});
    Cutter parts(scratch);
    if (path == MoePath::plain) {
        float* act = parts.take<float>(pairs * experts.intermediate);
        launch_plain_gate_up(x, ids, top_k, experts.device(), act, stream);
        return launch_plain_down(act, ids, weights, top_k, experts.device(), y, stream);
    }
    MoeScratch places;
    places.cut(parts, experts, pairs, path);
    if (path == MoePath::tiles) return moe_on_tiles(x, routing, experts, y, places, stream);
    MoeCall call{experts.device(),
                 x.raw(),
                 x.row_stride(),
                 tokens,
                 top_k,
                 ids,
                 weights,
                 places.act,
                 experts.counters(),
                 y.raw(),
                 places.grouping.tiles,
                 places.grouping.tile_count,
                 places.grouping.pair_of_place,
                 places.partial};
    if (path == MoePath::by_tokens) return launch_stream_moe(call, stream);
    launch_group(ids, pairs, experts.count, max_stream_tokens, Places::close, places.grouping, stream);
    launch_stream_moe_tiles(call, stream);
    launch_add_choices(places.partial, true, places.grouping.place_of_pair, tokens, top_k, experts.hidden,
                       y.raw(), stream);
}

size_t expert_scratch_bytes(const CudaExperts& experts, int64_t tokens) {
    return 2 * Cutter::padded(static_cast<size_t>(tokens) * 4) + moe_scratch_bytes(experts, tokens, 1);
}

void expert(const Tensor& x, const CudaExperts& experts, int64_t index, const Tensor& y,
            const Tensor& scratch, cudaStream_t stream) {
    SHEAF_CHECK(index >= 0 && index < experts.count, "expert {} of {}", index, experts.count);
    const int64_t tokens = x.size(0);
    Cutter parts(scratch);
    const Routing routing{Tensor(parts.take<int32_t>(tokens), DType::i32, Shape{tokens, 1}),
                          Tensor(parts.take<float>(tokens), DType::f32, Shape{tokens, 1})};
    launch_one_expert(routing.ids.data<int32_t>(), routing.weights.data<float>(), tokens,
                      static_cast<int32_t>(index), stream);
    const auto left = static_cast<int64_t>(moe_scratch_bytes(experts, tokens, 1));
    moe(x, routing, experts, y, Tensor(parts.take<uint8_t>(left), DType::u8, Shape{left}), stream);
}

}  // namespace sheaf::cuda
