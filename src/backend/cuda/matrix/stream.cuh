// Streaming products: weights flow once through a ring in shared memory, filled far ahead by a few warps, and
// are multiplied by up to 8 columns of activations by sixteen others. One block per multiprocessor stays for
// the whole kernel, so that the memory is never idle between items. Device code of stream_linear.cu and
// stream_moe.cu.
//
// An item is one block of 16 rows (or several, when a row is shorter than 16 units) of one tile; a tile is a
// weight and its columns. A slot holds 16 units, one for each consuming warp; the warps' sums meet in shared
// memory and are added in the order of the warps, so a column's result depends on nothing but the column.
#pragma once

#include "backend/cuda/matrix/async_copy.cuh"
#include "backend/cuda/matrix/fragments.cuh"

namespace sheaf::cuda {

constexpr int stream_warps = 16, stream_threads = 32 * (stream_warps + filling_warps), stream_columns = 8;
constexpr int max_ring_slots = 16;
constexpr uint32_t sums_bytes = 2 * stream_warps * 32 * sizeof(float4);

/// How a matrix is cut into items and slots.
struct ItemSpace {
    int units, slots, teams, blocks, per_tile;
};

template <class Format>
__host__ __device__ inline ItemSpace item_space(const DeviceMatrix& m) {
    ItemSpace space{};
    space.units = Format::unit_inputs == DeviceMatrix::unit_inputs
                      ? m.units
                      : static_cast<int>((m.row_stride + 31) / 32);
    space.teams = Format::packed && space.units < stream_warps ? stream_warps / space.units : 1;
    space.slots = (space.units + stream_warps - 1) / stream_warps;
    space.blocks = m.blocks;
    space.per_tile = (m.blocks + space.teams - 1) / space.teams;
    return space;
}

template <class Format>
__host__ __device__ inline uint32_t ring_slot_bytes(const DeviceMatrix& m) {
    if (Format::packed) return static_cast<uint32_t>(stream_warps * m.unit_bytes);
    return static_cast<uint32_t>(DeviceMatrix::block_rows * Bf16Format::pitch);
}

/// A block's shared memory: the ring's slots, its barriers, the warps' sums, then whatever the kernel adds.
struct StreamMemory {
    Ring ring;
    float4* sums;
    uint8_t* rest;

    __device__ StreamMemory(uint8_t* memory, int slots, uint32_t slot_bytes, Fill fill) {
        sums = reinterpret_cast<float4*>(memory);
        auto* barriers = reinterpret_cast<uint64_t*>(memory + sums_bytes);
        ring = Ring{memory + sums_bytes + 2 * max_ring_slots * 8, barriers, barriers + max_ring_slots, slots,
                    slot_bytes};
        rest = ring.data + static_cast<uint32_t>(slots) * slot_bytes;
        if (threadIdx.x < static_cast<unsigned>(slots)) {
            barrier_init(ring.full + threadIdx.x, fill_arrivals(fill));
            barrier_init(ring.empty + threadIdx.x, stream_warps);
        }
        barrier_init_done();
        __syncthreads();
    }
    static constexpr uint32_t fixed_bytes = sums_bytes + 2 * max_ring_slots * 8;
};

struct Piece {
    const uint8_t* source;
    uint32_t offset, bytes;
};

/// One slot out of `count` pieces of `total` bytes, by the filling warps.
template <class PieceOf>
__device__ inline void fill_slot(Ring& ring, Fill fill, int count, uint32_t total, const PieceOf& piece_of) {
    const int lane = threadIdx.x % 32;
    const uint32_t warp = threadIdx.x / 32 - stream_warps;
    ring.wait_empty();
    uint8_t* slot = ring.slot();
    uint64_t* full = ring.full + ring.index;
    if (fill == Fill::lanes) {
        uint32_t turn = 0;
        for (int i = 0; i < count; ++i) {
            const Piece piece = piece_of(i);
            lanes_copy(slot + piece.offset, piece.source, piece.bytes, (warp + turn) % filling_warps);
            turn += piece.bytes / 512;
        }
        arrive_after_copies(full);
    } else if (warp == 0) {
        if (lane == 0) expect_bytes(full, total);
        __syncwarp();
        if (lane < count) {
            const Piece piece = piece_of(lane);
            bulk_copy(slot + piece.offset, piece.source, piece.bytes, full);
        }
    }
    ring.advance();
}

/// Slot `s` of item `item` of a tile whose numbers lie at `data`.
template <bool simple>
__device__ inline void produce_slot(Int4Format<simple>, Ring& ring, Fill fill, const DeviceMatrix& m,
                                    const ItemSpace& space, const uint8_t* data, int item, int s) {
    const int first = item * space.teams;
    const int units = space.teams > 1 ? min(space.teams, space.blocks - first) * space.units
                                      : min(stream_warps, space.units - stream_warps * s);
    const int64_t begin = static_cast<int64_t>(first) * space.units + stream_warps * s;
    const auto bytes = static_cast<uint32_t>(units * m.unit_bytes);
    fill_slot(ring, fill, 1, bytes, [&](int) { return Piece{data + begin * m.unit_bytes, 0, bytes}; });
}

__device__ inline void produce_slot(Bf16Format, Ring& ring, Fill fill, const DeviceMatrix& m,
                                    const ItemSpace&, const uint8_t* data, int item, int s) {
    const int inputs =
        min(Bf16Format::slot_inputs, static_cast<int>(m.row_stride) - Bf16Format::slot_inputs * s);
    const auto bytes = static_cast<uint32_t>(inputs) * 2;
    const uint8_t* row =
        data + (static_cast<int64_t>(item) * 16 * m.row_stride + Bf16Format::slot_inputs * s) * 2;
    fill_slot(ring, fill, 16, 16 * bytes, [&](int i) {
        return Piece{row + i * m.row_stride * 2, static_cast<uint32_t>(i * Bf16Format::pitch), bytes};
    });
}

/// This warp's activations of unit `unit` (of a row) in column g: `row` is the column's activations, or null.
template <class Format, bool through_l2>
__device__ inline void load_columns(const __nv_bfloat16* row, int unit, int64_t inputs,
                                    uint32_t (&b)[Format::words]) {
    const int t = threadIdx.x % 4;
#pragma unroll
    for (int run = 0; run < Format::words / 4; ++run) {
        const int64_t k = static_cast<int64_t>(unit) * Format::unit_inputs + 32 * run + 8 * t;
        uint4 values = make_uint4(0, 0, 0, 0);
        if (row && k < inputs) {
            const auto* place = reinterpret_cast<const uint4*>(row + k);
            values = through_l2 ? __ldcg(place) : *place;
        }
        b[4 * run] = values.x;
        b[4 * run + 1] = values.y;
        b[4 * run + 2] = values.z;
        b[4 * run + 3] = values.w;
    }
}

template <bool simple>
__device__ inline void multiply_unit(Int4Format<simple>, const Ring& ring, const DeviceMatrix& m, int warp,
                                     int, const uint32_t (&b)[Int4Format<simple>::words], float (&total)[4]) {
    Int4Format<simple>::product(ring.slot() + warp * m.unit_bytes, m, b, total);
}

__device__ inline void multiply_unit(Bf16Format, const Ring& ring, const DeviceMatrix& m, int warp, int unit,
                                     const uint32_t (&b)[Bf16Format::words], float (&total)[4]) {
    const bool valid = unit * Bf16Format::unit_inputs + static_cast<int>(threadIdx.x % 4) * 8 < m.row_stride;
    Bf16Format::product(ring.slot() + warp * 64, valid, b, total);
}

__device__ inline void consumer_barrier() {
    asm volatile("bar.sync 1, %0;" ::"n"(32 * stream_warps) : "memory");
}

/// Sums of warps [first, first + count), in order: one warp's lanes.
__device__ inline float4 add_sums(const float4* sums, int first, int count) {
    const int lane = threadIdx.x % 32;
    float4 total = sums[first * 32 + lane];
    for (int w = 1; w < count; ++w) {
        const float4 other = sums[(first + w) * 32 + lane];
        total.x += other.x;
        total.y += other.y;
        total.z += other.z;
        total.w += other.w;
    }
    return total;
}

/// The warps' sums of one item after another, in two buffers by turns; which warp finishes an item rotates.
struct Finisher {
    float4* sums;
    int turn = 0;

