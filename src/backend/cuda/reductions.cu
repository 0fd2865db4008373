// One block per row: sums, softmax, the largest k; and the plain matrix product and rotary angles.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix_view.cuh"
#include "backend/cuda/primitives.h"

namespace sheaf::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(threads_per_block) sum_rows(MatrixView<const T> x, float* result) {
    __shared__ float shared[32];
    float sum = 0;
    for (int64_t c = threadIdx.x; c < x.columns; c += threads_per_block) sum += to_float(x.at(blockIdx.x, c));
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) result[blockIdx.x] = sum;
}

template <class T>
__global__ void __launch_bounds__(threads_per_block)
    softmax_rows(MatrixView<const T> x, const int32_t* valid, MatrixView<float> y) {
    __shared__ float shared[32];
    const int64_t row = blockIdx.x,
                  count = valid ? min(static_cast<int64_t>(valid[row]), x.columns) : x.columns;
    float largest = -INFINITY;
    for (int64_t c = threadIdx.x; c < count; c += threads_per_block)
        largest = fmaxf(largest, to_float(x.at(row, c)));
    largest = block_max(largest, shared);
    float sum = 0;
    for (int64_t c = threadIdx.x; c < count; c += threads_per_block) {
        const float value = expf(to_float(x.at(row, c)) - largest);
        y.at(row, c) = value;
        sum += value;
    }
    sum = block_sum(sum, shared);
    for (int64_t c = threadIdx.x; c < x.columns; c += threads_per_block)
        y.at(row, c) = c < count ? y.at(row, c) / sum : 0.0f;
}

/// The better of two candidates: the larger value, the lower index among equals; index -1 is none.
__device__ __forceinline__ void keep_better(float& value, int& index, float other, int other_index) {
    if (other_index < 0) return;
    if (index < 0 || other > value || (other == value && other_index < index))
        value = other, index = other_index;
}

/// `taken` in shared memory: a flag per column.
__global__ void __launch_bounds__(threads_per_block)
    top_k_rows(MatrixView<const float> x, int k, int32_t* ids, float* weights) {
    extern __shared__ uint8_t taken[];
    __shared__ float values[32];
    __shared__ int indices[32];
    const int64_t row = blockIdx.x;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, columns = static_cast<int>(x.columns);
    for (int c = threadIdx.x; c < columns; c += threads_per_block) taken[c] = 0;
    for (int choice = 0; choice < k; ++choice) {
        __syncthreads();
        float value = -INFINITY;
        int index = -1;
        for (int c = threadIdx.x; c < columns; c += threads_per_block)
            if (!taken[c]) keep_better(value, index, x.at(row, c), c);
        for (int offset = 16; offset > 0; offset /= 2)
            keep_better(value, index, __shfl_xor_sync(0xffffffffu, value, offset),
                        __shfl_xor_sync(0xffffffffu, index, offset));
        if (lane == 0) values[warp] = value, indices[warp] = index;
        __syncthreads();
        if (threadIdx.x != 0) continue;
        for (int w = 1; w < threads_per_block / 32; ++w) keep_better(value, index, values[w], indices[w]);
        taken[index] = 1;
        ids[row * k + choice] = index;
        weights[row * k + choice] = value;
    }
}

constexpr int tile = 16;

template <class A, class B>
__global__ void __launch_bounds__(tile* tile)
    multiply_tiles(MatrixView<const A> a, MatrixView<const B> b, MatrixView<float> y) {
    __shared__ float left[tile][tile + 1], right[tile][tile + 1];
    const int tx = threadIdx.x % tile, ty = threadIdx.x / tile;
    const int64_t row = static_cast<int64_t>(blockIdx.y) * tile + ty,
                  column = static_cast<int64_t>(blockIdx.x) * tile + tx;
    float sum = 0;
    for (int64_t first = 0; first < a.columns; first += tile) {
        left[ty][tx] = row < a.rows && first + tx < a.columns ? to_float(a.at(row, first + tx)) : 0.0f;
        right[ty][tx] = column < b.columns && first + ty < b.rows ? to_float(b.at(first + ty, column)) : 0.0f;
        __syncthreads();
        for (int i = 0; i < tile; ++i) sum += left[ty][i] * right[i][tx];
        __syncthreads();
    }
    if (row < y.rows && column < y.columns) y.at(row, column) = sum;
}

