// The tile product of linear layers.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/launch.h"
#include "backend/cuda/matrix/tile_launch.h"
#include "backend/cuda/matrix/tile_mma.cuh"
#include "backend/cuda/matrix/tile_wgmma.cuh"
#include "backend/cuda/matrix/tiles.h"

namespace sheaf::cuda {
namespace {

struct LinearTiles {
    DeviceMatrix weight;
    const uint8_t* columns;
    int64_t column_rows;
    int tokens, tile_rows, weight_tiles, tiles;
    bool cut;             // blocks take equal parts of all units, and cut tiles; or whole tiles
    int64_t part_floats;  // of the sums of a piece of a tile
    float* parts;         // one for every block
    uint32_t* arrivals;   // two for every tile, zero before and after
    void* y;
    bool wide, pairs, vectors;  // f32 results; whether two, or eight, neighbours may be stored at once
    int64_t y_stride;
    TileRing ring;
};

#if __CUDA_ARCH__ >= 800

/// Rows n and n + 1 of the weight, one token.
__device__ void store_pair(const LinearTiles& call, int64_t n, int token, float2 value) {
    if (token >= call.tokens) return;
    const int64_t at = token * call.y_stride + n;
    if (call.weight.bias) {
        if (n < call.weight.out) value.x += call.weight.bias[n];
        if (n + 1 < call.weight.out) value.y += call.weight.bias[n + 1];
    }
    if (call.pairs) {
        if (n >= call.weight.out) return;
        if (call.wide)
            *reinterpret_cast<float2*>(static_cast<float*>(call.y) + at) = value;
        else
            *reinterpret_cast<__nv_bfloat162*>(static_cast<__nv_bfloat16*>(call.y) + at) =
                __floats2bfloat162_rn(value.x, value.y);
        return;
    }
    for (int i = 0; i < 2; ++i) {
        if (n + i >= call.weight.out) return;
        const float one = i ? value.y : value.x;
        if (call.wide)
            static_cast<float*>(call.y)[at + i] = one;
        else
            static_cast<__nv_bfloat16*>(call.y)[at + i] = __float2bfloat16_rn(one);
    }
}

/// The 64 rows from row n of the weight on, by `rows` tokens.
template <int registers>
__device__ __forceinline__ void store_rows(const LinearTiles& call, uint8_t* stager, int group, int64_t n,
                                           int row, int rows, const float (&total)[registers]) {
    if (n >= call.weight.out) return;
    if (call.vectors) {
        put_in_rows(stager, group, rows, total, [&](int column, int piece, uint4 values) {
            if (n + 8 * piece < call.weight.out)
                *reinterpret_cast<uint4*>(static_cast<__nv_bfloat16*>(call.y) +
                                          (row + column) * call.y_stride + n + 8 * piece) = values;
        });
        return;
    }
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    n += threadIdx.x / 32 % 4 * 16 + g / 2 * 2;
#pragma unroll
    for (int i = 0; i < registers / 4; ++i) {
        const int token = row + 8 * i + 2 * t + g % 2;
        store_pair(call, n, token, pair_of_rows(total[4 * i], total[4 * i + 1]));
        store_pair(call, n + 8, token, pair_of_rows(total[4 * i + 2], total[4 * i + 3]));
    }
}

/// What a block does next: some units of a tile. Whole tiles: weight tiles fastest. Cut: a block's part of
/// the units of all tiles, one tile after the other, from its end.
struct Piece {
    int tile = 0, first = 0, units = 0;
    int64_t at, end;

