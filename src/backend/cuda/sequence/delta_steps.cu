// The gated delta rule row after row. A block owns a strip of the value columns of one (sequence, head) and
// keeps that strip of the state in registers over all rows: 16 groups of threads share the key dimension, 8
// threads the strip's columns, so that every global access is a full 128-byte line. Per row both S^T k and
// S^T q are summed in one pass; the output follows from o = decay S^T q + (q . k) d.
#include "backend/cuda/sequence/batch_rows.cuh"
#include "backend/cuda/sequence/device_math.cuh"
#include "backend/cuda/sequence/kernels.h"
#include "backend/cuda/sequence/launch.cuh"

namespace sheaf::cuda {
namespace {

constexpr int threads = 128, key_groups = 16, column_threads = threads / key_groups, longest_key = 256;

struct StepMemory {
    float query[longest_key], key[longest_key];
    float norms[3];  // squares of q and of k, q . k, before normalization
    float sums[4][column_threads][8];
};

/// One row's q and k of the head, as they are, and the sums of their squares and products.
template <class T>
__device__ void load_row(const DeltaWork& work, int row, int key_head, StepMemory& memory) {
    const T* q = static_cast<const T*>(work.query.data) + row * work.query.stride + key_head * work.key_dim;
    const T* k = static_cast<const T*>(work.key.data) + row * work.key.stride + key_head * work.key_dim;
    if (threadIdx.x >= 32) return;
    float squares_q = 0, squares_k = 0, product = 0;
    for (int i = threadIdx.x; i < work.key_dim; i += 32) {
        const float a = to_float(q[i]), b = to_float(k[i]);
        memory.query[i] = a, memory.key[i] = b;
        squares_q += a * a, squares_k += b * b, product += a * b;
    }
    squares_q = warp_sum(squares_q), squares_k = warp_sum(squares_k), product = warp_sum(product);
    if (threadIdx.x == 0) memory.norms[0] = squares_q, memory.norms[1] = squares_k, memory.norms[2] = product;
}

/// Sums over the key groups of `width` columns' two sums each; every thread gets its columns' totals.
template <int width>
__device__ void sum_groups(float (&x)[2 * width], StepMemory& memory) {
#pragma unroll
    for (int i = 0; i < 2 * width; ++i) {
        x[i] += __shfl_xor_sync(0xffffffffu, x[i], 8);
        x[i] += __shfl_xor_sync(0xffffffffu, x[i], 16);
    }
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (lane < column_threads)
#pragma unroll
        for (int i = 0; i < 2 * width; ++i) memory.sums[warp][lane][i] = x[i];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 2 * width; ++i)
        x[i] = memory.sums[0][lane % column_threads][i] + memory.sums[1][lane % column_threads][i] +
               memory.sums[2][lane % column_threads][i] + memory.sums[3][lane % column_threads][i];
}

template <class T, int keys, int width>
__device__ void step(const DeltaWork& work, int row, int head, int column, int columns,
                     float (&state)[keys][width], StepMemory& memory) {
    const int group = threadIdx.x / column_threads;
    const float a = to_float(static_cast<const T*>(work.a.data)[row * work.a.stride + head]);
    const float b = to_float(static_cast<const T*>(work.b.data)[row * work.b.stride + head]);
    const float decay = expf(-expf(work.a_log[head]) * softplus(a + work.dt_bias[head])), beta = sigmoid(b);
    const T* value = static_cast<const T*>(work.value.data) + row * work.value.stride + head * work.value_dim;
    float v[width];
#pragma unroll
    for (int j = 0; j < width; ++j) v[j] = column + j < columns ? to_float(value[column + j]) : 0.0f;
    load_row<T>(work, row, head / (work.value_heads / work.key_heads), memory);
    __syncthreads();
    float sums[2 * width] = {};
#pragma unroll
    for (int i = 0; i < keys; ++i) {
        const int at = group + i * key_groups;
        const float k = at < work.key_dim ? memory.key[at] : 0.0f,
                    q = at < work.key_dim ? memory.query[at] : 0.0f;
#pragma unroll
        for (int j = 0; j < width; ++j) {
            sums[j] = fmaf(k, state[i][j], sums[j]);
            sums[width + j] = fmaf(q, state[i][j], sums[width + j]);
        }
    }
    sum_groups<width>(sums, memory);
    const float key_scale = rsqrtf(memory.norms[1] + 1e-6f);
    const float query_scale = rsqrtf(memory.norms[0] + 1e-6f) * rsqrtf(static_cast<float>(work.key_dim));
    const float product = memory.norms[2] * key_scale * query_scale;
    float delta[width];
#pragma unroll
    for (int j = 0; j < width; ++j) delta[j] = beta * (v[j] - decay * key_scale * sums[j]);
#pragma unroll
    for (int i = 0; i < keys; ++i) {
        const int at = group + i * key_groups;
        const float k = at < work.key_dim ? memory.key[at] * key_scale : 0.0f;
#pragma unroll
        for (int j = 0; j < width; ++j) state[i][j] = fmaf(k, delta[j], decay * state[i][j]);
    }
    T* result = static_cast<T*>(work.result.data) + row * work.result.stride + head * work.value_dim;
    if (group == 0)
#pragma unroll
        for (int j = 0; j < width; ++j)
            if (column + j < columns)
                result[column + j] =
                    from_float<T>(decay * query_scale * sums[width + j] + product * delta[j]);
    __syncthreads();  // before the next row overwrites the shared memory
}

template <class T>
__device__ void clear_padding(const DeltaWork& work, int sequence, int head, int column, int columns,
                              int width) {
    const int row = work.batch.begin[sequence];
    if (row < 0 || row >= work.batch.tokens || work.batch.row_sequence[row] != sequence) return;
    T* result = static_cast<T*>(work.result.data) + row * work.result.stride + head * work.value_dim;
    if (threadIdx.x < column_threads)
        for (int j = 0; j < width; ++j)
            if (column + j < columns) result[column + j] = from_float<T>(0.0f);
}

template <class T, int keys, int width>
__global__ void __launch_bounds__(threads) delta_kernel(DeltaWork work) {
    __shared__ StepMemory memory;
    const int head = blockIdx.y, sequence = blockIdx.z, columns = work.value_dim;
    const int column = (blockIdx.x * column_threads + threadIdx.x % column_threads) * width;
    const int group = threadIdx.x / column_threads, count = work.batch.count[sequence];
    if (count == 0 || count > work.longest) wait_for_previous_kernel();
    if (count == 0) return clear_padding<T>(work, sequence, head, column, columns, width);
    if (count > work.longest) return;
    float* memory_strip =
        work.state +
        (static_cast<int64_t>(work.batch.slot[sequence]) * work.value_heads + head) * work.key_dim * columns +
        column;
    const bool fresh = work.batch.context[sequence] == 0;
    float state[keys][width] = {};
#pragma unroll
    for (int i = 0; i < keys; ++i) {
        const int at = group + i * key_groups;
        if (fresh || at >= work.key_dim || column >= columns) continue;
        if constexpr (width == 4) {
            const float4 x =
                *reinterpret_cast<const float4*>(memory_strip + static_cast<int64_t>(at) * columns);
            state[i][0] = x.x, state[i][1] = x.y, state[i][2] = x.z, state[i][3] = x.w;
        } else {
            state[i][0] = memory_strip[static_cast<int64_t>(at) * columns];
        }
    }
    wait_for_previous_kernel();  // the projections; the state is older
    allow_next_kernel();
    const int begin = work.batch.begin[sequence];
    for (int row = begin; row < begin + count; ++row)
        step<T, keys, width>(work, row, head, column, columns, state, memory);
#pragma unroll
    for (int i = 0; i < keys; ++i) {
        const int at = group + i * key_groups;
        if (at >= work.key_dim || column >= columns) continue;
        if constexpr (width == 4)
            *reinterpret_cast<float4*>(memory_strip + static_cast<int64_t>(at) * columns) =
                make_float4(state[i][0], state[i][1], state[i][2], state[i][3]);
        else
            memory_strip[static_cast<int64_t>(at) * columns] = state[i][0];
    }
}

template <class T, int width>
cudaError_t start(const DeltaWork& work, cudaStream_t stream) {
    const int strip = column_threads * width;
    const dim3 grid(static_cast<unsigned>((work.value_dim + strip - 1) / strip),
                    static_cast<unsigned>(work.value_heads), static_cast<unsigned>(work.batch.sequences));
    if (work.key_dim <= 128)
        return launch_early(delta_kernel<T, 128 / key_groups, width>, {grid, dim3(threads)}, stream, work);
    return launch_early(delta_kernel<T, longest_key / key_groups, width>, {grid, dim3(threads)}, stream,
                        work);
}

template <class T>
cudaError_t start(const DeltaWork& work, cudaStream_t stream) {
    if (work.value_dim % 4 == 0) return start<T, 4>(work, stream);
    return start<T, 1>(work, stream);
}

}  // namespace

cudaError_t launch_delta_steps(const DeltaWork& work, cudaStream_t stream) {
    if (work.batch.sequences == 0) return cudaSuccess;
    if (work.element == Element::bf16) return start<bf16>(work, stream);
    return start<float>(work, stream);
}

}  // namespace sheaf::cuda