    template <class Finish>
    __device__ void add(const float (&total)[4], int teams, int warps_of_team, const Finish& finish) {
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        float4* mine = sums + (turn & 1) * stream_warps * 32;
        mine[warp * 32 + lane] = make_float4(total[0], total[1], total[2], total[3]);
        consumer_barrier();
        const int team = (warp - turn * teams) & (stream_warps - 1);
        if (team < teams) finish(team, add_sums(mine, team * warps_of_team, warps_of_team));
        ++turn;
    }
};

/// Items [begin, end) of tiles that follow one another: column_of(tile, g) gives the activations of column g
/// or null (same_columns: the same for all tiles); finish(tile, block, sums) takes a block's results, in the
/// lanes of fragments.cuh.
template <class Format, int most_slots, bool through_l2, class ColumnOf, class Finish>
__device__ void consume_items(Ring& ring, const DeviceMatrix& m, const ItemSpace& space, int begin, int end,
                              Finisher& finisher, bool same_columns, const ColumnOf& column_of,
                              const Finish& finish) {
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4;
    const int team = space.teams > 1 ? warp / space.units : 0,
              place = warp - team * space.units * (space.teams > 1);
    const int warps_of_team = min(space.units, stream_warps);
    uint32_t b[most_slots][Format::words];
    int tile = -1;
    for (int item = begin; item < end; ++item) {
        const int owner = item / space.per_tile, at = item - owner * space.per_tile;
        const bool load = tile < 0 || (owner != tile && !same_columns);
        tile = owner;
        if (load) {
            const __nv_bfloat16* row = column_of(tile, g);
#pragma unroll
            for (int s = 0; s < most_slots; ++s)
                load_columns<Format, through_l2>(row, s * stream_warps + place, m.in, b[s]);
        }
        const bool busy = team < space.teams && at * space.teams + team < space.blocks;
        float total[4] = {0, 0, 0, 0};
#pragma unroll
        for (int s = 0; s < most_slots; ++s) {
            if (s >= space.slots) break;
            ring.wait_full();
            const int unit = s * stream_warps + place;
            if (busy && unit < space.units) multiply_unit(Format{}, ring, m, warp, unit, b[s], total);
            ring.release();
        }
        finisher.add(total, space.teams, warps_of_team, [&](int of, float4 sums) {
            const int block = at * space.teams + of;
            if (block < space.blocks) finish(tile, block, sums);
        });
    }
}

/// The part of `count` items that block `blockIdx.x` takes: neighbours, so that tiles change seldom.
__device__ inline int first_item(int count, unsigned block) {
    return static_cast<int>(static_cast<int64_t>(count) * block / gridDim.x);
}

}  // namespace sheaf::cuda