__global__ void __launch_bounds__(threads_per_block)
    angles(MatrixView<const int32_t> positions, const float* frequencies, const int32_t* axes, int64_t count,
           float scale, float* cosine, float* sine) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * threads_per_block + threadIdx.x;
    if (i >= positions.columns * count) return;
    const int64_t token = i / count, f = i % count;
    // The angle is rounded to fp32, as the reference does; its cosine and sine are exact.
    const float angle = static_cast<float>(positions.at(axes[f], token)) * frequencies[f];
    double c, s;
    sincos(static_cast<double>(angle), &s, &c);
    cosine[i] = static_cast<float>(c) * scale;
    sine[i] = static_cast<float>(s) * scale;
}

}  // namespace

void sum_columns(const Tensor& x, const Tensor& result, cudaStream_t stream) {
    if (x.size(0) == 0) return;
    with_float(x.dtype(), [&](auto type) {
        using T = decltype(type);
        sum_rows<T><<<static_cast<unsigned>(x.size(0)), threads_per_block, 0, stream>>>(
            MatrixView<const T>(x), result.data<float>());
    });
    check_launch("sum_columns");
}

void softmax(const Tensor& x, const Tensor& valid, const Tensor& result, cudaStream_t stream) {
    if (x.elements() == 0) return;
    with_float(x.dtype(), [&](auto type) {
        using T = decltype(type);
        softmax_rows<T><<<static_cast<unsigned>(x.size(0)), threads_per_block, 0, stream>>>(
            MatrixView<const T>(x), valid.defined() ? valid.data<int32_t>() : nullptr,
            MatrixView<float>(result));
    });
    check_launch("softmax");
}

void top_k(const Tensor& probabilities, const Tensor& ids, const Tensor& weights, cudaStream_t stream) {
    constexpr int64_t most_columns = 40000;  // what fits the flags' shared memory
    SHEAF_CHECK(probabilities.dtype() == DType::f32 && probabilities.size(1) <= most_columns,
                "top_k of {} {}", probabilities.shape().to_string(), dtype_name(probabilities.dtype()));
    if (probabilities.size(0) == 0) return;
    top_k_rows<<<static_cast<unsigned>(probabilities.size(0)), threads_per_block,
                 static_cast<size_t>(probabilities.size(1)), stream>>>(
        MatrixView<const float>(probabilities), static_cast<int>(ids.size(1)), ids.data<int32_t>(),
        weights.data<float>());
    check_launch("top_k");
}

void matmul(const Tensor& a, const Tensor& b, const Tensor& result, cudaStream_t stream) {
    SHEAF_CHECK(a.size(1) == b.size(0) && result.size(0) == a.size(0) && result.size(1) == b.size(1));
    if (result.elements() == 0) return;
    const dim3 grid(blocks_for(result.size(1), tile), blocks_for(result.size(0), tile));
    with_float(a.dtype(), [&](auto a_type) {
        with_float(b.dtype(), [&](auto b_type) {
            using A = decltype(a_type);
            using B = decltype(b_type);
            multiply_tiles<<<grid, tile * tile, 0, stream>>>(MatrixView<const A>(a), MatrixView<const B>(b),
                                                             MatrixView<float>(result));
        });
    });
    check_launch("matmul");
}

void rotary_angles(const Tensor& positions, const Rotary& rotary, const Tensor& cosine, const Tensor& sine,
                   cudaStream_t stream) {
    const int64_t count = rotary.frequencies.size(0), all = positions.size(1) * count;
    if (all == 0) return;
    angles<<<blocks_for(all), threads_per_block, 0, stream>>>(
        MatrixView<const int32_t>(positions), rotary.frequencies.data<float>(), rotary.axes.data<int32_t>(),
        count, rotary.scale, cosine.data<float>(), sine.data<float>());
    check_launch("rotary_angles");
}

}  // namespace sheaf::cuda
