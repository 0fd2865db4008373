// The tile products' engine for every architecture from compute capability 8.0 on: stages come by cp.async of
// a warpgroup, products are mma.sync. Narrower than wgmma's tiles, for sums must fit 168 registers. Device
// code of tile_linear.cu and tile_moe.cu.
#pragma once

#include "backend/cuda/matrix/tiles.cuh"

namespace sheaf::cuda {

#if __CUDA_ARCH__ >= 800

/// Four 8 x 8 matrices of 16-bit values: lane 8 i + r gives row r of matrix i.
__device__ inline void load_matrices(uint32_t address, uint32_t (&to)[4]) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

/// One stage of eight columns: their activations, in pieces of 32 inputs (two products).
struct ColumnFragments {
    uint32_t b[4][4];

    /// `rows`: where the columns' rows of the first 64 inputs lie, 1,024 bytes; `half` bytes on, of the
    /// others.
    __device__ ColumnFragments(uint32_t rows, uint32_t half) {
        const uint32_t lane = threadIdx.x % 32, row = lane % 8;
#pragma unroll
        for (uint32_t run = 0; run < 4; ++run)
            load_matrices(rows + run / 2 * half + row * 128 + ((run % 2 * 4 + lane / 8) ^ row) * 16, b[run]);
    }
};

#endif

struct MmaTiles {
    static constexpr int widest = 64;
    static constexpr uint32_t fillers = 32 * filling_warps, arrivals = fillers;
    template <Scaling>
    using Widths = Columns<16, 32, 64>;
#if __CUDA_ARCH__ >= 800
    static constexpr bool exists = true;

    template <int>
    __device__ static void begin_filling() {}
    template <int>
    __device__ static void begin_summing() {}

    __device__ static void fill_weights(const Ring& ring, const TileRing& shape, const DeviceMatrix& m,
                                        const TileWork& work, int unit) {
        const int blocks = min(tile_blocks, m.blocks - work.first_block);
        const auto bytes = static_cast<uint32_t>(m.unit_bytes);
        for (int b = 0; b < blocks; ++b)
            lanes_copy(ring.slot() + shape.weights_offset + static_cast<uint32_t>(b) * bytes,
                       work.weight + (static_cast<int64_t>(work.first_block + b) * m.units + unit) * bytes,
                       bytes, (threadIdx.x / 32 + 2 * static_cast<uint32_t>(b)) % filling_warps);
    }

    __device__ static void fill_columns(const Ring& ring, const TileRing& shape, const TileWork& work,
                                        int unit) {
        for (int c = 0; c < 2; ++c)
            lanes_copy(ring.slot() + static_cast<uint32_t>(c) * (shape.weights_offset / 2),
                       work.columns + ((2 * unit + c) * work.column_rows + work.first_row) * 128,
                       static_cast<uint32_t>((work.rows + 7) / 8 * 8) * 128, threadIdx.x / 32);
        arrive_after_copies(ring.full + ring.index);
    }

    template <int columns, Scaling scaling>
    __device__ __forceinline__ static void sum_tile(Ring& ring, const TileRing& shape, const DeviceMatrix& m,
                                                    int units, int group, float (&total)[2][columns / 2]) {
        const int block = group * 8 + static_cast<int>(threadIdx.x / 32 % 4);
#pragma unroll
        for (int i = 0; i < columns / 2; ++i) total[0][i] = total[1][i] = 0;
        for (int stage = 0; stage < units; ++stage) {
            ring.wait_full();
            const uint8_t* unit = ring.slot() + shape.weights_offset + block * m.unit_bytes;
            const uint32_t rows = shared_address(ring.slot()), half = shape.weights_offset / 2;
            sum_half<scaling>(unit, m, rows, half, total[0]);
            sum_half<scaling>(unit + 4 * m.unit_bytes, m, rows, half, total[1]);
            ring.release();
        }
    }

  private:
    template <Scaling scaling, int registers>
    __device__ __forceinline__ static void sum_half(const uint8_t* unit, const DeviceMatrix& m, uint32_t rows,
                                                    uint32_t half, float (&total)[registers]) {
        constexpr int groups = scaling == Scaling::fine ? 4 : 1;
        const int shift = m.unit_groups == 2 ? 1 : 0;
        const UnitScales scales = scales_of(unit, m);
        uint32_t a[8][4];
        float2 scale[groups];
#pragma unroll
        for (int run = 0; run < 4; ++run) {
            if (run < groups) scale[run] = unit_scale<scaling>(scales, run >> shift);
            const uint2 zero = unit_zeros<scaling>(scales, groups == 1 ? 0 : run >> shift);
            const uint2 codes =
                reinterpret_cast<const uint2*>(unit)[2 * (32 * (run / 2) + threadIdx.x % 32) + run % 2];
            decode_word(codes.x, zero.x, zero.y, a[2 * run]);
            decode_word(codes.y, zero.x, zero.y, a[2 * run + 1]);
        }
#pragma unroll
        for (int i = 0; i < registers / 4; ++i) {
            const ColumnFragments columns(rows + static_cast<uint32_t>(i) * 1024, half);
            float part[groups][4];
#pragma unroll
            for (int run = 0; run < 4; ++run) {
                float(&sums)[4] = part[run % groups];
                if (run < groups) sums[0] = sums[1] = sums[2] = sums[3] = 0;
                multiply_add(sums, a[2 * run], columns.b[run][0], columns.b[run][1]);
                multiply_add(sums, a[2 * run + 1], columns.b[run][2], columns.b[run][3]);
            }
#pragma unroll
            for (int group = 0; group < groups; ++group) {
                total[4 * i] = fmaf(scale[group].x, part[group][0], total[4 * i]);
                total[4 * i + 1] = fmaf(scale[group].x, part[group][1], total[4 * i + 1]);
                total[4 * i + 2] = fmaf(scale[group].y, part[group][2], total[4 * i + 2]);
                total[4 * i + 3] = fmaf(scale[group].y, part[group][3], total[4 * i + 3]);
            }
        }
    }
#else
    static constexpr bool exists = false;
#endif
};

}  // namespace sheaf::cuda
