// The tile products' engine for compute capability 9.0: stages come by bulk copies of one warp, products are
// wgmma with A in registers; one warpgroup scales while the other's products run. Device code of
// tile_linear.cu and tile_moe.cu.
#pragma once

#include "backend/cuda/matrix/tiles.cuh"
#include "backend/cuda/matrix/wgmma.cuh"

namespace sheaf::cuda {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// Keeps the compiler from moving reads of sums ahead of the wait for them.
template <int registers>
__device__ inline void pin(float (&values)[registers]) {
#pragma unroll
    for (int i = 0; i < registers; ++i) asm volatile("" : "+f"(values[i])::"memory");
}

/// Starts the products of 32 inputs, run `run` of a stage. B's descriptors begin at `b`, its second 64 inputs
/// at `b + half`.
template <int registers>
__device__ __forceinline__ void multiply_run(const uint8_t* unit, uint32_t b, uint32_t half, int run,
                                             uint2 zero, bool add, float (&part)[registers]) {
    const uint2 codes =
        reinterpret_cast<const uint2*>(unit)[2 * (32 * (run / 2) + threadIdx.x % 32) + run % 2];
    uint32_t a[2][4];
    decode_word(codes.x, zero.x, zero.y, a[0]);
    decode_word(codes.y, zero.x, zero.y, a[1]);
    b += static_cast<uint32_t>(run / 2) * half + 4u * (run % 2);
    wgmma_fence();
    wgmma(part, a[0], descriptor(b), add);
    wgmma(part, a[1], descriptor(b + 2), 1);
    wgmma_commit();
}

/// A tile's sums by one warpgroup where they take most registers: one set of sums in flight, with fragments
/// of two runs; while a warpgroup waits and scales, the other one's products run.
template <Scaling scaling, int registers>
__device__ __forceinline__ void sum_wide(Ring& ring, const TileRing& shape, const DeviceMatrix& m,
                                         uint32_t first, int units, float (&total)[2][registers]) {
    const uint32_t half = shape.weights_offset / 32;
    for (int stage = 0; stage < units; ++stage) {
        ring.wait_full();
        const uint32_t b = swizzled_at(shared_address(ring.slot()));
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const uint8_t* unit = ring.slot() + first + 4 * h * m.unit_bytes;
            const UnitScales scales = scales_of(unit, m);
            const uint2 zero = unit_zeros<scaling>(scales, 0);
            float part[registers];
#pragma unroll
            for (int run = 0; run < 4; ++run) {
                if (run >= 2) wgmma_wait<1>();
                multiply_run(unit, b, half, run, zero, run > 0, part);
            }
            const float2 scale = unit_scale<scaling>(scales, 0);
            wgmma_wait<0>();
            pin(part);
            add_scaled(part, scale, total[h]);
        }
        ring.release();
    }
}

template <Scaling scaling>
__device__ __forceinline__ void decode_unit(const uint8_t* unit, const DeviceMatrix& m, uint32_t (&a)[8][4]) {
    const uint2 zero = unit_zeros<scaling>(scales_of(unit, m), 0);
#pragma unroll
    for (int c = 0; c < 2; ++c) {
        const uint4 codes = reinterpret_cast<const uint4*>(unit)[32 * c + threadIdx.x % 32];
        decode_word(codes.x, zero.x, zero.y, a[4 * c]);
        decode_word(codes.y, zero.x, zero.y, a[4 * c + 1]);
        decode_word(codes.z, zero.x, zero.y, a[4 * c + 2]);
        decode_word(codes.w, zero.x, zero.y, a[4 * c + 3]);
    }
}

template <int registers>
__device__ __forceinline__ void multiply_unit(const uint32_t (&a)[8][4], uint32_t b, uint32_t half,
                                              float (&part)[registers]) {
    wgmma_fence();
#pragma unroll
    for (int s = 0; s < 8; ++s)
        wgmma(part, a[s], descriptor(b + static_cast<uint32_t>(s / 4) * half + 2u * (s % 4)), s > 0);
    wgmma_commit();
}

/// The same where registers suffice to decode a half while the products of the one before it run.
template <Scaling scaling, int registers>
__device__ __forceinline__ void sum_narrow(Ring& ring, const TileRing& shape, const DeviceMatrix& m,
                                           uint32_t first, int units, float (&total)[2][registers]) {
    const uint32_t half = shape.weights_offset / 32, second = first + 4 * m.unit_bytes;
    uint32_t a[2][8][4];
    float part[registers];
    Ring next = ring;
    next.wait_full();
    decode_unit<scaling>(next.slot() + first, m, a[0]);
    for (int stage = 0; stage < units; ++stage) {
        const uint8_t* slot = ring.slot();
        const uint32_t b = swizzled_at(shared_address(slot));
        multiply_unit(a[0], b, half, part);
        const float2 scale = unit_scale<scaling>(scales_of(slot + first, m), 0);
        decode_unit<scaling>(slot + second, m, a[1]);
        wgmma_wait<0>();
        pin(part);
        add_scaled(part, scale, total[0]);
        multiply_unit(a[1], b, half, part);
        const float2 second_scale = unit_scale<scaling>(scales_of(slot + second, m), 0);
        next.advance();
        if (stage + 1 < units) {
            next.wait_full();
            decode_unit<scaling>(next.slot() + first, m, a[0]);
        }
        wgmma_wait<0>();
        pin(part);
        add_scaled(part, second_scale, total[1]);
        ring.release();
    }
}