    __device__ explicit Piece(const LinearTiles& call) : at(blockIdx.x), end(call.tiles) {
        if (call.cut) {
            at = begin_of(call, blockIdx.x);
            end = begin_of(call, blockIdx.x + 1);
        }
    }
    __device__ static int64_t begin_of(const LinearTiles& call, int64_t block) {
        return block * call.tiles * call.weight.units / gridDim.x;
    }
    /// The block that has this unit.
    __device__ static int owner_of(const LinearTiles& call, int64_t unit) {
        return static_cast<int>(((unit + 1) * gridDim.x - 1) /
                                (static_cast<int64_t>(call.tiles) * call.weight.units));
    }
    __device__ bool next(const LinearTiles& call) {
        if (at >= end) return false;
        const int all = call.weight.units;
        if (call.cut) {
            tile = static_cast<int>((end - 1) / all);
            const int64_t start = static_cast<int64_t>(tile) * all, from = start > at ? start : at;
            first = static_cast<int>(from - start);
            units = static_cast<int>(end - from);
            end = from;
        } else {
            tile = static_cast<int>(at);
            units = all;
            at += gridDim.x;
        }
        return true;
    }
};

/// Where a block puts this thread's sums of a piece of a tile that it does not finish: its first piece.
__device__ inline float4* part_of(const LinearTiles& call, int block, int group) {
    return reinterpret_cast<float4*>(call.parts + block * call.part_floats) + group * (call.part_floats / 8) +
           threadIdx.x % 128;
}

__device__ inline void store_part(float4* part, const float* total) {
    __stcg(part, make_float4(total[0], total[1], total[2], total[3]));
}

/// A tile's pieces belong to neighbouring blocks, the last of which finishes it: it adds their
/// sums to its own, in their order. It waits only for blocks that started before it, and that have these
/// pieces first. Returns whether this block finishes the tile.
template <int registers>
__device__ __forceinline__ bool add_pieces(const LinearTiles& call, const Piece& piece, int group,
                                           float (&total)[2][registers]) {
    const bool leader = threadIdx.x % 128 == 0;
    uint32_t* arrivals = call.arrivals + 2 * piece.tile + group;
    if (piece.first + piece.units < call.weight.units) {
        float4* part = part_of(call, static_cast<int>(blockIdx.x), group);
#pragma unroll
        for (int i = 0; i < registers; i += 4) {
            store_part(part + i / 4 * 128, total[0] + i);
            store_part(part + (registers + i) / 4 * 128, total[1] + i);
        }
        group_barrier(group);
        if (leader) asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(arrivals) : "memory");
        return false;
    }
    const int first = Piece::owner_of(call, static_cast<int64_t>(piece.tile) * call.weight.units),
              others = static_cast<int>(blockIdx.x) - first;
    if (leader) {
        uint32_t arrived = 0;
        while (arrived != static_cast<uint32_t>(others))
            asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(arrived) : "l"(arrivals) : "memory");
        *arrivals = 0;
    }
    group_barrier(group);
    for (int block = first; block < first + others; ++block) {
        const float4* part = part_of(call, block, group);
#pragma unroll
        for (int h = 0; h < 2; ++h)
#pragma unroll
            for (int i = 0; i < registers; i += 4) {
                const float4 values = __ldcg(part + (h * registers + i) / 4 * 128);
                total[h][i] += values.x;
                total[h][i + 1] += values.y;
                total[h][i + 2] += values.z;
                total[h][i + 3] += values.w;
            }
    }
    return true;
}

__device__ inline TileWork work_of(const LinearTiles& call, int tile) {
    const int row = tile / call.weight_tiles * call.tile_rows;
    return {call.weight.data,
            tile % call.weight_tiles * tile_blocks,
            call.columns,
            call.column_rows,
            row,
            min(call.tile_rows, call.tokens - row)};
}

/// Weights are no earlier kernel's results: the first of them are on their way before that kernel ends.
template <class Engine>
__device__ inline void produce(const LinearTiles& call, Ring ring) {
    int ahead = 0;
    Ring slot = ring;
    for (Piece early(call); ahead < ring.slots && early.next(call);)
        for (int unit = 0; unit < early.units && ahead < ring.slots; ++unit, ++ahead, slot.advance())
            Engine::fill_weights(slot, call.ring, call.weight, work_of(call, early.tile), early.first + unit);
    wait_for_previous_kernel();
    for (Piece piece(call); piece.next(call);) {
        const TileWork work = work_of(call, piece.tile);
        for (int unit = piece.first; unit < piece.first + piece.units; ++unit) {
            if (ahead > 0) {
                --ahead;
            } else {
                ring.wait_empty();
                Engine::fill_weights(ring, call.ring, call.weight, work, unit);
            }
            Engine::fill_columns(ring, call.ring, work, unit);
            ring.advance();
        }
    }
}

#endif

template <class Engine, Scaling scaling, bool cut>
__global__ void __launch_bounds__(tile_threads, 1) tile_linear(const __grid_constant__ LinearTiles call) {
#if __CUDA_ARCH__ >= 800
    if constexpr (Engine::exists) {
        extern __shared__ __align__(1024) uint8_t shared[];
        Ring ring = tile_ring(shared, call.ring, Engine::arrivals);
        allow_next_kernel();
        if (threadIdx.x / 128 == 0) {
            Engine::template begin_filling<40>();
            if (threadIdx.x < Engine::fillers) produce<Engine>(call, ring);
        } else {
            wait_for_previous_kernel();
            const int group = threadIdx.x / 128 - 1;
            Engine::template begin_summing<40>();
            uint8_t* stager = shared + 1024 + static_cast<uint32_t>(group) * stager_bytes;
            // Whole tiles are wide, but for a last row of them.
            using Widths =
                std::conditional_t<cut || Engine::widest == 64, typename Engine::template Widths<scaling>,
                                   Columns<32, 64, 128>>;
            for (Piece piece(call); piece.next(call);) {
                const TileWork work = work_of(call, piece.tile);
                const auto multiply = [&](auto columns) __attribute__((always_inline)) {
                    float total[2][columns / 2];
                    Engine::template sum_tile<columns, scaling>(ring, call.ring, call.weight, piece.units,
                                                                group, total);
                    if constexpr (cut) {
                        if (piece.units < call.weight.units && !add_pieces(call, piece, group, total)) return;
                    }
#pragma unroll
                    for (int h = 0; h < 2; ++h)
                        store_rows(call, stager, group, (work.first_block + group * 8 + h * 4) * int64_t{16},
                                   work.first_row, work.rows, total[h]);
                };
                with_columns(Widths{}, work.rows, multiply);
            }
        }
    }
#endif
}

