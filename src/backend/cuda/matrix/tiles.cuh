// Tile products: 128 rows of an int4 weight by up to 160 rows of activations on wgmma. A producing thread
// fills a ring of stages of 128 inputs with bulk copies; two warpgroups decode codes into A fragments in
// registers (exactly: code - zero point in bf16) and apply a group's scales to its sums in fp32. Device code
// of tile_linear.cu and tile_moe.cu.
//
// Activations have been put in order before (arrange.cu): for every 64 inputs, rows of 128 bytes, eight of
// them to a swizzled kilobyte, the inputs in the order that the codes of device_matrix.h ask for; so a tile's
// part is one piece of memory.
#pragma once

#include "backend/cuda/matrix/arranged.cuh"
#include "backend/cuda/matrix/async_copy.cuh"
#include "backend/cuda/matrix/fragments.cuh"
#include "backend/cuda/matrix/wgmma.cuh"

namespace sheaf::cuda {

constexpr int tile_threads = 384, tile_blocks = 8, tile_weight_rows = 16 * tile_blocks;
constexpr int max_tile_stages = 12;

struct TileRing {
    uint32_t stage_bytes, weights_offset;  // of a stage: activations first, then eight units
    int stages;
    Fill fill;
};

struct TileWork {
    const uint8_t* weight;   // of the matrix's first unit
    int first_block;         // of 16 rows
    const uint8_t* columns;  // arranged activations
    int64_t column_rows;     // rows the arranged buffer holds, a multiple of 8
    int first_row, rows;     // of the arranged buffer, first_row a multiple of 8
    int first_unit, units;   // of 128 inputs: the part of the sum
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// By one thread, or by all four warps of the first warpgroup.
__device__ inline void produce_tile(Ring& ring, const TileRing& shape, const DeviceMatrix& m,
                                    const TileWork& work) {
    const int blocks = min(tile_blocks, m.blocks - work.first_block), padded = (work.rows + 7) / 8 * 8;
    const auto unit = static_cast<uint32_t>(m.unit_bytes), half = static_cast<uint32_t>(padded) * 128;
    const uint32_t warp = threadIdx.x / 32;
    for (int stage = work.first_unit; stage < work.first_unit + work.units; ++stage) {
        ring.wait_empty();
        uint8_t *slot = ring.slot(), *units = slot + shape.weights_offset;
        uint64_t* full = ring.full + ring.index;
        const uint8_t* columns = work.columns + (2 * stage * work.column_rows + work.first_row) * 128;
        const uint8_t* weight =
            work.weight + (static_cast<int64_t>(work.first_block) * m.units + stage) * unit;
        if (shape.fill == Fill::lanes) {
            for (int c = 0; c < 2; ++c)
                lanes_copy(slot + c * shape.weights_offset / 2, columns + c * work.column_rows * 128, half,
                           warp);
            for (int b = 0; b < blocks; ++b)
                lanes_copy(units + b * unit, weight + static_cast<int64_t>(b) * m.units * unit, unit,
                           (warp + 2 * static_cast<uint32_t>(b)) % filling_warps);
            arrive_after_copies(full);
        } else {
            expect_bytes(full, static_cast<uint32_t>(blocks) * unit + 2 * half);
            for (int c = 0; c < 2; ++c)
                bulk_copy(slot + c * shape.weights_offset / 2, columns + c * work.column_rows * 128, half,
                          full);
            for (int b = 0; b < blocks; ++b)
                bulk_copy(units + b * unit, weight + static_cast<int64_t>(b) * m.units * unit, unit, full);
        }
        ring.advance();
    }
}

/// Whether this thread of the first warpgroup takes part in filling.
__device__ inline bool fills(const TileRing& shape) {
    return shape.fill == Fill::lanes || threadIdx.x == 0;
}

/// The four A fragments of 64 inputs.
__device__ inline void decode_chunk(const uint4& codes, const uint2& zero, const uint2& next_zero,
                                    uint32_t (&a)[4][4]) {
    decode_word(codes.x, zero.x, zero.y, a[0]);
    decode_word(codes.y, zero.x, zero.y, a[1]);
    decode_word(codes.z, next_zero.x, next_zero.y, a[2]);
    decode_word(codes.w, next_zero.x, next_zero.y, a[3]);
}

template <int registers>
__device__ inline void add_scaled(const float (&part)[registers], float2 scale, float (&total)[registers]) {
#pragma unroll
    for (int i = 0; i < registers; i += 4) {
        total[i] = fmaf(scale.x, part[i], total[i]);
        total[i + 1] = fmaf(scale.x, part[i + 1], total[i + 1]);
        total[i + 2] = fmaf(scale.y, part[i + 2], total[i + 2]);
        total[i + 3] = fmaf(scale.y, part[i + 3], total[i + 3]);
    }
}

/// Keeps the compiler from moving reads of sums ahead of the wait for them.
template <int registers>
__device__ inline void pin(float (&values)[registers]) {
#pragma unroll
    for (int i = 0; i < registers; ++i) asm volatile("" : "+f"(values[i])::"memory");
}

/// One stage in groups of 128 inputs: eight products, then the scale.
template <int columns>
__device__ inline void multiply_stage(const uint8_t* unit, uint32_t b, uint32_t half, const DeviceMatrix& m,
                                      float (&part)[columns / 2], float (&total)[columns / 2]) {
    const int lane = threadIdx.x % 32, g = lane / 4;
    const UnitScales scales{unit + DeviceMatrix::unit_code_bytes, m.scale, m.has_zeros, 1};
    const uint2 zero = scales.zeros(0, g);
    uint32_t a[2][4][4];
#pragma unroll
    for (int c = 0; c < 2; ++c) {
        decode_chunk(reinterpret_cast<const uint4*>(unit)[32 * c + lane], zero, zero, a[c]);
        wgmma_fence();
#pragma unroll
        for (int s = 0; s < 4; ++s)
            wgmma(part, a[c][s], swizzled_descriptor(b + static_cast<uint32_t>(c) * half + 32u * s),
                  c + s > 0);
        wgmma_commit();
    }
    const float2 scale = scales.at(0, g);
    wgmma_wait<0>();
    pin(part);
    add_scaled(part, scale, total);
}

/// The same in groups of 32 (or 64) inputs: a scale after every two products.
template <int columns>
__device__ inline void multiply_stage_finely(const uint8_t* unit, uint32_t b, uint32_t half,
                                             const DeviceMatrix& m, float (&part)[columns / 2],
                                             float (&total)[columns / 2]) {
    const int lane = threadIdx.x % 32, g = lane / 4, shift = m.unit_groups == 4 ? 0 : 1;
    const UnitScales scales{unit + DeviceMatrix::unit_code_bytes, m.scale, m.has_zeros, m.unit_groups};
#pragma unroll
    for (int run = 0; run < 4; ++run) {
        const int c = run / 2;
        const uint4 codes = reinterpret_cast<const uint4*>(unit)[32 * c + lane];
        const uint2 zero = scales.zeros(run >> shift, g);
        uint32_t a[2][4];
        decode_word(run % 2 ? codes.z : codes.x, zero.x, zero.y, a[0]);
        decode_word(run % 2 ? codes.w : codes.y, zero.x, zero.y, a[1]);
        wgmma_fence();
#pragma unroll
        for (int s = 0; s < 2; ++s)
            wgmma(part, a[s],
                  swizzled_descriptor(b + static_cast<uint32_t>(c) * half + 32u * (2 * (run % 2) + s)),
                  s > 0);
        wgmma_commit();
        const float2 scale = scales.at(run >> shift, g);
        wgmma_wait<0>();
        pin(part);
        add_scaled(part, scale, total);
    }
}

/// All stages of a tile by one warpgroup (`group` 0 or 1: 64 rows); finish(block of 16 rows, total) takes
/// this warp's sums: total[4 i ...] are rows g, g + 8, columns 8 i + 2 t and the next.
template <int columns, bool fine, class Finish>
__device__ inline void consume_tile(Ring& ring, const TileRing& shape, const DeviceMatrix& m, int first_block,
                                    int units, int group, const Finish& finish) {
    const int local = group * 4 + static_cast<int>(threadIdx.x / 32 % 4);
    float part[columns / 2], total[columns / 2];
#pragma unroll
    for (int i = 0; i < columns / 2; ++i) part[i] = total[i] = 0;
    for (int stage = 0; stage < units; ++stage) {
        ring.wait_full();
        if (shape.fill == Fill::lanes) fence_for_wgmma();
        const uint8_t* slot = ring.slot();
        const uint8_t* unit = slot + shape.weights_offset + local * m.unit_bytes;
        const uint32_t b = shared_address(slot);
        if (fine)
            multiply_stage_finely<columns>(unit, b, shape.weights_offset / 2, m, part, total);
        else
            multiply_stage<columns>(unit, b, shape.weights_offset / 2, m, part, total);
        ring.release();
    }
    if (first_block + local < m.blocks) finish(first_block + local, total);
}

/// The narrowest product that holds `rows` columns.
template <bool fine, class Finish>
__device__ inline void consume_rows(Ring& ring, const TileRing& shape, const DeviceMatrix& m, int first_block,
                                    int rows, int units, int group, const Finish& finish) {
    if (rows <= 16)
        consume_tile<16, fine>(ring, shape, m, first_block, units, group, finish);
    else if (rows <= 32)
        consume_tile<32, fine>(ring, shape, m, first_block, units, group, finish);
    else if (rows <= 64)
        consume_tile<64, fine>(ring, shape, m, first_block, units, group, finish);
    else if (rows <= 128)
        consume_tile<128, fine>(ring, shape, m, first_block, units, group, finish);
    else
        consume_tile<160, fine>(ring, shape, m, first_block, units, group, finish);
}

template <int count>
__device__ inline void fewer_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count>
__device__ inline void more_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

/// Barriers at the front of the block's memory, stages from the next kilobyte on.
__device__ inline Ring tile_ring(uint8_t* memory, const TileRing& shape) {
    auto* barriers = reinterpret_cast<uint64_t*>(memory);
    Ring ring{memory + 1024, barriers, barriers + max_tile_stages, shape.stages, shape.stage_bytes};
    if (threadIdx.x < static_cast<unsigned>(shape.stages)) {
        barrier_init(ring.full + threadIdx.x, fill_arrivals(shape.fill));
        barrier_init(ring.empty + threadIdx.x, 8);
    }
    barrier_init_done();
    __syncthreads();
    return ring;
}

/// Neighbouring lanes (g even, g odd) swap, so that each holds rows g and g + 1 of one column: the even lane
/// column 2 t, the odd one 2 t + 1.
__device__ inline float2 pair_of_rows(float first_column, float second_column) {
    const bool odd = threadIdx.x / 4 % 2;
    const float other = __shfl_xor_sync(0xffffffffu, odd ? first_column : second_column, 4);
    return odd ? make_float2(other, second_column) : make_float2(first_column, other);
}

#endif

}  // namespace sheaf::cuda