/// The same in groups of 32 (or 64) inputs: a scale after every run.
template <int registers>
__device__ __forceinline__ void sum_finely(Ring& ring, const TileRing& shape, const DeviceMatrix& m,
                                           uint32_t first, int units, float (&total)[2][registers]) {
    const uint32_t half = shape.weights_offset / 32;
    const int shift = m.unit_groups == 4 ? 0 : 1;
    for (int stage = 0; stage < units; ++stage) {
        ring.wait_full();
        const uint32_t b = swizzled_at(shared_address(ring.slot()));
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const uint8_t* unit = ring.slot() + first + 4 * h * m.unit_bytes;
            const UnitScales scales = scales_of(unit, m);
#pragma unroll
            for (int run = 0; run < 4; ++run) {
                float part[registers];
                multiply_run(unit, b, half, run, unit_zeros<Scaling::fine>(scales, run >> shift), false,
                             part);
                const float2 scale = unit_scale<Scaling::fine>(scales, run >> shift);
                wgmma_wait<0>();
                pin(part);
                add_scaled(part, scale, total[h]);
            }
        }
        ring.release();
    }
}

template <int count>
__device__ inline void fewer_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count>
__device__ inline void more_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

#endif

struct WgmmaTiles {
    static constexpr int widest = 128;
    static constexpr uint32_t fillers = 32, arrivals = 1;  // threads that fill a stage, and arrive at it
    template <Scaling scaling>
    using Widths = std::conditional_t<scaling == Scaling::simple, Columns<16, 32, 48, 64, 80, 96, 112, 128>,
                                      Columns<32, 64, 128>>;
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    static constexpr bool exists = true;

    /// Of 168 registers a thread: those that the kernel's producing code can spare.
    template <int count>
    __device__ static void begin_filling() {
        fewer_registers<count>();
    }
    template <int count>
    __device__ static void begin_summing() {
        more_registers<168 + (168 - count) / 2>();
    }

    /// By one warp: announces a stage and starts the copies of its weights, a block a lane.
    __device__ static void fill_weights(const Ring& ring, const TileRing& shape, const DeviceMatrix& m,
                                        const TileWork& work, int unit) {
        const int lane = threadIdx.x, blocks = min(tile_blocks, m.blocks - work.first_block);
        const auto bytes = static_cast<uint32_t>(m.unit_bytes);
        if (lane == 0)
            expect_bytes(ring.full + ring.index, static_cast<uint32_t>(blocks) * bytes +
                                                     static_cast<uint32_t>((work.rows + 7) / 8 * 8) * 256);
        __syncwarp();
        if (lane < blocks)
            bulk_copy(ring.slot() + shape.weights_offset + static_cast<uint32_t>(lane) * bytes,
                      work.weight + (static_cast<int64_t>(work.first_block + lane) * m.units + unit) * bytes,
                      bytes, ring.full + ring.index);
    }

    /// The same of its activations, 64 inputs a lane.
    __device__ static void fill_columns(const Ring& ring, const TileRing& shape, const TileWork& work,
                                        int unit) {
        const int lane = threadIdx.x;
        if (lane < 2)
            bulk_copy(ring.slot() + static_cast<uint32_t>(lane) * (shape.weights_offset / 2),
                      work.columns + ((2 * unit + lane) * work.column_rows + work.first_row) * 128,
                      static_cast<uint32_t>((work.rows + 7) / 8 * 8) * 128, ring.full + ring.index);
    }

    /// A tile's sums over `units` stages by one warpgroup (`group` 0 or 1). This warp's sums of half h belong
    /// to block (group * 2 + h) * 4 + warp: total[h][4 i ...] are rows g, g + 8, columns 8 i + 2 t and the
    /// next.
    template <int columns, Scaling scaling>
    __device__ __forceinline__ static void sum_tile(Ring& ring, const TileRing& shape, const DeviceMatrix& m,
                                                    int units, int group, float (&total)[2][columns / 2]) {
        const int block = group * 8 + static_cast<int>(threadIdx.x / 32 % 4);
        const uint32_t first = shape.weights_offset + static_cast<uint32_t>(block * m.unit_bytes);
#pragma unroll
        for (int h = 0; h < 2; ++h)
#pragma unroll
            for (int i = 0; i < columns / 2; ++i) total[h][i] = 0;
        if constexpr (scaling == Scaling::fine)
            sum_finely(ring, shape, m, first, units, total);
        else if constexpr (columns > 64)
            sum_wide<scaling>(ring, shape, m, first, units, total);
        else
            sum_narrow<scaling>(ring, shape, m, first, units, total);
    }

#else
    static constexpr bool exists = false;
#endif
};

}  // namespace sheaf::cuda
