// What comes before attention, in one kernel: norm and rotation of queries and keys, write of keys and values
// to their pages. One warp per head of a row; lane l holds elements 8 l to 8 l + 7.
#include "backend/cuda/sequence/batch_rows.cuh"
#include "backend/cuda/sequence/device_math.cuh"
#include "backend/cuda/sequence/kernels.h"
#include "backend/cuda/sequence/launch.cuh"
#include "backend/cuda/sequence/page_storage.cuh"

namespace sheaf::cuda {
namespace {

constexpr int warps = 4, longest_head = 256;

/// Norm and rotation of the head whose elements the warp holds; `memory` is the warp's own.
__device__ void normalize_and_rotate(float (&x)[8], const float* weight, float epsilon, const Angles& angles,
                                     int row, int head_dim, float* memory) {
    const int lane = threadIdx.x % 32, first = 8 * lane;
    float *cosine = memory + longest_head, *sine = cosine + longest_head / 2, weights[8] = {};
    if (first < head_dim) load8(weight + first, weights);
    for (int i = lane; i < angles.count; i += 32) {
        const auto position = static_cast<float>(angles.positions[angles.axes[i] * angles.stride + row]);
        float s, c;
        sincosf(position * angles.frequencies[i], &s, &c);
        cosine[i] = c * angles.scale, sine[i] = s * angles.scale;
    }
    float squares = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) squares += first < head_dim ? x[i] * x[i] : 0.0f;
    const float factor = 1.0f / sqrtf(warp_sum(squares) / static_cast<float>(head_dim) + epsilon);
#pragma unroll
    for (int i = 0; i < 8; ++i) x[i] = x[i] * factor * (1.0f + weights[i]);
    if (first < head_dim) store8(memory + first, x);
    __syncwarp();
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const int d = first + i, half = angles.count;
        if (d < half)
            x[i] = x[i] * cosine[d] - memory[d + half] * sine[d];
        else if (d < 2 * half)
            x[i] = x[i] * cosine[d - half] + memory[d - half] * sine[d - half];
    }
}

template <class T, class Page>
__global__ void __launch_bounds__(32 * warps) prepare_kernel(PrepareWork work) {
    __shared__ __align__(16) float memory[warps][2 * longest_head];
    const int warp = threadIdx.x / 32, first = threadIdx.x % 32 * 8, row = blockIdx.x;
    const int unit = blockIdx.y * warps + warp, kv_heads = work.pages.kv_heads, dim = work.pages.head_dim;
    const int queries = work.query.data ? work.heads : 0;
    const BatchRow place = batch_row(work.batch, row);  // the batch is older than the kernel before this one
    allow_next_kernel();
    wait_for_previous_kernel();
    if (unit >= queries + 2 * kv_heads) return;
    float x[8] = {};
    const bool inside = first < dim;
    if (!place.active) {
        if (unit < queries && inside)
            store8(static_cast<T*>(work.result.data) + row * work.result.stride + unit * dim + first, x);
        return;
    }
    if (unit < queries) {
        const T* from = static_cast<const T*>(work.query_and_gate.data) + row * work.query_and_gate.stride;
        if (inside) load8(from + 2 * unit * dim + first, x);
        normalize_and_rotate(x, work.q_norm, work.q_epsilon, work.angles, row, dim, memory[warp]);
        if (inside)
            store8(static_cast<T*>(work.query.data) + row * work.query.stride + unit * dim + first, x);
        return;
    }
    const int head = (unit - queries) % kv_heads;
    const bool is_key = unit - queries < kv_heads;
    const Rows& source = is_key ? work.key : work.value;
    if (inside) load8(static_cast<const T*>(source.data) + row * source.stride + head * dim + first, x);
    if (is_key && work.k_norm)
        normalize_and_rotate(x, work.k_norm, work.k_epsilon, work.angles, row, dim, memory[warp]);
    const int32_t* blocks =
        work.batch.block_table + static_cast<int64_t>(place.sequence) * work.batch.block_stride;
    const int position = work.batch.context[place.sequence] + place.index;
    const int64_t offset = page_offset(work.pages, blocks, position) + head * dim + first;
    if (!inside) return;
#pragma unroll
    for (int i = 0; i < 8; ++i) x[i] = to_float(from_float<T>(x[i]));
    store8(static_cast<Page*>(is_key ? work.pages.keys : work.pages.values) + offset, x);
}

template <class T>
__global__ void __launch_bounds__(128) clear_padding_kernel(AttentionWork work) {
    allow_next_kernel();
    wait_for_previous_kernel();
    const int row = blockIdx.x;
    if (batch_row(work.batch, row).active) return;
    T* result = static_cast<T*>(work.result.data) + row * work.result.stride;
    for (int column = threadIdx.x; column < work.heads * work.pages.head_dim; column += 128)
        result[column] = from_float<T>(0.0f);
}

}  // namespace

cudaError_t launch_clear_padding(const AttentionWork& work, cudaStream_t stream) {
    if (work.batch.tokens == 0) return cudaSuccess;
    const dim3 blocks(static_cast<unsigned>(work.batch.tokens));
    if (work.element == Element::bf16)
        return launch_early(clear_padding_kernel<bf16>, {blocks, dim3(128)}, stream, work);
    return launch_early(clear_padding_kernel<float>, {blocks, dim3(128)}, stream, work);
}

cudaError_t launch_prepare(const PrepareWork& work, cudaStream_t stream) {
    const int units = (work.query.data ? work.heads : 0) + 2 * work.pages.kv_heads;
    const dim3 grid(static_cast<unsigned>(work.batch.tokens),
                    static_cast<unsigned>((units + warps - 1) / warps));
    if (work.batch.tokens == 0) return cudaSuccess;
    const bool narrow = work.pages.element == Element::f8;
    const auto kernel = work.element == Element::bf16
                            ? (narrow ? prepare_kernel<bf16, f8> : prepare_kernel<bf16, bf16>)
                            : (narrow ? prepare_kernel<float, f8> : prepare_kernel<float, float>);
    return launch_early(kernel, {grid, dim3(32 * warps)}, stream, work);
}

}  // namespace sheaf::cuda
