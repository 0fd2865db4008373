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
};

/// A thread per row and run of 32 inputs; 8 rows and 32 runs a block.
__global__ void __launch_bounds__(256) arrange(const __grid_constant__ ArrangeCall call) {
    allow_next_kernel();
    wait_for_previous_kernel();
    const int64_t row = static_cast<int64_t>(blockIdx.x) * 8 + threadIdx.x / 32;
    const int64_t run = static_cast<int64_t>(blockIdx.y) * 32 + threadIdx.x % 32;
    if (run * 32 >= call.padded_inputs || (call.used && row >= *call.used)) return;
    int64_t source = row;
    if (call.pair_of_place) {
        const int pair = call.pair_of_place[row];
        source = pair < 0 ? -1 : pair / call.top_k;
    }
    if (source >= call.x_rows) source = -1;
    uint4 in[4];
#pragma unroll
    for (int t = 0; t < 4; ++t) {
        const int64_t k = run * 32 + 8 * t;
        in[t] = make_uint4(0, 0, 0, 0);
        if (source >= 0 && k < call.inputs)
            in[t] = *reinterpret_cast<const uint4*>(call.x + source * call.x_stride + k);
    }
    const uint4 out[4] = {
        make_uint4(in[0].x, in[1].x, in[2].x, in[3].x), make_uint4(in[0].y, in[1].y, in[2].y, in[3].y),
        make_uint4(in[0].z, in[1].z, in[2].z, in[3].z), make_uint4(in[0].w, in[1].w, in[2].w, in[3].w)};
#pragma unroll
    for (int piece = 0; piece < 4; ++piece)
        *reinterpret_cast<uint4*>(call.target + arranged_offset(call.rows, row, run * 32 + 2 * piece)) =
            out[piece];
}

}  // namespace

void launch_arrange(const Tensor& x, const int32_t* pair_of_place, int64_t top_k, const int32_t* used,
                    void* target, int64_t rows, cudaStream_t stream) {
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
                           rows};
    const dim3 grid(static_cast<unsigned>(rows / 8), static_cast<unsigned>((padded / 32 + 31) / 32));
    launch_kernel(arrange, grid, 256, 0, stream, "arrange", call);
}

}  // namespace sheaf::cuda
