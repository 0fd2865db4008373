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
    float products[3][threads / 32];  // by warp: q q, k k, q k, before normalization
    float sums[4][column_threads][16];
};

/// One row's q and k of the head, as they are, and the sums of their squares and products.
template <class T>
__device__ void load_row(const DeltaWork& work, int row, int key_head, StepMemory& memory) {
    constexpr int each = longest_key / threads;
    const T* q = static_cast<const T*>(work.query.data) + row * work.query.stride + key_head * work.key_dim;
    const T* k = static_cast<const T*>(work.key.data) + row * work.key.stride + key_head * work.key_dim;
    float a[each] = {}, b[each] = {}, products[3] = {};
#pragma unroll
    for (int i = 0; i < each; ++i)
        if (const int at = threadIdx.x + i * threads; at < work.key_dim)
            a[i] = to_float(q[at]), b[i] = to_float(k[at]);
#pragma unroll
    for (int i = 0; i < each; ++i) {
        memory.query[threadIdx.x + i * threads] = a[i], memory.key[threadIdx.x + i * threads] = b[i];
        products[0] += a[i] * a[i], products[1] += b[i] * b[i], products[2] += a[i] * b[i];
    }
#pragma unroll
    for (int i = 0; i < 3; ++i) {
        products[i] = warp_sum(products[i]);
        if (threadIdx.x % 32 == 0) memory.products[i][threadIdx.x / 32] = products[i];
    }
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
    auto total = [&](int i) {
        return memory.products[i][0] + memory.products[i][1] + memory.products[i][2] + memory.products[i][3];
    };
    const float key_scale = rsqrtf(total(1) + 1e-6f);
    const float query_scale = rsqrtf(total(0) + 1e-6f) * rsqrtf(static_cast<float>(work.key_dim));
    const float product = total(2) * key_scale * query_scale;
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

/// The state passes through once: it need not stay in the caches.
template <int width>
__device__ inline void load_state(const float* from, float (&x)[width]) {
    if constexpr (width == 1) x[0] = __ldcs(from);
#pragma unroll
    for (int i = 0; i + 4 <= width; i += 4) {
        const float4 part = __ldcs(reinterpret_cast<const float4*>(from + i));
        x[i] = part.x, x[i + 1] = part.y, x[i + 2] = part.z, x[i + 3] = part.w;
    }
}
template <int width>
__device__ inline void load_state(const bf16* from, float (&x)[width]) {
    if constexpr (width == 1) x[0] = to_float(*from);
#pragma unroll
    for (int i = 0; i + 4 <= width; i += 4) {
        const uint2 part = __ldcs(reinterpret_cast<const uint2*>(from + i));
        x[i] = low_bf16(part.x), x[i + 1] = high_bf16(part.x);
        x[i + 2] = low_bf16(part.y), x[i + 3] = high_bf16(part.y);
    }
}
template <int width>
__device__ inline void store_state(float* to, const float (&x)[width]) {
    if constexpr (width == 1) __stcs(to, x[0]);
#pragma unroll
    for (int i = 0; i + 4 <= width; i += 4)
        __stcs(reinterpret_cast<float4*>(to + i), make_float4(x[i], x[i + 1], x[i + 2], x[i + 3]));
}
template <int width>
__device__ inline void store_state(bf16* to, const float (&x)[width]) {
    if constexpr (width == 1) *to = from_float<bf16>(x[0]);
#pragma unroll
    for (int i = 0; i + 4 <= width; i += 4)
        __stcs(reinterpret_cast<uint2*>(to + i),
               make_uint2(pack_bf16(x[i], x[i + 1]), pack_bf16(x[i + 2], x[i + 3])));
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

template <class T, class State, int keys, int width>
__global__ void __launch_bounds__(threads) delta_kernel(DeltaWork work) {
    __shared__ StepMemory memory;
    const int head = blockIdx.y, sequence = blockIdx.z, columns = work.value_dim;
    const int column = (blockIdx.x * column_threads + threadIdx.x % column_threads) * width;
    const int group = threadIdx.x / column_threads, count = work.batch.count[sequence];
    if (count == 0 || count > work.longest) wait_for_previous_kernel();
    if (count == 0) return clear_padding<T>(work, sequence, head, column, columns, width);
    if (count > work.longest) return;
    State* memory_strip =
        static_cast<State*>(work.state) +
        (static_cast<int64_t>(work.batch.slot[sequence]) * work.value_heads + head) * work.key_dim * columns +
        column;
    const bool fresh = work.batch.context[sequence] == 0;
    float state[keys][width] = {};
#pragma unroll
    for (int i = 0; i < keys; ++i) {
        const int at = group + i * key_groups;
        if (fresh || at >= work.key_dim || column >= columns) continue;
        load_state<width>(memory_strip + static_cast<int64_t>(at) * columns, state[i]);
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
        store_state<width>(memory_strip + static_cast<int64_t>(at) * columns, state[i]);
    }
}

template <class T, class State, int width>
cudaError_t start_as(const DeltaWork& work, cudaStream_t stream) {
    const int strip = column_threads * width;
    const dim3 grid(static_cast<unsigned>((work.value_dim + strip - 1) / strip),
                    static_cast<unsigned>(work.value_heads), static_cast<unsigned>(work.batch.sequences));
    constexpr int few = 128 / key_groups, most = width == 8 ? few : longest_key / key_groups;
    if (work.key_dim <= 128)
        return launch_early(delta_kernel<T, State, few, width>, {grid, dim3(threads)}, stream, work);
    return launch_early(delta_kernel<T, State, most, width>, {grid, dim3(threads)}, stream, work);
}

template <class T, class State>
cudaError_t start_as(const DeltaWork& work, cudaStream_t stream) {
    switch (work.columns_per_thread) {
        case 8:
            return start_as<T, State, 8>(work, stream);
        case 4:
            return start_as<T, State, 4>(work, stream);
        default:
            return start_as<T, State, 1>(work, stream);
    }
}

template <class T>
cudaError_t start(const DeltaWork& work, cudaStream_t stream) {
    if (work.state_element == Element::bf16) return start_as<T, bf16>(work, stream);
    return start_as<T, float>(work, stream);
}

}  // namespace

cudaError_t launch_delta_steps(const DeltaWork& work, cudaStream_t stream) {
    if (work.batch.sequences == 0) return cudaSuccess;
    if (work.element == Element::bf16) return start<bf16>(work, stream);
    return start<float>(work, stream);
}

}  // namespace sheaf::cuda
