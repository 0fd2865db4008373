// The streaming kernels of the mixture of experts: gate and up, SwiGLU, a barrier of the whole grid, down.
// The warps' rings are filled across the barrier: down's weights arrive while the blocks wait for one
// another.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/launch.h"
#include "backend/cuda/matrix/matrix_values.cuh"
#include "backend/cuda/matrix/stream.cuh"
#include "backend/cuda/matrix/stream.h"

namespace sheaf::cuda {
namespace {

struct StreamMoe {
    MoeCall call;
    StreamMoePlan plan;
    Fill fill;
};

/// Blocks meet: all results of the grid's blocks are visible to all of them after wait(). `arrived` counts on
/// from launch to launch, by the grid's size each.
struct GridBarrier {
    unsigned long long* arrived;
    unsigned long long goal = 0;

    /// Early, by a block that has not arrived.
    __device__ explicit GridBarrier(uint32_t* counters)
        : arrived(reinterpret_cast<unsigned long long*>(counters)) {
        if (threadIdx.x == 0) goal = (read() / gridDim.x + 1) * gridDim.x;
    }
    __device__ unsigned long long read() const {
        unsigned long long now;
        asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(now) : "l"(arrived) : "memory");
        return now;
    }
    __device__ void wait() const {
        __syncthreads();
        if (threadIdx.x == 0) {
            __threadfence();
            asm volatile("red.release.gpu.global.add.u64 [%0], %1;" ::"l"(arrived), "l"(1ull) : "memory");
            while (read() < goal) {
            }
            __threadfence();
        }
        __syncthreads();
    }
};

/// The distinct experts of a few tokens in the order of their first choice, and each token's weight for them.
struct ExpertTable {
    int count;
    int32_t* expert;  // (max_stream_pairs)
    float* weight;    // (max_stream_pairs, 8): 0 where the token does not go to the expert
    int32_t* ids;
    float* pair_weight;

    static constexpr int buckets = 1024;
    static_assert(expert_table_bytes == max_stream_pairs * (12 + 4 * stream_columns) + 64 + 4 * buckets);

    /// The experts. By all threads of the block.
    __device__ void find_experts(uint8_t* memory, const MoeCall& call) {
        const int pairs = static_cast<int>(call.tokens * call.top_k), thread = threadIdx.x,
                  lane = thread % 32;
        expert = reinterpret_cast<int32_t*>(memory);
        ids = expert + max_stream_pairs;
        pair_weight = reinterpret_cast<float*>(ids + max_stream_pairs);
        weight = pair_weight + max_stream_pairs;
        const int at = pairs <= 32 ? lane : thread;
        const int id = at < pairs ? call.ids[at] : -1 - lane;
        const float mine = thread < pairs ? call.weights[thread] : 0;
        bool first = at < pairs;
        uint32_t marks;
        int before = 0;
        if (pairs <= 32) {  // every warp for itself
            const uint32_t same = __match_any_sync(0xffffffffu, id);
            first = first && __ffs(static_cast<int>(same)) - 1 == lane;
            marks = __ballot_sync(0xffffffffu, first);
            count = __popc(marks);
        } else {
            auto* firsts = reinterpret_cast<uint32_t*>(weight + max_stream_pairs * stream_columns);
            auto* owner = reinterpret_cast<int32_t*>(firsts + 16);  // of an expert's bucket: its first pair
            for (int i = thread; i < buckets; i += stream_threads) owner[i] = max_stream_pairs;
            if (first) ids[at] = id;
            __syncthreads();
            if (first) atomicMin(&owner[id % buckets], thread);
            __syncthreads();
            for (int q = first ? owner[id % buckets] : 0; first && q < thread; ++q) first = ids[q] != id;
            marks = __ballot_sync(0xffffffffu, first);
            if (thread < max_stream_pairs && lane == 0) firsts[thread / 32] = marks;
            __syncthreads();
            count = 0;
            for (int w = 0; w < max_stream_pairs / 32; ++w) count += __popc(firsts[w]);
            for (int w = 0; w < thread / 32 && first; ++w) before += __popc(firsts[w]);
        }
        const int rank = before + __popc(marks & ((1u << lane) - 1));
        if (first) expert[rank] = id;  // where every warp does it, all write the same
        if (thread < pairs) {
            ids[thread] = id;
            pair_weight[thread] = mine;
        }
        __syncthreads();
    }

