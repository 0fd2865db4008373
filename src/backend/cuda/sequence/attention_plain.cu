// Attention in plain fp32 arithmetic, one block per row and head: the path of f32 activations, which exist
// for checking.
#include "backend/cuda/sequence/batch_rows.cuh"
#include "backend/cuda/sequence/device_math.cuh"
#include "backend/cuda/sequence/kernels.h"
#include "backend/cuda/sequence/page_storage.cuh"

namespace sheaf::cuda {
namespace {

constexpr int threads = 128, longest_head = 256;

struct Softmax {  // running maximum and sum of a row
    float maximum = -INFINITY, sum = 0;
};

__device__ float block_reduce(float x, bool largest) {
    __shared__ float parts[threads / 32];
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, x, step);
        x = largest ? fmaxf(x, other) : x + other;
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
    __syncthreads();
    x = parts[0];
    for (int i = 1; i < threads / 32; ++i) x = largest ? fmaxf(x, parts[i]) : x + parts[i];
    return x;
}

/// The scores of keys [begin, begin + threads), one a thread; -inf from `keys` on.
template <class Page>
__device__ float score(const AttentionWork& work, const int32_t* blocks, int kv_head, int key, int keys,
                       const float* query) {
    if (key >= keys) return -INFINITY;
    const int dim = work.pages.head_dim;
    const Page* k =
        static_cast<const Page*>(work.pages.keys) + page_offset(work.pages, blocks, key) + kv_head * dim;
    float sum = 0;
    for (int d = 0; d < dim; d += 8) {
        float x[8];
        load8(k + d, x);
#pragma unroll
        for (int i = 0; i < 8; ++i) sum += query[d + i] * x[i];
    }
    return sum * work.factor;
}

template <class T, class Page>
__global__ void __launch_bounds__(threads) plain_attention_kernel(AttentionWork work) {
    __shared__ float query[longest_head], weights[threads];
    const int row = blockIdx.x, head = blockIdx.y, dim = work.pages.head_dim;
    const int kv_head = head / (work.heads / work.pages.kv_heads);
    const BatchRow place = batch_row(work.batch, row);
    T* result = static_cast<T*>(work.result.data) + row * work.result.stride + head * dim;
    if (!place.active) {
        for (int d = threadIdx.x; d < dim; d += threads) result[d] = from_float<T>(0.0f);
        return;
    }
    const T* q = static_cast<const T*>(work.query.data) + row * work.query.stride + head * dim;
    for (int d = threadIdx.x; d < dim; d += threads) query[d] = to_float(q[d]);
    __syncthreads();
    const int32_t* blocks =
        work.batch.block_table + static_cast<int64_t>(place.sequence) * work.batch.block_stride;
    const int keys = work.batch.context[place.sequence] + place.index + 1;
    Softmax state;
    float total[longest_head / threads] = {};
    for (int begin = 0; begin < keys; begin += threads) {
        const float s = score<Page>(work, blocks, kv_head, begin + threadIdx.x, keys, query);
        const float maximum = fmaxf(state.maximum, block_reduce(s, true));
        const float p = expf(s - maximum), rescale = expf(state.maximum - maximum);
        state.sum = state.sum * rescale + block_reduce(p, false);
        state.maximum = maximum;
        weights[threadIdx.x] = p;
        __syncthreads();
        for (int i = 0; i < longest_head / threads; ++i) total[i] *= rescale;
        for (int j = 0; j < min(threads, keys - begin); ++j) {
            const Page* v = static_cast<const Page*>(work.pages.values) +
                            page_offset(work.pages, blocks, begin + j) + kv_head * dim;
#pragma unroll
            for (int i = 0; i < longest_head / threads; ++i)
                if (const int d = threadIdx.x + i * threads; d < dim) total[i] += weights[j] * to_float(v[d]);
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < longest_head / threads; ++i) {
        const int d = threadIdx.x + i * threads;
        if (d >= dim) break;
        float y = total[i] / state.sum;
        if (work.gate.data) {
            const T* gate =
                static_cast<const T*>(work.gate.data) + row * work.gate.stride + head * work.gate_step;
            y *= sigmoid(to_float(gate[d]));
        }
        result[d] = from_float<T>(y);
    }
}

}  // namespace

cudaError_t launch_plain_attention(const AttentionWork& work, cudaStream_t stream) {
    if (work.batch.tokens == 0) return cudaSuccess;
    const dim3 grid(static_cast<unsigned>(work.batch.tokens), static_cast<unsigned>(work.heads));
    const bool narrow = work.pages.element == Element::f8;
    const auto kernel =
        work.element == Element::bf16
            ? (narrow ? plain_attention_kernel<bf16, f8> : plain_attention_kernel<bf16, bf16>)
            : (narrow ? plain_attention_kernel<float, f8> : plain_attention_kernel<float, float>);
    kernel<<<grid, threads, 0, stream>>>(work);
    return cudaGetLastError();
}

}  // namespace sheaf::cuda
