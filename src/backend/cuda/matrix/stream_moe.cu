// The streaming kernels of the mixture of experts: gate and up, SwiGLU, a barrier of the whole grid, down.
// The producing warps do not take part in the barrier: the ring fills with down's weights while the others
// wait.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/launch.h"
#include "backend/cuda/matrix/matrix_values.cuh"
#include "backend/cuda/matrix/stream.cuh"
#include "backend/cuda/matrix/stream.h"

namespace sheaf::cuda {
namespace {

struct StreamMoe {
    MoeCall call;
    int slots;
    uint32_t slot_bytes;
    int down_units;   // bf16: of 32 inputs
    int down_pieces;  // of a slot of down: runs of units that lie together
    Fill fill;
};

/// All results of the grid's blocks are visible to all of them afterwards. counters[0] counts arrivals,
/// counters[1] rounds.
__device__ void grid_barrier(uint32_t* counters) {
    __threadfence();
    consumer_barrier();
    if (threadIdx.x == 0) {
        uint32_t round, now;
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(round) : "l"(counters + 1) : "memory");
        if (atomicAdd(counters, 1u) == gridDim.x - 1) {
            counters[0] = 0;
            __threadfence();
            asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(counters + 1), "r"(round + 1)
                         : "memory");
        } else {
            do {
                asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                             : "=r"(now)
                             : "l"(counters + 1)
                             : "memory");
            } while (now == round);
        }
        __threadfence();
    }
    consumer_barrier();
}

/// The distinct experts of a few tokens in the order of their first choice, and each token's weight for them.
struct ExpertTable {
    int count;
    int32_t* expert;  // (max_stream_pairs)
    float* weight;    // (max_stream_pairs, 8): 0 where the token does not go to the expert

    static constexpr uint32_t bytes =
        static_cast<uint32_t>(max_stream_pairs) * (4 + 4 * stream_columns + 4) + 64;

    /// By all threads of the block.
    __device__ void build(uint8_t* memory, const MoeCall& call) {
        const int pairs = static_cast<int>(call.tokens * call.top_k), thread = threadIdx.x;
        expert = reinterpret_cast<int32_t*>(memory);
        auto* ids = expert + max_stream_pairs;
        weight = reinterpret_cast<float*>(ids + max_stream_pairs);
        auto* firsts =
            reinterpret_cast<uint32_t*>(weight + max_stream_pairs * stream_columns);  // one word a warp
        if (thread < pairs) ids[thread] = call.ids[thread];
        __syncthreads();
        bool first = thread < pairs;
        for (int q = 0; first && q < thread; ++q) first = ids[q] != ids[thread];
        const uint32_t marks = __ballot_sync(0xffffffffu, first);
        if (thread < max_stream_pairs && thread % 32 == 0) firsts[thread / 32] = marks;
        __syncthreads();
        count = 0;
        int rank = __popc(marks & ((1u << thread % 32) - 1));
        for (int w = 0; w < max_stream_pairs / 32; ++w) {
            if (w < thread / 32) rank += __popc(firsts[w]);
            count += __popc(firsts[w]);
        }
        if (first) {
            expert[rank] = ids[thread];
            for (int column = 0; column < stream_columns; ++column) {
                float sum = 0;
                for (int j = 0; column < call.tokens && j < call.top_k; ++j) {
                    const int pair = column * static_cast<int>(call.top_k) + j;
                    if (ids[pair] == ids[thread]) sum += call.weights[pair];
                }
                weight[rank * stream_columns + column] = sum;
            }
        }
        __syncthreads();
    }
};

__device__ void store_act(const MoeCall& call, int64_t row, int i, float gate, float up, float weight) {
    static_cast<__nv_bfloat16*>(call.act)[row * call.experts.intermediate + i] =
        __float2bfloat16_rn(silu(gate) * up * weight);
}

template <class Format>
__device__ void produce_items(Ring& ring, Fill fill, const DeviceMatrix& m, const ItemSpace& space, int begin,
                              int end, size_t stride, const int32_t* expert, int expert_step) {
    for (int item = begin; item < end; ++item) {
        const int tile = item / space.per_tile;
        const uint8_t* data = m.data + static_cast<size_t>(expert[tile * expert_step]) * stride;
        for (int s = 0; s < space.slots; ++s)
            produce_slot(Format{}, ring, fill, m, space, data, item - tile * space.per_tile, s);
    }
}