    /// The weights; a block barrier must follow.
    __device__ void find_weights(const MoeCall& call) const {
        for (int i = threadIdx.x; i < count * stream_columns; i += stream_threads) {
            const int column = i % stream_columns, wanted = expert[i / stream_columns];
            float sum = 0;
            for (int j = 0; column < call.tokens && j < call.top_k; ++j) {
                const int pair = column * static_cast<int>(call.top_k) + j;
                if (ids[pair] == wanted) sum += pair_weight[pair];
            }
            weight[i] = sum;
        }
    }
};

__device__ void store_act(const MoeCall& call, int64_t row, int i, float gate, float up, float weight) {
    static_cast<__nv_bfloat16*>(call.act)[row * call.experts.intermediate + i] =
        __float2bfloat16_rn(silu(gate) * up * weight);
}

/// Down of a few tokens: an item is a block of 16 outputs over the units of all experts of the table, one
/// expert after another. This warp's slice of them goes through experts [first, first + count).
struct DownSlice {
    int begin, end, units;  // units: of one expert
    int first, count;

    __device__ DownSlice(const Share& share, int experts, int units_of_one) : units(units_of_one) {
        begin = share.first_unit(experts * units);
        end = begin + share.unit_count(experts * units);
        first = begin / units;
        count = (end - 1) / units - first + 1;
    }
    __device__ int first_unit(int i) const { return i == 0 ? begin - first * units : 0; }
    __device__ int unit_count(int i) const { return min(units, end - (first + i) * units) - first_unit(i); }
};

/// What one warp multiplies for a few tokens: its runs of gate_up, then those of down.
template <class Format>
struct TokenRuns {
    const DeviceExperts& experts;
    const ExpertTable& table;
    UnitSizes up, down;
    Share share, down_share;
    int first, count, turns;  // of gate_up: units of a run, and runs
    DownSlice slice;

