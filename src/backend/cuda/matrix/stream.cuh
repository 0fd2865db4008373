// Streaming products of independent warps: each warp has a ring of its own in shared memory, filled far ahead
// with units of weights (16 rows by some inputs) that it alone multiplies, so that no warp waits for another
// while weights flow. Device code of the stream_*.cu files.
//
// A warp walks over runs: neighbouring units of one block of 16 rows. Where a block of rows is cut into the
// runs of several warps (slices of the inputs), their sums meet in shared memory and are added in the order
// of the slices.
#pragma once

#include <type_traits>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/async_copy.cuh"
#include "backend/cuda/matrix/fragments.cuh"
#include "backend/cuda/matrix/stream_plan.h"

namespace sheaf::cuda {

/// Asks for all shared memory of the multiprocessors a kernel runs on, so that blocks of two kernels fit.
template <class Call>
void share_processors(void (*kernel)(const Call)) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                               cudaSharedmemCarveoutMaxShared),
          "shared memory of a kernel");
}

/// The number of this warp; known to be the same in all its lanes.
__device__ inline int this_warp() {
    return __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x / 32), 0);
}

/// `count` neighbouring units of 16 rows. step: int4: bytes of a unit; bf16: of a row, of which `left`
/// remain.
struct Run {
    const uint8_t* data;
    int count, step, left;
};

/// Units, a run's step, bytes of a unit in a slot and of a block of 16 rows in one format.
struct UnitSizes {
    int units, step;
    uint32_t unit_bytes;
    int64_t block_bytes;

    /// Units [first, first + count) of the block at `block`.
    __device__ Run run(const uint8_t* block, int first, int count) const {
        const int begin = first * (static_cast<int>(unit_bytes) == step ? step : 128);
        return {block + begin, count, step, step - begin};
    }
};

template <class Format>
__device__ inline UnitSizes unit_sizes(const DeviceMatrix& m) {
    if constexpr (Format::packed) {
        return {m.units, m.unit_bytes, static_cast<uint32_t>(m.unit_bytes),
                static_cast<int64_t>(m.units) * m.unit_bytes};
    } else {
        const int inputs = static_cast<int>(m.row_stride);
        return {(inputs + Format::unit_inputs - 1) / Format::unit_inputs, inputs * 2, Format::unit_bytes,
                static_cast<int64_t>(inputs) * 2 * DeviceMatrix::block_rows};
    }
}

/// A warp's ring: slots of a few units, filled in order and read in order.
struct WarpRing {
    uint32_t data, full;  // addresses in shared memory
    uint32_t slot_bytes;
    int slots, slot_units;
    Fill fill;
    int index = 0;
    uint32_t round = 0;

    __device__ WarpRing(const uint8_t* memory, const RingPlan& plan, Fill how)
        : slot_bytes(static_cast<uint32_t>(plan.slot_units) * plan.unit_bytes),
          slots(plan.slots),
          slot_units(plan.slot_units),
          fill(how) {
        const int warp = this_warp(), lane = threadIdx.x % 32;
        full = shared_address(memory) + static_cast<uint32_t>(warp * max_ring_slots * 8);
        data = shared_address(memory) + ring_barrier_bytes + static_cast<uint32_t>(warp * slots) * slot_bytes;
        if (lane < slots) barrier_init(full + 8 * lane, fill == Fill::bulk ? 1 : 32);
        barrier_init_done();
        __syncwarp();
    }
    __device__ uint32_t slot() const { return data + static_cast<uint32_t>(index) * slot_bytes; }
    __device__ uint32_t barrier() const { return full + 8 * static_cast<uint32_t>(index); }
    __device__ void wait() const { barrier_wait(barrier(), round); }
    __device__ void advance() {
        if (++index == slots) {
            index = 0;
            round ^= 1;
        }
    }
};

template <bool simple, bool halves>
__device__ inline void fill_slot(Int4Format<simple, halves>, const WarpRing& ring, const Run& run,
                                 int units) {
    const int bytes = units * run.step;
    if (ring.fill == Fill::bulk) {
        if (one_lane()) {
            expect_bytes(ring.barrier(), static_cast<uint32_t>(bytes));
            bulk_copy(ring.slot(), run.data, static_cast<uint32_t>(bytes), ring.barrier());
        }
    } else {
        const int lane = threadIdx.x % 32;
#pragma unroll 1
        for (int at = lane * 16; at < bytes; at += 512) lane_copy(ring.slot() + at, run.data + at, 16);
        arrive_after_copies(ring.barrier());
    }
}
template <bool simple, bool halves>
__device__ inline void skip_units(Int4Format<simple, halves>, Run& run, int units) {
    run.data += units * run.step;
    run.count -= units;
}