/// Slot s of block `block` of down: units 16 s ... of the experts' rows set one after another.
template <bool simple>
__device__ void produce_down_slot(Int4Format<simple>, Ring& ring, const StreamMoe& job,
                                  const ExpertTable& table, int block, int s) {
    const DeviceMatrix& m = job.call.experts.down;
    const int run = stream_warps / job.down_pieces, all = table.count * job.down_units;
    const int pieces = min(job.down_pieces, (all - stream_warps * s + run - 1) / run);
    const auto bytes = static_cast<uint32_t>(run * m.unit_bytes);
    fill_slot(ring, job.fill, pieces, static_cast<uint32_t>(pieces) * bytes, [&](int i) {
        const int at = stream_warps * s + run * i, tile = at / job.down_units,
                  unit = at - tile * job.down_units;
        const uint8_t* data = m.data + static_cast<size_t>(table.expert[tile]) * job.call.experts.down_stride;
        return Piece{data + (static_cast<int64_t>(block) * m.units + unit) * m.unit_bytes, i * bytes, bytes};
    });
}

/// bf16: slots of one expert each.
__device__ void produce_down_slot(Bf16Format, Ring& ring, const StreamMoe& job, const ExpertTable& table,
                                  int block, int s) {
    const DeviceMatrix& m = job.call.experts.down;
    const int per_tile = (job.down_units + stream_warps - 1) / stream_warps, tile = s / per_tile;
    const uint8_t* data = m.data + static_cast<size_t>(table.expert[tile]) * job.call.experts.down_stride;
    produce_slot(Bf16Format{}, ring, job.fill, m, ItemSpace{}, data, block, s - tile * per_tile);
}

/// Where unit `warp` of slot s of down lies: which expert of the table, and which unit of its row.
struct DownPlace {
    int tile, unit;
};

template <bool simple>
__device__ DownPlace down_place(Int4Format<simple>, const StreamMoe& job, int s, int warp) {
    const int at = stream_warps * s + warp, tile = at / job.down_units;
    return {tile, at - tile * job.down_units};
}

__device__ DownPlace down_place(Bf16Format, const StreamMoe& job, int s, int warp) {
    const int per_tile = (job.down_units + stream_warps - 1) / stream_warps, tile = s / per_tile;
    return {tile, (s - tile * per_tile) * stream_warps + warp};
}

template <class Format>
__device__ int down_slots(const StreamMoe& job, int experts) {
    if (Format::packed) return (experts * job.down_units + stream_warps - 1) / stream_warps;
    return experts * ((job.down_units + stream_warps - 1) / stream_warps);
}

template <class Format>
__device__ void load_down_columns(const StreamMoe& job, const ExpertTable& table, int s,
                                  uint32_t (&b)[Format::words]) {
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4;
    const DownPlace place = down_place(Format{}, job, s, warp);
    const int64_t inner = job.call.experts.intermediate;
    const __nv_bfloat16* row = nullptr;
    if (place.tile < table.count && table.weight[place.tile * stream_columns + g] != 0)
        row = static_cast<const __nv_bfloat16*>(job.call.act) +
              (static_cast<int64_t>(place.tile) * stream_columns + g) * inner;
    load_columns<Format, true>(row, place.unit, inner, b);
}

/// y: each block of 16 outputs over all experts at once; act holds the tokens' weights already.
template <class Format>
__device__ void consume_down(Ring& ring, const StreamMoe& job, const ExpertTable& table, int begin, int end,
                             Finisher& finisher) {
    const MoeCall& call = job.call;
    const int warp = threadIdx.x / 32, slots = down_slots<Format>(job, table.count);
    for (int block = begin; block < end; ++block) {
        float total[4] = {0, 0, 0, 0};
        uint32_t b[Format::words], next[Format::words];
        load_down_columns<Format>(job, table, 0, next);
        for (int s = 0; s < slots; ++s) {
#pragma unroll
            for (int i = 0; i < Format::words; ++i) b[i] = next[i];
            if (s + 1 < slots) load_down_columns<Format>(job, table, s + 1, next);
            ring.wait_full();
            const DownPlace place = down_place(Format{}, job, s, warp);
            if (place.tile < table.count && place.unit < job.down_units)
                multiply_unit(Format{}, ring, call.experts.down, warp, place.unit, b, total);
            ring.release();
        }
        finisher.add(total, 1, stream_warps, [&](int, float4 sums) {
            const int64_t n = static_cast<int64_t>(block) * 16 + threadIdx.x % 32 / 4;
            const int column = threadIdx.x % 4 * 2;
            auto store = [&](int64_t row, int of, float value) {
                if (of < call.tokens && row < call.experts.hidden)
                    static_cast<__nv_bfloat16*>(call.y)[of * call.experts.hidden + row] =
                        __float2bfloat16_rn(value);
            };
            store(n, column, sums.x);
            store(n, column + 1, sums.y);
            store(n + 8, column, sums.z);
            store(n + 8, column + 1, sums.w);
        });
    }
}

