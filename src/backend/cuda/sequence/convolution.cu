// The causal depthwise convolution with state. A block takes a tile of rows and 128 threads' channels; a
// thread slides over its rows with the last inputs in registers. The first rows of a sequence, which read the
// state, are done by the tile of the sequence's first row, whose thread then writes the new state: nobody
// else touches it.
#include "backend/cuda/sequence/batch_rows.cuh"
#include "backend/cuda/sequence/device_math.cuh"
#include "backend/cuda/sequence/kernels.h"
#include "backend/cuda/sequence/launch.cuh"

namespace sheaf::cuda {
namespace {

constexpr int threads = 128;

template <class T, int width>
__device__ void load_inputs(const ConvolutionWork& work, int row, int channel, float (&x)[width]) {
    const T* from = static_cast<const T*>(work.x.data) + row * work.x.stride + channel;
    if constexpr (width == 8)
        load8(from, x);
    else
        x[0] = to_float(*from);
}

__device__ inline float* state_row(const ConvolutionWork& work, int slot, int index, int channel) {
    return work.state + (static_cast<int64_t>(slot) * (work.kernel - 1) + index) * work.channels + channel;
}

template <int width>
__device__ void load_state(const float* from, float (&x)[width]) {
    if constexpr (width == 8)
        load8(from, x);
    else
        x[0] = *from;
}

template <int width, class T>
__device__ void store_values(T* to, const float (&x)[width]) {
    if constexpr (width == 8)
        store8(to, x);
    else
        *to = from_float<T>(x[0]);
}

/// The inputs of rows index - (kernel - 1) .. index - 1 of the sequence, oldest first.
template <class T, int width, int kernel>
__device__ void load_past(const ConvolutionWork& work, const BatchRow& place, int row, int channel,
                          float (&past)[kernel][width]) {
    const bool fresh = work.batch.context[place.sequence] == 0;
    const int slot = work.batch.slot[place.sequence];
#pragma unroll
    for (int i = 0; i < kernel - 1; ++i) {
        const int index = place.index - (kernel - 1) + i;
        if (index >= 0)
            load_inputs<T, width>(work, row - (kernel - 1) + i, channel, past[i]);
        else if (!fresh)
            load_state<width>(state_row(work, slot, kernel - 1 + index, channel), past[i]);
        else
#pragma unroll
            for (int j = 0; j < width; ++j) past[i][j] = 0.0f;
    }
}

/// The last inputs of the sequence whose first row this is; `past` still holds the old state. Runs shorter
/// than the state are told apart one by one, so that `past` is indexed by constants and stays in registers.
template <class T, int width, int kernel>
__device__ void replace_state(const ConvolutionWork& work, const BatchRow& place, int row, int channel,
                              const float (&past)[kernel][width]) {
    constexpr int length = kernel - 1;
    const int count = work.batch.count[place.sequence], slot = work.batch.slot[place.sequence];
#pragma unroll
    for (int shorter = 1; shorter <= length; ++shorter) {
        if (shorter < length ? count != shorter : count < length) continue;
#pragma unroll
        for (int i = 0; i < length; ++i) {
            float* to = state_row(work, slot, i, channel);
            float x[width];
            if (shorter + i < length) {
                store_values<width>(to, past[shorter + i]);
            } else {
                load_inputs<T, width>(work, row + count - length + i, channel, x);
                store_values<width>(to, x);
            }
        }
    }
}

template <class T, int width, int kernel>
__global__ void __launch_bounds__(threads) convolution_kernel(ConvolutionWork work) {
    allow_next_kernel();
    wait_for_previous_kernel();
    const int channel = (blockIdx.y * threads + threadIdx.x) * width;
    if (channel >= work.channels) return;
    float weight[kernel][width], window[kernel][width];  // window[kernel - 1]: the current row
#pragma unroll
    for (int j = 0; j < width; ++j)
#pragma unroll
        for (int i = 0; i < kernel; ++i) weight[i][j] = work.weight[(channel + j) * kernel + i];
    const int first = blockIdx.x * work.rows_per_block, end = first + work.rows_per_block;
    bool ready = false;  // whether the window holds the rows before this one
    for (int row = first; row < work.batch.tokens; ++row) {
        const BatchRow place = batch_row(work.batch, row);
        const bool heads_sequence = place.active && place.index < kernel - 1;
        // Rows that read the state belong to the tile of their sequence's first row.
        if (row >= end && (!heads_sequence || row - place.index >= end)) break;
        T* result = static_cast<T*>(work.result.data) + row * work.result.stride + channel;
        float y[width] = {};
        if (!place.active) {
            store_values<width>(result, y);
            ready = false;
            continue;
        }
        if (heads_sequence && row - place.index < first) continue;
        if (place.index == 0) ready = false;
        if (!ready) load_past<T, width, kernel>(work, place, row, channel, window);
        ready = true;
        if (place.index == 0) replace_state<T, width, kernel>(work, place, row, channel, window);
        load_inputs<T, width>(work, row, channel, window[kernel - 1]);
#pragma unroll
        for (int i = 0; i < kernel; ++i)
#pragma unroll
            for (int j = 0; j < width; ++j) y[j] = fmaf(weight[i][j], window[i][j], y[j]);
#pragma unroll
        for (int j = 0; j < width; ++j) y[j] = silu(y[j]);
        store_values<width>(result, y);
#pragma unroll
        for (int i = 0; i + 1 < kernel; ++i)
#pragma unroll
            for (int j = 0; j < width; ++j) window[i][j] = window[i + 1][j];
    }
}

template <class T, int width>
cudaError_t start(const ConvolutionWork& work, cudaStream_t stream) {
    const dim3 grid(
        static_cast<unsigned>((work.batch.tokens + work.rows_per_block - 1) / work.rows_per_block),
        static_cast<unsigned>((work.channels + threads * width - 1) / (threads * width)));
    if constexpr (width == 8)
        return launch_early(convolution_kernel<T, width, 4>, {grid, dim3(threads)}, stream, work);
    switch (work.kernel) {
        case 2:
            return launch_early(convolution_kernel<T, width, 2>, {grid, dim3(threads)}, stream, work);
        case 3:
            return launch_early(convolution_kernel<T, width, 3>, {grid, dim3(threads)}, stream, work);
        case 4:
            return launch_early(convolution_kernel<T, width, 4>, {grid, dim3(threads)}, stream, work);
        case 5:
            return launch_early(convolution_kernel<T, width, 5>, {grid, dim3(threads)}, stream, work);
        case 6:
            return launch_early(convolution_kernel<T, width, 6>, {grid, dim3(threads)}, stream, work);
        case 7:
            return launch_early(convolution_kernel<T, width, 7>, {grid, dim3(threads)}, stream, work);
        case 8:
            return launch_early(convolution_kernel<T, width, 8>, {grid, dim3(threads)}, stream, work);
    }
    return cudaErrorInvalidValue;
}

template <class T>
cudaError_t start(const ConvolutionWork& work, cudaStream_t stream) {
    if (work.vectors && work.kernel == 4) return start<T, 8>(work, stream);
    return start<T, 1>(work, stream);
}

}  // namespace

cudaError_t launch_convolution(const ConvolutionWork& work, cudaStream_t stream) {
    if (work.batch.tokens == 0) return cudaSuccess;
    if (work.element == Element::bf16) return start<bf16>(work, stream);
    return start<float>(work, stream);
}

}  // namespace sheaf::cuda