using LinearKernel = void (*)(LinearTiles);

template <class Engine, bool cut>
LinearKernel kernel_for(const DeviceMatrix& weight) {
    if (is_simple(weight)) return tile_linear<Engine, Scaling::simple, cut>;
    return weight.unit_groups == 1 ? tile_linear<Engine, Scaling::coarse, cut>
                                   : tile_linear<Engine, Scaling::fine, cut>;
}

template <class Engine>
LinearKernel kernel_for(const DeviceMatrix& weight, bool cut) {
    return cut ? kernel_for<Engine, true>(weight) : kernel_for<Engine, false>(weight);
}

int64_t tile_count(const DeviceMatrix& weight, int64_t tokens) {
    return (weight.blocks + tile_blocks - 1) / tile_blocks *
           ((tokens + most_tile_rows() - 1) / most_tile_rows());
}

/// Whole tiles leave much of the GPU idle, in the last round of a few. On one H200, us, cut and whole:
/// (12288, 4096) at 16 rows 23.7, 31.2; at 128 38.5, 56.0; at 256 56.4, 58.5; at 300 73.7, 100.5; (4096,
/// 8192) at 256 46.0, 104.6.
bool cuts_tiles(const DeviceMatrix& weight, int64_t tokens) {
    const int64_t tiles = tile_count(weight, tokens), most = device_limits().multiprocessors,
                  rounds = (tiles + most - 1) / most;
    return tokens <= most_cut_tokens && weight.units >= 4 && 8 * tiles < 7 * rounds * most;
}

/// What the products of a tile are wide, at most.
int64_t widest_columns(int64_t tokens) {
    int64_t columns = 32;
    while (columns < tokens && columns < most_tile_rows()) columns *= 2;
    return columns;
}

constexpr int fewest_units = 3;  // of a block's part of a cut tile

}  // namespace

bool has_wgmma_tiles() {
    static const bool has = [] {
        if (device_limits().architecture != 90) return false;
        // Where a build lacks sm_90a the kernels are empty, and need hardly a register.
        cudaFuncAttributes attributes{};
        check(cudaFuncGetAttributes(&attributes, tile_linear<WgmmaTiles, Scaling::simple, false>),
              "tile_linear");
        return attributes.numRegs > 100;
    }();
    return has;
}

int64_t most_tile_rows() {
    return tile_engine() == TileEngine::wgmma ? WgmmaTiles::widest : MmaTiles::widest;
}

int64_t tile_linear_arrivals(const DeviceMatrix& weight, int64_t tokens) {
    return cuts_tiles(weight, tokens) ? 2 * tile_count(weight, tokens) : 0;
}

size_t tile_linear_part_bytes(int64_t tokens) {
    return static_cast<size_t>(device_limits().multiprocessors * tile_blocks * 16 * widest_columns(tokens)) *
           sizeof(float);
}

void launch_tile_linear(const void* arranged, int64_t arranged_rows, const DeviceMatrix& weight,
                        const Tensor& y, float* parts, uint32_t* arrivals, cudaStream_t stream) {
    const int64_t tokens = y.size(0), out = weight.out;
    LinearTiles call{};
    call.weight = weight;
    call.columns = static_cast<const uint8_t*>(arranged);
    call.column_rows = arranged_rows;
    call.tokens = static_cast<int>(tokens);
    call.tile_rows = static_cast<int>(tokens < most_tile_rows() ? (tokens + 7) / 8 * 8 : most_tile_rows());
    call.weight_tiles = (weight.blocks + tile_blocks - 1) / tile_blocks;
    call.tiles = static_cast<int>(tile_count(weight, tokens));
    call.cut = cuts_tiles(weight, tokens);
    call.part_floats = tile_blocks * 16 * widest_columns(tokens);
    call.parts = parts;
    call.arrivals = arrivals;
    call.y = y.raw();
    call.wide = y.dtype() == DType::f32;
    const auto address = reinterpret_cast<uintptr_t>(y.raw());
    call.pairs = y.row_stride() % 2 == 0 && out % 2 == 0 && address % 8 == 0;
    call.vectors = !call.wide && y.row_stride() % 8 == 0 && out % 8 == 0 && address % 16 == 0 && !weight.bias;
    call.y_stride = y.row_stride();
    call.ring = tile_ring_for(weight, call.tile_rows);
    const int64_t most = device_limits().multiprocessors,
                  parts_wanted = call.cut ? int64_t{call.tiles} * weight.units / fewest_units : call.tiles;
    const LinearKernel kernel = tile_engine() == TileEngine::wgmma ? kernel_for<WgmmaTiles>(weight, call.cut)
                                                                   : kernel_for<MmaTiles>(weight, call.cut);
    launch_kernel(kernel, dim3(static_cast<unsigned>(parts_wanted < most ? parts_wanted : most)),
                  tile_threads, tile_memory_bytes(call.ring), stream, "tile_linear", call);
}

}  // namespace sheaf::cuda