/// Columns are tokens: every expert multiplies all of them, and only the results of its own are kept.
template <class Format, int most_slots>
__global__ void __launch_bounds__(stream_threads, 1) moe_by_tokens(const __grid_constant__ StreamMoe job) {
    extern __shared__ __align__(128) uint8_t shared[];
    const MoeCall& call = job.call;
    const DeviceExperts& experts = call.experts;
    StreamMemory memory(shared, job.slots, job.slot_bytes, job.fill);
    allow_next_kernel();
    wait_for_previous_kernel();
    ExpertTable table;
    table.build(memory.rest, call);
    const ItemSpace space = item_space<Format>(experts.gate_up);
    const int items = table.count * space.per_tile;
    const int begin = first_item(items, blockIdx.x), end = first_item(items, blockIdx.x + 1);
    const int down_begin = first_item(experts.down.blocks, blockIdx.x);
    const int down_end = first_item(experts.down.blocks, blockIdx.x + 1);
    if (threadIdx.x / 32 >= stream_warps) {
        produce_items<Format>(memory.ring, job.fill, experts.gate_up, space, begin, end,
                              experts.gate_up_stride, table.expert, 1);
        const int slots = down_slots<Format>(job, table.count);
        for (int block = down_begin; block < down_end; ++block)
            for (int s = 0; s < slots; ++s) produce_down_slot(Format{}, memory.ring, job, table, block, s);
        return;
    }
    Finisher finisher{memory.sums};
    const auto* x = static_cast<const __nv_bfloat16*>(call.x);
    consume_items<Format, most_slots, false>(
        memory.ring, experts.gate_up, space, begin, end, finisher, true,
        [&](int, int g) { return g < call.tokens ? x + g * call.x_stride : nullptr; },
        [&](int tile, int block, float4 sums) {
            const int i = block * 8 + static_cast<int>(threadIdx.x % 32 / 4), column = threadIdx.x % 4 * 2;
            if (i >= experts.intermediate) return;
            const float* weight = table.weight + tile * stream_columns + column;
            const int64_t row = static_cast<int64_t>(tile) * stream_columns + column;
            if (weight[0] != 0) store_act(call, row, i, sums.x, sums.z, weight[0]);
            if (weight[1] != 0) store_act(call, row + 1, i, sums.y, sums.w, weight[1]);
        });
    grid_barrier(call.counters);
    consume_down<Format>(memory.ring, job, table, down_begin, down_end, finisher);
}