/// 16 bytes a lane and row; what no row holds is zeros.
__device__ inline void fill_slot(Bf16Units, const WarpRing& ring, const Run& run, int units) {
    const int row = threadIdx.x % 32 / 8, piece = threadIdx.x % 8;
    const int64_t rows = static_cast<int64_t>(run.step) * 4;
#pragma unroll 1
    for (int u = 0; u < units; ++u) {
        const int at = u * 128 + piece * 16;
        const uint8_t* source = run.data + static_cast<int64_t>(row) * run.step + (at < run.left ? at : 0);
        const uint32_t target = ring.slot() + static_cast<uint32_t>(u * Bf16Units::unit_bytes);
#pragma unroll
        for (int i = 0; i < 4; ++i)
            lane_copy(target + Bf16Units::place(4 * i + row, piece), source + i * rows,
                      at < run.left ? 16 : 0);
    }
    arrive_after_copies(ring.barrier());
}
__device__ inline void skip_units(Bf16Units, Run& run, int units) {
    run.data += units * 128;
    run.left -= units * 128;
    run.count -= units;
}

/// Fills a ring's slots, one after another, with the units of runs [0, runs); a slot holds units of one run.
template <class Format, class RunOf>
struct Filler {
    const RunOf& run_of;
    int runs, next = 0;
    Run run{};

    __device__ Filler(const RunOf& of, int count) : run_of(of), runs(count) {}
    __device__ void fill_all(WarpRing ring) {
        for (int i = 0; i < ring.slots; ++i) {
            fill(ring);
            ring.advance();
        }
    }
    /// The ring's current slot.
    __device__ void fill(const WarpRing& ring) {
        if (run.count == 0) {
            if (next >= runs) return;
            run = run_of(next++);
        }
        const int units = min(run.count, ring.slot_units);
        fill_slot(Format{}, ring, run, units);
        skip_units(Format{}, run, units);
    }
};

/// Columns of activations, each of rows of `inputs` values.
struct Activations {
    const __nv_bfloat16* data;
    int columns;
    int64_t column_stride;
    int rows;
    int64_t row_stride;
    int inputs;

    /// Where input k lies, or (beyond the end) any input.
    __device__ const __nv_bfloat16* at(int column, int row, int k) const {
        return data + column * column_stride + row * row_stride + (k < inputs ? k : 0);
    }
};

/// Activations of up to 8 rows in shared memory, in the order of the B fragments: of every 128 inputs the
/// columns of 256 bytes, of each runs of 32 inputs (neighbours change places in odd columns, against bank
/// conflicts) of four pieces of 16 bytes. A lane without a column reads another's; its results are not used.
struct StagedColumns {
    static constexpr bool far = false, half = false;
    uint32_t even, odd, stride;

    /// `rows` rows of each column, one after another. By all threads of the block; complete after
    /// wait_for_stage() and a block barrier.
    __device__ static void stage(const uint8_t* memory, const Activations& x) {
        const int row_pieces = (x.inputs + 127) / 128 * 16;
        const uint32_t target = shared_address(memory);
        for (int i = threadIdx.x; i < row_pieces * x.rows; i += stream_threads) {
            const int row = i / row_pieces, k = (i - row * row_pieces) * 8;
            for (int g = 0; g < x.columns; ++g)
                lane_copy(target + (i / 16 * x.columns + g) * 256 + ((i % 16) ^ (g % 2 * 4)) * 16,
                          x.at(g, row, k), k < x.inputs ? 16 : 0);
        }
    }
    __device__ static void wait_for_stage() { asm volatile("cp.async.wait_all;" ::: "memory"); }

    __device__ StagedColumns(const uint8_t* memory, int columns, int) {
        const int g = min(static_cast<int>(threadIdx.x % 32 / 4), columns - 1), t = threadIdx.x % 4;
        stride = static_cast<uint32_t>(columns) * 256;
        even = shared_address(memory) + static_cast<uint32_t>(g * 256 + t * 16 + g % 2 * 64);
        odd = even ^ 64;
    }
    template <int words>
    __device__ void load(int unit, uint32_t (&b)[words]) const {
        const uint32_t at = words == 16 ? static_cast<uint32_t>(unit) * stride
                                        : static_cast<uint32_t>(unit / 2) * stride + unit % 2 * 128;
#pragma unroll
        for (int run = 0; run < words / 4; ++run) {
            const uint4 values = load_shared((run % 2 ? odd : even) + at + run / 2 * 128);
            b[4 * run] = values.x;
            b[4 * run + 1] = values.y;
            b[4 * run + 2] = values.z;
            b[4 * run + 3] = values.w;
        }
    }
};

