// Tile products: 256 rows of an int4 weight by up to 128 rows of activations. A producing warpgroup fills a
// ring of stages of 128 inputs; two warpgroups decode codes into A fragments in registers (exactly: code -
// zero point in bf16) and apply a group's scales to its sums in fp32. How stages are filled and multiplied is
// an engine's: tile_wgmma.cuh, tile_mma.cuh. What they and the kernels of tile_linear.cu and tile_moe.cu
// share. Device code.
//
// Activations have been put in order before (arrange.cu): for every 64 inputs, rows of 128 bytes, eight of
// them to a swizzled kilobyte, the inputs in the order that the codes of device_matrix.h ask for; so a tile's
// part is one piece of memory.
#pragma once

#include <type_traits>

#include "backend/cuda/matrix/arranged.cuh"
#include "backend/cuda/matrix/async_copy.cuh"
#include "backend/cuda/matrix/fragments.cuh"

namespace sheaf::cuda {

constexpr int tile_blocks = 16;
constexpr int tile_threads = 384;  // one warpgroup produces, two consume
constexpr int max_tile_stages = 24;
constexpr int staged_rows = 64;                       // rows of results put in order at once,
constexpr uint32_t stager_bytes = staged_rows * 128;  // by each consuming warpgroup
constexpr uint32_t tile_front_bytes = 2048 + 2 * stager_bytes;

struct TileRing {
    uint32_t stage_bytes, weights_offset;  // of a stage: activations first, then sixteen units
    int stages;
};

struct TileWork {
    const uint8_t* weight;   // of the matrix's first unit
    int first_block;         // of 16 rows
    const uint8_t* columns;  // arranged activations
    int64_t column_rows;     // rows the arranged buffer holds, a multiple of 8
    int first_row, rows;     // of the arranged buffer, first_row a multiple of 8
};

/// How the scales of a weight lie: `simple` (is_simple) and `coarse` have one group to a unit.
enum class Scaling { simple, coarse, fine };

/// The numbers of columns that an engine has products for, ascending.
template <int... columns>
struct Columns {};

#if __CUDA_ARCH__ >= 800

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

template <Scaling scaling>
__device__ __forceinline__ uint2 unit_zeros(const UnitScales& scales, int group) {
    if constexpr (scaling == Scaling::simple) return make_uint2(0x43084308u, 0x43084308u);
    return scales.zeros(group, threadIdx.x % 32 / 4);
}

template <Scaling scaling>
__device__ __forceinline__ float2 unit_scale(const UnitScales& scales, int group) {
    const int g = threadIdx.x % 32 / 4;
    if constexpr (scaling != Scaling::simple) return scales.at(group, g);
    const uint32_t pair = reinterpret_cast<const uint32_t*>(scales.data)[g];
    const float2 half = __half22float2(reinterpret_cast<const __half2&>(pair));
    const bool wide = scales.type == ScaleType::bf16;
    return make_float2(wide ? __uint_as_float(pair << 16) : half.x,
                       wide ? __uint_as_float(pair & 0xffff0000u) : half.y);
}

__device__ __forceinline__ UnitScales scales_of(const uint8_t* unit, const DeviceMatrix& m) {
    return {unit + DeviceMatrix::unit_code_bytes, m.scale, m.has_zeros, m.unit_groups};
}

/// Calls work(number of columns as a constant): the first of them that holds `rows`.
template <int columns, int... others, class Work>
__device__ __forceinline__ void with_columns(Columns<columns, others...>, int rows, const Work& work) {
    if constexpr (sizeof...(others) > 0) {
        if (rows > columns) return with_columns(Columns<others...>{}, rows, work);
    }
    work(std::integral_constant<int, columns>{});
}

/// Barriers at the front of the block's memory, then the warpgroups' stagers, then the rows' weights, then
/// stages.
__device__ inline Ring tile_ring(uint8_t* memory, const TileRing& shape, uint32_t full_arrivals) {
    auto* barriers = reinterpret_cast<uint64_t*>(memory);
    Ring ring{memory + tile_front_bytes, barriers, barriers + max_tile_stages, shape.stages,
              shape.stage_bytes};
    if (threadIdx.x < static_cast<unsigned>(shape.stages)) {
        barrier_init(ring.full + threadIdx.x, full_arrivals);
        barrier_init(ring.empty + threadIdx.x, 8);
    }
    barrier_init_done();
    __syncthreads();
    return ring;
}

/// All threads of consuming warpgroup `group`.
__device__ inline void group_barrier(int group) {
    asm volatile("bar.sync %0, 128;" ::"r"(group + 1) : "memory");
}

/// Neighbouring lanes (g even, g odd) swap, so that each holds rows g and g + 1 of one column: the even lane
/// column 2 t, the odd one 2 t + 1.
__device__ inline float2 pair_of_rows(float first_column, float second_column) {
    const bool odd = threadIdx.x / 4 % 2;
    const float other = __shfl_xor_sync(0xffffffffu, odd ? first_column : second_column, 4);
    return odd ? make_float2(other, second_column) : make_float2(first_column, other);
}

__device__ inline uint32_t bf16_pair(float2 values) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(values.x, values.y);
    return reinterpret_cast<const uint32_t&>(pair);
}

/// 64 rows of the weight by this warpgroup's columns, from `first` on, in bf16, through its stager:
/// put(column, piece, eight rows from 8 * piece on) for every column below `rows`.
template <int first = 0, int registers, class Put>
__device__ __forceinline__ void put_in_rows(uint8_t* stager, int group, int rows,
                                            const float (&total)[registers], const Put& put) {
    constexpr int all = registers * 2, end = first + staged_rows < all ? first + staged_rows : all;
    const int thread = threadIdx.x % 128, warp = thread / 32, g = thread % 32 / 4, t = thread % 4;
    group_barrier(group);
#pragma unroll
    for (int i = first / 8; i < end / 8; ++i) {
        const int row = 8 * i - first + 2 * t + g % 2;
        uint8_t* at = stager + row * 128 + g / 2 * 4;
        *reinterpret_cast<uint32_t*>(at + ((2 * warp) ^ (row % 8)) * 16) =
            bf16_pair(pair_of_rows(total[4 * i], total[4 * i + 1]));
        *reinterpret_cast<uint32_t*>(at + ((2 * warp + 1) ^ (row % 8)) * 16) =
            bf16_pair(pair_of_rows(total[4 * i + 2], total[4 * i + 3]));
    }
    group_barrier(group);
    const int pieces = min(end, rows) * 8;
    for (int i = first * 8 + thread; i < pieces; i += 128) {
        const int row = i / 8 - first, piece = i % 8;
        put(i / 8, piece, *reinterpret_cast<const uint4*>(stager + row * 128 + (piece ^ (row % 8)) * 16));
    }
    if constexpr (end < all) put_in_rows<end>(stager, group, rows, total, put);
}

#endif

}  // namespace sheaf::cuda