/// Columns are the places of a tile.
template <class Format, int most_slots>
__global__ void __launch_bounds__(stream_threads, 1) moe_by_tiles(const __grid_constant__ StreamMoe job) {
    extern __shared__ __align__(128) uint8_t shared[];
    const MoeCall& call = job.call;
    const DeviceExperts& experts = call.experts;
    StreamMemory memory(shared, job.slots, job.slot_bytes, job.fill);
    allow_next_kernel();
    wait_for_previous_kernel();
    const int tiles = *call.tile_count;
    const ItemSpace space = item_space<Format>(experts.gate_up),
                    down_space = item_space<Format>(experts.down);
    const int begin = first_item(tiles * space.per_tile, blockIdx.x);
    const int end = first_item(tiles * space.per_tile, blockIdx.x + 1);
    const int down_begin = first_item(tiles * down_space.per_tile, blockIdx.x);
    const int down_end = first_item(tiles * down_space.per_tile, blockIdx.x + 1);
    if (threadIdx.x / 32 >= stream_warps) {
        constexpr int step = sizeof(ExpertTile) / sizeof(int32_t);
        produce_items<Format>(memory.ring, job.fill, experts.gate_up, space, begin, end,
                              experts.gate_up_stride, &call.tiles->expert, step);
        produce_items<Format>(memory.ring, job.fill, experts.down, down_space, down_begin, down_end,
                              experts.down_stride, &call.tiles->expert, step);
        return;
    }
    Finisher finisher{memory.sums};
    const int g = threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
    consume_items<Format, most_slots, false>(
        memory.ring, experts.gate_up, space, begin, end, finisher, false,
        [&](int tile, int of) -> const __nv_bfloat16* {
            if (of >= call.tiles[tile].count) return nullptr;
            const int64_t token = call.pair_of_place[call.tiles[tile].first + of] / call.top_k;
            return static_cast<const __nv_bfloat16*>(call.x) + token * call.x_stride;
        },
        [&](int tile, int block, float4 sums) {
            const int i = block * 8 + g;
            if (i >= experts.intermediate) return;
            const ExpertTile of = call.tiles[tile];
            const int place = of.first + column;
            if (column < of.count)
                store_act(call, place, i, sums.x, sums.z, call.weights[call.pair_of_place[place]]);
            if (column + 1 < of.count)
                store_act(call, place + 1, i, sums.y, sums.w, call.weights[call.pair_of_place[place + 1]]);
        });
    grid_barrier(call.counters);
    constexpr int down_most = Format::packed ? 1 : 4;
    consume_items<Format, down_most, true>(
        memory.ring, experts.down, down_space, down_begin, down_end, finisher, false,
        [&](int tile, int of) -> const __nv_bfloat16* {
            if (of >= call.tiles[tile].count) return nullptr;
            return static_cast<const __nv_bfloat16*>(call.act) +
                   (call.tiles[tile].first + of) * experts.intermediate;
        },
        [&](int tile, int block, float4 sums) {
            const ExpertTile of = call.tiles[tile];
            const int64_t n = static_cast<int64_t>(block) * 16 + g;
            auto store = [&](int64_t row, int at, float value) {
                if (at < of.count && row < experts.hidden)
                    call.partial[static_cast<int64_t>(of.first + at) * experts.hidden + row] = value;
            };
            store(n, column, sums.x);
            store(n, column + 1, sums.y);
            store(n + 8, column, sums.z);
            store(n + 8, column + 1, sums.w);
        });
}

int greatest_common_divisor(int a, int b) {
    return b == 0 ? a : greatest_common_divisor(b, a % b);
}

template <class Format, int most_slots>
void launch(StreamMoe job, bool by_tokens, cudaStream_t stream) {
    const DeviceExperts& experts = job.call.experts;
    const uint32_t up = ring_slot_bytes<Format>(experts.gate_up),
                   down = ring_slot_bytes<Format>(experts.down);
    job.slot_bytes = up > down ? up : down;
    const DeviceLimits& limits = device_limits();
    const uint32_t fixed = StreamMemory::fixed_bytes + (by_tokens ? ExpertTable::bytes : 0);
    const int room = static_cast<int>((limits.block_memory - fixed) / job.slot_bytes);
    job.slots = room < max_ring_slots ? room : max_ring_slots;
    job.down_units = item_space<Format>(experts.down).units;
    job.down_pieces = stream_warps / greatest_common_divisor(stream_warps, job.down_units);
    launch_kernel(by_tokens ? moe_by_tokens<Format, most_slots> : moe_by_tiles<Format, most_slots>,
                  static_cast<unsigned>(limits.multiprocessors), stream_threads,
                  fixed + static_cast<uint32_t>(job.slots) * job.slot_bytes, stream, "stream_moe", job);
}

/// Instances by the slots a row of gate_up fills.
template <class Format>
void launch_sized(const StreamMoe& job, bool by_tokens, cudaStream_t stream) {
    constexpr int step = Format::packed ? 1 : 4;
    const int64_t inputs = job.call.experts.hidden;
    SHEAF_CHECK(inputs <= max_stream_inputs, "{} inputs", inputs);
    if (inputs <= 2048) return launch<Format, step>(job, by_tokens, stream);
    if (inputs <= 4096) return launch<Format, 2 * step>(job, by_tokens, stream);
    launch<Format, 4 * step>(job, by_tokens, stream);
}

void launch_any(const MoeCall& call, bool by_tokens, cudaStream_t stream) {
    const StreamMoe job{call, 0, 0, 0, 0, stream_fill()};
    if (call.experts.gate_up.store != Store::int4) return launch_sized<Bf16Format>(job, by_tokens, stream);
    if (is_simple(call.experts.gate_up) && is_simple(call.experts.down))
        return launch_sized<Int4Format<true>>(job, by_tokens, stream);
    launch_sized<Int4Format<false>>(job, by_tokens, stream);
}

}  // namespace

void launch_stream_moe(const MoeCall& call, cudaStream_t stream) {
    launch_any(call, true, stream);
}

void launch_stream_moe_tiles(const MoeCall& call, cudaStream_t stream) {
    launch_any(call, false, stream);
}

}  // namespace sheaf::cuda