    __device__ TokenRuns(const DeviceExperts& all, const ExpertTable& of)
        : experts(all),
          table(of),
          up(unit_sizes<Format>(all.gate_up)),
          down(unit_sizes<Format>(all.down)),
          share(of.count * all.gate_up.blocks, slices(up.units, of.count * all.gate_up.blocks)),
          down_share(all.down.blocks, slices(of.count * down.units, all.down.blocks)),
          first(share.first_unit(up.units)),
          count(share.unit_count(up.units)),
          turns(share.turns()),
          slice(down_share, of.count, down.units) {}
    __device__ static int slices(int units, int items) {
        const int grid = static_cast<int>(gridDim.x);
        return best_slices(units, (items + grid - 1) / grid);
    }
    __device__ int runs() const { return turns + down_share.turns() * slice.count; }
    __device__ Run operator()(int run) const {
        if (run < turns) {
            const int item = share.item(run), tile = item / experts.gate_up.blocks;
            const auto expert = static_cast<size_t>(table.expert[tile]);
            const int block = item - tile * experts.gate_up.blocks;
            return up.run(experts.gate_up.data + expert * experts.gate_up_stride + block * up.block_bytes,
                          first, count);
        }
        const int turn = (run - turns) / slice.count, i = (run - turns) - turn * slice.count;
        const auto expert = static_cast<size_t>(table.expert[slice.first + i]);
        return down.run(
            experts.down.data + expert * experts.down_stride + down_share.item(turn) * down.block_bytes,
            slice.first_unit(i), slice.unit_count(i));
    }
};

__device__ void store_outputs(const MoeCall& call, int block, int g, int t, float4 sum) {
    const int64_t n = static_cast<int64_t>(block) * 16 + g;
    const auto store = [&](int64_t row, int of, float value) {
        if (of < call.tokens && row < call.experts.hidden)
            static_cast<__nv_bfloat16*>(call.y)[of * call.experts.hidden + row] = __float2bfloat16_rn(value);
    };
    store(n, 2 * t, sum.x);
    store(n, 2 * t + 1, sum.y);
    store(n + 8, 2 * t, sum.z);
    store(n + 8, 2 * t + 1, sum.w);
}

/// y: each block of 16 outputs over all experts at once; act holds the tokens' weights already.
template <class Format, class FillerType>
__device__ void multiply_down(const MoeCall& call, const TokenRuns<Format>& runs, WarpRing& ring,
                              FillerType& filler, uint8_t* staged, const Sums& sums) {
    using Columns = Staged<Format>;
    const DeviceExperts& experts = call.experts;
    const DownSlice& slice = runs.slice;
    const bool one = call.tokens == 1;
    const int column = threadIdx.x % 32 / 4, inner = static_cast<int>(experts.intermediate);
    const int act_units = (inner + 127) / 128;
    const auto* acts = static_cast<const __nv_bfloat16*>(call.act);
    if (one) {
        Columns::stage(staged,
                       {acts, 1, 0, runs.table.count, static_cast<int64_t>(stream_columns) * inner, inner});
        Columns::wait_for_stage();
        __syncthreads();
    }
    const Columns all_acts(staged, 1, runs.table.count * act_units);
    work(
        runs.down_share, sums,
        [&](int, float(&total)[4]) {
            for (int i = 0; i < slice.count; ++i) {
                const int expert = slice.first + i, first = slice.first_unit(i), count = slice.unit_count(i);
                if (one) {
                    const int before = expert * act_units * (128 / Format::unit_inputs);
                    multiply_run<Format>(ring, filler, experts.down, before + first, count, all_acts, total);
                } else {
                    const int row = expert * stream_columns + column;
                    const auto* act = acts + static_cast<int64_t>(row) * inner;
                    multiply_run<Format>(ring, filler, experts.down, first, count,
                                         RowColumns{runs.table.weight[row] != 0 ? act : nullptr, inner},
                                         total);
                }
            }
        },
        [&](int block, int g, int t, float4 sum) { store_outputs(call, block, g, t, sum); });
}

/// Columns are tokens: every expert multiplies all of them, and only the results of its own are kept.
template <class Format>
__global__ void __launch_bounds__(stream_threads, 1) moe_by_tokens(const __grid_constant__ StreamMoe job) {
    extern __shared__ __align__(128) uint8_t shared[];
    using Columns = Staged<Format>;
    const MoeCall& call = job.call;
    const DeviceExperts& experts = call.experts;
    const int blocks = experts.gate_up.blocks, tokens = static_cast<int>(call.tokens);
    WarpRing ring(shared, job.plan.ring, job.fill);
    uint8_t* staged = shared + job.plan.ring.bytes;
    uint8_t* memory = staged + job.plan.staged_bytes;
    const Sums sums{reinterpret_cast<float4*>(memory + job.plan.table_bytes), (tokens + 1) / 2,
                    job.plan.turns};
    allow_next_kernel();
    wait_for_previous_kernel();
    const GridBarrier barrier(call.counters);
    ExpertTable table;
    table.find_experts(memory, call);
    const TokenRuns<Format> runs(experts, table);
    Filler<Format, TokenRuns<Format>> filler(runs, runs.runs());
    filler.fill_all(ring);
    Columns::stage(staged, {static_cast<const __nv_bfloat16*>(call.x), tokens, call.x_stride, 1, 0,
                            static_cast<int>(experts.hidden)});
    table.find_weights(call);
    Columns::wait_for_stage();
    __syncthreads();
    const Columns columns(staged, tokens, static_cast<int>((experts.hidden + 127) / 128));
    work(
        runs.share, sums,
        [&](int, float(&total)[4]) {
            multiply_run<Format>(ring, filler, experts.gate_up, runs.first, runs.count, columns, total);
        },
        [&](int item, int g, int t, float4 sum) {
            const int tile = item / blocks, i = (item - tile * blocks) * 8 + g;
            if (i >= experts.intermediate) return;
            const float* weight = table.weight + tile * stream_columns + 2 * t;
            const int64_t row = static_cast<int64_t>(tile) * stream_columns + 2 * t;
            if (weight[0] != 0 || (tokens == 1 && t == 0)) store_act(call, row, i, sum.x, sum.z, weight[0]);
            if (weight[1] != 0) store_act(call, row + 1, i, sum.y, sum.w, weight[1]);
        });
    barrier.wait();
    multiply_down<Format>(call, runs, ring, filler, staged, sums);
}

/// Columns are the places of a tile; a warp takes whole rows.
template <class Format>
__global__ void __launch_bounds__(stream_threads, 1) moe_by_tiles(const __grid_constant__ StreamMoe job) {
    extern __shared__ __align__(128) uint8_t shared[];
    const MoeCall& call = job.call;
    const DeviceExperts& experts = call.experts;
    const UnitSizes up = unit_sizes<Format>(experts.gate_up), down = unit_sizes<Format>(experts.down);
    const int up_blocks = experts.gate_up.blocks, down_blocks = experts.down.blocks;
    WarpRing ring(shared, job.plan.ring, job.fill);
    allow_next_kernel();
    wait_for_previous_kernel();
    const GridBarrier barrier(call.counters);
    const int tiles = *call.tile_count;
    const Share share(tiles * up_blocks, 1), down_share(tiles * down_blocks, 1);
    const auto run_of = [&](int run) {
        const bool is_up = run < share.turns();
        const int item = is_up ? share.item(run) : down_share.item(run - share.turns());
        const int blocks = is_up ? up_blocks : down_blocks, tile = item / blocks;
        const auto expert = static_cast<size_t>(call.tiles[tile].expert);
        const uint8_t* data = is_up ? experts.gate_up.data + expert * experts.gate_up_stride
                                    : experts.down.data + expert * experts.down_stride;
        const UnitSizes& sizes = is_up ? up : down;
        return sizes.run(data + (item - tile * blocks) * sizes.block_bytes, 0, sizes.units);
    };
    Filler<Format, decltype(run_of)> filler(run_of, share.turns() + down_share.turns());
    filler.fill_all(ring);
    const Sums none{};
    const int column = threadIdx.x % 32 / 4;
    work(
        share, none,
        [&](int turn, float(&total)[4]) {
            const ExpertTile tile = call.tiles[share.item(turn) / up_blocks];
            const __nv_bfloat16* row = nullptr;
            if (column < tile.count)
                row = static_cast<const __nv_bfloat16*>(call.x) +
                      call.pair_of_place[tile.first + column] / call.top_k * call.x_stride;
            multiply_run<Format>(ring, filler, experts.gate_up, 0, up.units,
                                 RowColumns{row, static_cast<int>(experts.hidden)}, total);
        },
        [&](int item, int g, int t, float4 sum) {
            const int i = item % up_blocks * 8 + g;
            if (i >= experts.intermediate) return;
            const ExpertTile of = call.tiles[item / up_blocks];
            const int place = of.first + 2 * t;
            if (2 * t < of.count)
                store_act(call, place, i, sum.x, sum.z, call.weights[call.pair_of_place[place]]);
            if (2 * t + 1 < of.count)
                store_act(call, place + 1, i, sum.y, sum.w, call.weights[call.pair_of_place[place + 1]]);
        });
    barrier.wait();
    work(
        down_share, none,
        [&](int turn, float(&total)[4]) {
            const ExpertTile tile = call.tiles[down_share.item(turn) / down_blocks];
            const __nv_bfloat16* row = nullptr;
            if (column < tile.count)
                row = static_cast<const __nv_bfloat16*>(call.act) +
                      (tile.first + column) * experts.intermediate;
            multiply_run<Format>(ring, filler, experts.down, 0, down.units,
                                 RowColumns{row, static_cast<int>(experts.intermediate)}, total);
        },
        [&](int item, int g, int t, float4 sum) {
            const ExpertTile of = call.tiles[item / down_blocks];
            const int64_t n = static_cast<int64_t>(item % down_blocks) * 16 + g;
            const auto store = [&](int64_t row, int at, float value) {
                if (at < of.count && row < experts.hidden)
                    call.partial[static_cast<int64_t>(of.first + at) * experts.hidden + row] = value;
            };
            store(n, 2 * t, sum.x);
            store(n, 2 * t + 1, sum.y);
            store(n + 8, 2 * t, sum.z);
            store(n + 8, 2 * t + 1, sum.w);
        });
}

template <class Format>
void launch(const StreamMoe& job, bool by_tokens, cudaStream_t stream) {
    auto* kernel = by_tokens ? moe_by_tokens<Format> : moe_by_tiles<Format>;
    launch_kernel(kernel, static_cast<unsigned>(device_limits().multiprocessors), stream_threads,
                  job.plan.shared_bytes, stream, "stream_moe", job);
}

void launch_any(const MoeCall& call, bool by_tokens, cudaStream_t stream) {
    const bool packed = call.experts.gate_up.store == Store::int4;
    const StreamMoe job{call,
                        by_tokens ? plan_stream_moe(call.experts, call.tokens, call.top_k)
                                  : plan_stream_moe_tiles(call.experts),
                        packed ? stream_fill() : Fill::lanes};
    SHEAF_CHECK(job.plan.ring.slots > 0, "no room to stream {} inputs", call.experts.hidden);
    if (!packed) return launch<Bf16Units>(job, by_tokens, stream);
    if (is_simple(call.experts.gate_up) && is_simple(call.experts.down))
        return launch<Int4Format<true, true>>(job, by_tokens, stream);
    launch<Int4Format<false>>(job, by_tokens, stream);
}

}  // namespace

void launch_stream_moe(const MoeCall& call, cudaStream_t stream) {
    launch_any(call, true, stream);
}

void launch_stream_moe_tiles(const MoeCall& call, cudaStream_t stream) {
    launch_any(call, false, stream);
}

}  // namespace sheaf::cuda
