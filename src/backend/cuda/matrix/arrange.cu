// Activations into the order of tiles.cuh: a 4 x 4 transposition of input pairs in every run of 32, and a
// swizzle.
#include <cuda_bf16.h>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/arrange.h"
#include "backend/cuda/matrix/arranged.cuh"
#include "backend/cuda/matrix/async_copy.cuh"
#include "backend/cuda/matrix/launch.h"

namespace sheaf::cuda {
namespace {

struct ArrangeCall {
    const __nv_bfloat16* x;
    int64_t x_stride, x_rows, inputs, padded_inputs;
    const int32_t* pair_of_place;
    int top_k;
    const int32_t* used;
    uint8_t* target;
    int64_t rows;
    uint32_t* zeroed;
    int zeros;
};

constexpr int arrange_rows = 8, arrange_runs = 32;  // of a block: a warp a row

/// Four lanes hold a 4 x 4 matrix of words, a row each; afterwards a column each.
__device__ inline uint4 transposed(uint4 row) {
    const int t = threadIdx.x % 4;
    const auto swapped = [&](uint32_t& low, uint32_t& high, int distance) {
        const bool upper = t & distance;
        const uint32_t other = __shfl_xor_sync(0xffffffffu, upper ? low : high, distance);
        (upper ? low : high) = other;
    };
    swapped(row.x, row.y, 1);
    swapped(row.z, row.w, 1);
    swapped(row.x, row.z, 2);
    swapped(row.y, row.w, 2);
    return row;
}

/// Eight lanes of four read and write eight runs of 32 inputs at once, so that both are whole lines.
__global__ void __launch_bounds__(arrange_rows * 32) arrange(const __grid_constant__ ArrangeCall call) {
    allow_next_kernel();
    wait_for_previous_kernel();
    if (blockIdx.x + blockIdx.y == 0)
        for (int i = threadIdx.x; i < call.zeros; i += arrange_rows * 32) call.zeroed[i] = 0;
    const int64_t row = static_cast<int64_t>(blockIdx.x) * arrange_rows + threadIdx.x / 32;
    if (call.used && row >= *call.used) return;
    int64_t source = row;
    if (call.pair_of_place) {
        const int pair = call.pair_of_place[row];
        source = pair < 0 ? -1 : pair / call.top_k;
    }
    if (source >= call.x_rows) source = -1;
    const int t = threadIdx.x % 4;
    const int64_t first = static_cast<int64_t>(blockIdx.y) * arrange_runs + threadIdx.x % 32 / 4;
    uint4 in[arrange_runs / 8];
#pragma unroll
    for (int i = 0; i < arrange_runs / 8; ++i) {
        const int64_t k = (first + 8 * i) * 32 + 8 * t;
        in[i] = make_uint4(0, 0, 0, 0);
        if (source >= 0 && k < call.inputs)
            in[i] = *reinterpret_cast<const uint4*>(call.x + source * call.x_stride + k);
    }
#pragma unroll
    for (int i = 0; i < arrange_runs / 8; ++i) {
        const uint4 out = transposed(in[i]);
        const int64_t k = (first + 8 * i) * 32 + 2 * t;
        if (k < call.padded_inputs)
            *reinterpret_cast<uint4*>(call.target + arranged_offset(call.rows, row, k)) = out;
    }
}

}  // namespace

void launch_arrange(const Tensor& x, const int32_t* pair_of_place, int64_t top_k, const int32_t* used,
                    void* target, int64_t rows, uint32_t* zeroed, int64_t zeros, cudaStream_t stream) {
    const int64_t padded = (x.size(1) + 127) / 128 * 128;
    const ArrangeCall call{static_cast<const __nv_bfloat16*>(x.raw()),
                           x.row_stride(),
                           x.size(0),
                           x.size(1),
                           padded,
                           pair_of_place,
                           static_cast<int>(top_k),
                           used,
                           static_cast<uint8_t*>(target),
                           rows,
                           zeroed,
                           static_cast<int>(zeros)};
    const dim3 grid(static_cast<unsigned>(rows / arrange_rows),
                    static_cast<unsigned>((padded / 32 + arrange_runs - 1) / arrange_runs));
    launch_kernel(arrange, grid, arrange_rows * 32, 0, stream, "arrange", call);
}

}  // namespace sheaf::cuda
