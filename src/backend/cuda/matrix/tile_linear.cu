// The tile product of linear layers.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/launch.h"
#include "backend/cuda/matrix/tile_launch.h"
#include "backend/cuda/matrix/tiles.cuh"
#include "backend/cuda/matrix/tiles.h"

namespace sheaf::cuda {
namespace {

struct LinearTiles {
    DeviceMatrix weight;
    const uint8_t* columns;
    int64_t column_rows;
    int tokens, tile_rows;
    int splits, split_units;  // of the sum; more than one: into `partial` (splits, tokens, blocks * 16)
    float* partial;
    void* y;
    bool wide, pairs;  // f32 results; whether two neighbours may be stored at once
    int64_t y_stride;
    TileRing ring;
};

/// Rows n and n + 1 of the weight, one token.
__device__ void store_pair(const LinearTiles& call, int64_t n, int token, int split, float2 value) {
    if (token >= call.tokens) return;
    if (call.splits > 1) {
        const int64_t width = static_cast<int64_t>(call.weight.blocks) * 16;
        *reinterpret_cast<float2*>(call.partial +
                                   (static_cast<int64_t>(split) * call.tokens + token) * width + n) = value;
        return;
    }
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

/// Item `index`: weight tiles fastest, then the splits of the sum, then row tiles.
struct LinearItem {
    int block, split, row, rows, first_unit, units;

    __device__ LinearItem(const LinearTiles& call, int weight_tiles, int index) {
        block = index % weight_tiles * tile_blocks;
        split = index / weight_tiles % call.splits;
        row = index / weight_tiles / call.splits * call.tile_rows;
        rows = min(call.tile_rows, call.tokens - row);
        first_unit = split * call.split_units;
        units = min(call.split_units, call.weight.units - first_unit);
    }
};

template <bool fine>
__global__ void __launch_bounds__(tile_threads, 1) tile_linear(const __grid_constant__ LinearTiles call) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    extern __shared__ __align__(1024) uint8_t shared[];
    Ring ring = tile_ring(shared, call.ring);
    const int weight_tiles = (call.weight.blocks + tile_blocks - 1) / tile_blocks;
    const int items = weight_tiles * call.splits * ((call.tokens + call.tile_rows - 1) / call.tile_rows);
    allow_next_kernel();
    wait_for_previous_kernel();
    if (threadIdx.x / 128 == 0) {
        fewer_registers<40>();
        for (int index = blockIdx.x; fills(call.ring) && index < items; index += gridDim.x) {
            const LinearItem item(call, weight_tiles, index);
            produce_tile(ring, call.ring, call.weight,
                         {call.weight.data, item.block, call.columns, call.column_rows, item.row, item.rows,
                          item.first_unit, item.units});
        }
    } else {
        more_registers<232>();
        const int group = threadIdx.x / 128 - 1, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
        for (int index = blockIdx.x; index < items; index += gridDim.x) {
            const LinearItem item(call, weight_tiles, index);
            consume_rows<fine>(ring, call.ring, call.weight, item.block, item.rows, item.units, group,
                               [&](int block, const auto& total) {
                                   constexpr int columns = sizeof(total) / sizeof(float) * 2;
                                   const int64_t n = static_cast<int64_t>(block) * 16 + g / 2 * 2;
#pragma unroll
                                   for (int i = 0; i < columns / 8; ++i) {
                                       const int token = item.row + 8 * i + 2 * t + g % 2;
                                       store_pair(call, n, token, item.split,
                                                  pair_of_rows(total[4 * i], total[4 * i + 1]));
                                       store_pair(call, n + 8, token, item.split,
                                                  pair_of_rows(total[4 * i + 2], total[4 * i + 3]));
                                   }
                               });
        }
    }
#endif
}

constexpr int add_threads = 128;

/// y of the splits' sums, in their order.
__global__ void __launch_bounds__(add_threads) add_splits(const __grid_constant__ LinearTiles call) {
    allow_next_kernel();
    wait_for_previous_kernel();
    const int64_t n = (static_cast<int64_t>(blockIdx.y) * add_threads + threadIdx.x) * 2, token = blockIdx.x;
    const int64_t width = static_cast<int64_t>(call.weight.blocks) * 16;
    if (n >= call.weight.out) return;
    float2 sum = make_float2(0, 0);
    for (int split = 0; split < call.splits; ++split) {
        const float2 part =
            *reinterpret_cast<const float2*>(call.partial + (split * call.tokens + token) * width + n);
        sum = make_float2(sum.x + part.x, sum.y + part.y);
    }
    LinearTiles whole = call;
    whole.splits = 1;
    store_pair(whole, n, static_cast<int>(token), 0, sum);
}

}  // namespace

bool has_tile_products() {
    static const bool has = [] {
        if (device_limits().architecture != 90) return false;
        // Where a build lacks sm_90a the kernels are empty, and need hardly a register.
        cudaFuncAttributes attributes{};
        check(cudaFuncGetAttributes(&attributes, tile_linear<false>), "tile_linear");
        return attributes.numRegs > 100;
    }();
    return has;
}

int tile_linear_splits(const DeviceMatrix& weight, int64_t tokens) {
    const int64_t items = (weight.blocks + tile_blocks - 1) / tile_blocks *
                          ((tokens + linear_tile_rows - 1) / linear_tile_rows);
    const int64_t wanted = device_limits().multiprocessors / items, most = weight.units / 4;
    const int64_t splits = wanted < most ? wanted : most;
    return static_cast<int>(splits < 1 ? 1 : splits);
}

size_t tile_linear_partial_bytes(const DeviceMatrix& weight, int64_t tokens) {
    const int splits = tile_linear_splits(weight, tokens);
    return splits == 1 ? 0 : static_cast<size_t>(splits * tokens * weight.blocks * 16) * sizeof(float);
}

void launch_tile_linear(const void* arranged, int64_t arranged_rows, const DeviceMatrix& weight,
                        const Tensor& y, float* partial, cudaStream_t stream) {
    const int64_t tokens = y.size(0),
                  rows = tokens < linear_tile_rows ? (tokens + 7) / 8 * 8 : linear_tile_rows;
    LinearTiles call{};
    call.weight = weight;
    call.columns = static_cast<const uint8_t*>(arranged);
    call.column_rows = arranged_rows;
    call.tokens = static_cast<int>(tokens);
    call.tile_rows = static_cast<int>(rows);
    call.split_units =
        (weight.units + tile_linear_splits(weight, tokens) - 1) / tile_linear_splits(weight, tokens);
    call.splits = (weight.units + call.split_units - 1) / call.split_units;
    call.partial = partial;
    call.y = y.raw();
    call.wide = y.dtype() == DType::f32;
    call.pairs =
        y.row_stride() % 2 == 0 && weight.out % 2 == 0 && reinterpret_cast<uintptr_t>(y.raw()) % 8 == 0;
    call.y_stride = y.row_stride();
    call.ring = tile_ring_for(weight, rows);
    const int64_t weight_tiles = (weight.blocks + tile_blocks - 1) / tile_blocks;
    const int64_t items = weight_tiles * call.splits * ((tokens + rows - 1) / rows);
    const int64_t most = device_limits().multiprocessors;
    launch_kernel(weight.unit_groups == 1 ? tile_linear<false> : tile_linear<true>,
                  dim3(static_cast<unsigned>(items < most ? items : most)), tile_threads,
                  tile_memory_bytes(call.ring), stream, "tile_linear", call);
    if (call.splits == 1) return;
    const dim3 grid(static_cast<unsigned>(tokens),
                    static_cast<unsigned>((weight.out + 2 * add_threads - 1) / (2 * add_threads)));
    launch_kernel(add_splits, grid, add_threads, 0, stream, "add_splits", call);
}

}  // namespace sheaf::cuda