/// The same in half precision, exactly: of every column 128 inputs share the power of two that brings the
/// largest of them below 2^15 (what is 2^-29 of it or less loses bits). Behind them, per 128 inputs and pair
/// of columns, the terms of Int4Format::half_product: f = 2^24 over the power, and -8 2^-24 f times the
/// inputs' sum.
struct HalfColumns : StagedColumns {
    static constexpr bool half = true;
    uint32_t pairs, all_terms;

    __device__ static void stage(uint8_t* memory, const Activations& x) {
        const int row_pieces = (x.inputs + 127) / 128 * 16, all = row_pieces * x.rows;
        auto* terms = reinterpret_cast<float2*>(memory + all * 16 * x.columns);
        for (int first = threadIdx.x / 32 * 32; first < all; first += stream_threads) {
            const int i = first + static_cast<int>(threadIdx.x % 32), row = i / row_pieces,
                      k = (i - row * row_pieces) * 8;
            uint4 values[stream_columns];
#pragma unroll
            for (int g = 0; g < stream_columns; ++g) {
                values[g] = make_uint4(0, 0, 0, 0);
                if (g < x.columns && i < all && k < x.inputs)
                    values[g] = *reinterpret_cast<const uint4*>(x.at(g, row, k));
            }
#pragma unroll
            for (int g = 0; g < stream_columns; ++g) {
                if (g >= x.columns) break;
                const float2 term = convert(values[g]);
                if (i >= all) continue;
                *reinterpret_cast<uint4*>(memory + (i / 16 * x.columns + g) * 256 +
                                          ((i % 16) ^ (g % 2 * 4)) * 16) = values[g];
                if (i % 16 == 0) terms[(i / 16) * ((x.columns + 1) / 2) * 2 + g] = term;
            }
        }
    }
    /// 16 lanes share the terms.
    __device__ static float2 convert(uint4& values) {
        uint32_t words[4] = {values.x, values.y, values.z, values.w};
        uint32_t largest = 0;
#pragma unroll
        for (int i = 0; i < 4; ++i)
            largest = max(largest, max(words[i] << 16 & 0x7fffffffu, words[i] & 0x7fff0000u));
        constexpr uint32_t lanes = 0xffffffffu;
#pragma unroll
        for (int step = 8; step > 0; step /= 2) largest = max(largest, __shfl_xor_sync(lanes, largest, step));
        const uint32_t exponent = max(largest >> 23, 16u);
        const float power = __uint_as_float((268 - exponent) << 23);
        float sum = 0;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const float low = __uint_as_float(words[i] << 16) * power,
                        high = __uint_as_float(words[i] & 0xffff0000u) * power;
            const __half2 both = __floats2half2_rn(low, high);
            words[i] = reinterpret_cast<const uint32_t&>(both);
            sum += low + high;
        }
        values = make_uint4(words[0], words[1], words[2], words[3]);
#pragma unroll
        for (int step = 8; step > 0; step /= 2) sum += __shfl_xor_sync(lanes, sum, step);
        return make_float2(__uint_as_float((exponent + 10) << 23),
                           -8 * sum * __uint_as_float((exponent - 14) << 23));
    }
    __device__ static void wait_for_stage() {}

    /// units: of all rows.
    __device__ HalfColumns(const uint8_t* memory, int columns, int units)
        : StagedColumns(memory, columns, units),
          pairs(static_cast<uint32_t>(columns + 1) / 2),
          all_terms(shared_address(memory) + static_cast<uint32_t>(units * columns) * 256 +
                    min(threadIdx.x % 4, pairs - 1) * 16) {}
    __device__ float4 terms(int unit) const {
        const uint4 bits = load_shared(all_terms + static_cast<uint32_t>(unit) * pairs * 16);
        return make_float4(__uint_as_float(bits.x), __uint_as_float(bits.y), __uint_as_float(bits.z),
                           __uint_as_float(bits.w));
    }
};

/// How a format's activations are staged.
template <class Format>
using Staged = std::conditional_t<Format::half, HalfColumns, StagedColumns>;

/// Activations where they lie: `row` is this lane's column, or null.
struct RowColumns {
    static constexpr bool far = true, half = false;  // worth asking for one unit ahead
    const __nv_bfloat16* row;
    int inputs;

    template <int words>
    __device__ void load(int unit, uint32_t (&b)[words]) const {
        const int k = unit * (words * 8) + threadIdx.x % 4 * 8;
#pragma unroll
        for (int run = 0; run < words / 4; ++run) {
            uint4 values = make_uint4(0, 0, 0, 0);
            if (row && k + 32 * run < inputs) values = *reinterpret_cast<const uint4*>(row + k + 32 * run);
            b[4 * run] = values.x;
            b[4 * run + 1] = values.y;
            b[4 * run + 2] = values.z;
            b[4 * run + 3] = values.w;
        }
    }
};

/// Adds the product of units [first, first + count), a run, to `total`.
template <class Format, class Columns, class FillerType>
__device__ inline void multiply_run(WarpRing& ring, FillerType& filler, const DeviceMatrix& m, int first,
                                    int count, const Columns& columns, float (&total)[4]) {
    const uint32_t unit_bytes = Format::packed ? static_cast<uint32_t>(m.unit_bytes) : Bf16Units::unit_bytes;
    uint32_t next[Format::words];
    if constexpr (Columns::far) columns.load(first, next);
    const int end = first + count;
    for (int begin = first; begin < end; begin += ring.slot_units) {
        const int stop = min(begin + ring.slot_units, end);
        uint32_t place = ring.slot();
        ring.wait();
#pragma unroll 1
        for (int unit = begin; unit < stop; ++unit) {
            uint32_t b[Format::words];
            if constexpr (Columns::far) {
#pragma unroll
                for (int i = 0; i < Format::words; ++i) b[i] = next[i];
                if (unit + 1 < end) columns.load(unit + 1, next);
            } else {
                columns.load(unit, b);
            }
            if constexpr (Columns::half)
                Format::half_product(place, m, b, columns.terms(unit), total);
            else
                Format::product(place, m, b, total);
            place += unit_bytes;
        }
        __syncwarp();
        filler.fill(ring);
        ring.advance();
    }
}

/// The items [begin, end) of this block of threads, and which of them its warps take: teams of `slices` warps
/// (a power of two) by turns, each warp the same slice of the units.
struct Share {
    int begin, end, slices, shift;

    __device__ Share(int items, int of_slices)
        : begin(static_cast<int>(static_cast<int64_t>(items) * blockIdx.x / gridDim.x)),
          end(static_cast<int>(static_cast<int64_t>(items) * (blockIdx.x + 1) / gridDim.x)),
          slices(of_slices),
          shift((slices > 1) + (slices > 2) + (slices > 4) + (slices > 8)) {}
    __device__ int teams() const { return stream_warps >> shift; }
    __device__ int team() const { return this_warp() >> shift; }
    __device__ int slice() const { return this_warp() & (slices - 1); }
    __device__ int item(int turn) const { return begin + team() + turn * teams(); }
    __device__ int turns_from(int first) const {
        const int left = end - begin - first + teams() - 1;
        return left > 0 ? left >> (4 - shift) : 0;
    }
    __device__ int turns() const { return turns_from(team()); }  // of this warp
    __device__ int most_turns() const { return turns_from(0); }
    __device__ int first_unit(int units) const { return units * slice() >> shift; }
    __device__ int unit_count(int units) const {
        return (units * (slice() + 1) >> shift) - first_unit(units);
    }
};

/// The warps' sums where several share an item: room for `turns` turns of all warps.
struct Sums {
    float4* data;
    int pairs, turns;  // pairs of columns
};

/// All items of a share: multiply(turn, total) makes this warp's part of an item, finish(item, g, t, sums)
/// takes columns 2 t and 2 t + 1 of rows g and g + 8.
template <class Multiply, class Finish>
__device__ inline void work(const Share& share, const Sums& sums, const Multiply& multiply,
                            const Finish& finish) {
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    if (share.slices == 1) {
        for (int turn = 0; turn < share.turns(); ++turn) {
            float total[4] = {0, 0, 0, 0};
            multiply(turn, total);
            finish(share.item(turn), g, t, make_float4(total[0], total[1], total[2], total[3]));
        }
        return;
    }
    const int most = share.most_turns(), place_count = 8 * sums.pairs;
    for (int begin = 0; begin < most; begin += sums.turns) {
        const int end = min(begin + sums.turns, most), mine = min(end, share.turns());
        for (int turn = begin; turn < mine; ++turn) {
            float total[4] = {0, 0, 0, 0};
            multiply(turn, total);
            if (t < sums.pairs)
                sums.data[((turn - begin) * stream_warps + warp) * place_count + g * sums.pairs + t] =
                    make_float4(total[0], total[1], total[2], total[3]);
        }
        __syncthreads();
        for (int i = threadIdx.x; i < (end - begin) * share.teams() * place_count; i += stream_threads) {
            const int at = i / place_count, place = i - at * place_count;
            const int item = share.begin + begin * share.teams() + at;
            if (item >= share.end) break;
            float4 sum = sums.data[at * share.slices * place_count + place];
            for (int s = 1; s < share.slices; ++s) {
                const float4 more = sums.data[(at * share.slices + s) * place_count + place];
                sum = make_float4(sum.x + more.x, sum.y + more.y, sum.z + more.z, sum.w + more.w);
            }
            finish(item, place / sums.pairs, place % sums.pairs, sum);
        }
        if (end < most) __syncthreads();
    }
}

}  // namespace sheaf::cuda
