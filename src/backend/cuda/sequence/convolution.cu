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

/// Inputs of a row as they lie in memory. They are not written while the kernel runs: such loads may overtake
/// the stores before them.
template <class T, int width>
struct Inputs;
template <class T>
struct Inputs<T, 1> {
    T x;
    __device__ void load(const T* from) { x = __ldg(from); }
    __device__ void widen(float (&y)[1]) const { y[0] = to_float(x); }
};
template <>
struct Inputs<float, 8> {
    float4 a, b;
    __device__ void load(const float* from) {
        a = __ldg(reinterpret_cast<const float4*>(from)),
        b = __ldg(reinterpret_cast<const float4*>(from) + 1);
    }
    __device__ void widen(float (&y)[8]) const {
        y[0] = a.x, y[1] = a.y, y[2] = a.z, y[3] = a.w, y[4] = b.x, y[5] = b.y, y[6] = b.z, y[7] = b.w;
    }
};
template <>
struct Inputs<bf16, 8> {
    uint4 a;
    __device__ void load(const bf16* from) { a = __ldg(reinterpret_cast<const uint4*>(from)); }
    __device__ void widen(float (&y)[8]) const {
        y[0] = low_bf16(a.x), y[1] = high_bf16(a.x), y[2] = low_bf16(a.y), y[3] = high_bf16(a.y);
        y[4] = low_bf16(a.z), y[5] = high_bf16(a.z), y[6] = low_bf16(a.w), y[7] = high_bf16(a.w);
    }
};

template <class T>
__device__ inline const T* input_row(const ConvolutionWork& work, int row, int channel) {
    return static_cast<const T*>(work.x.data) + row * work.x.stride + channel;
}
template <class T, int width>
__device__ void load_inputs(const ConvolutionWork& work, int row, int channel, float (&x)[width]) {
    Inputs<T, width> inputs;
    inputs.load(input_row<T>(work, row, channel));
    inputs.widen(x);
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

template <int width, int kernel>
__device__ void load_weights(const ConvolutionWork& work, int channel, float (&weight)[kernel][width]) {
#pragma unroll
    for (int j = 0; j < width; ++j) {
        const float* from = work.weight + (channel + j) * kernel;
        if constexpr (kernel == 4 && width == 8) {
            const float4 x = __ldg(reinterpret_cast<const float4*>(from));
            weight[0][j] = x.x, weight[1][j] = x.y, weight[2][j] = x.z, weight[3][j] = x.w;
        } else {
#pragma unroll
            for (int i = 0; i < kernel; ++i) weight[i][j] = __ldg(from + i);
        }
    }
}

/// Rows [row, end) of one sequence; past[0 .. kernel - 2] hold what comes before. `kernel` rows at a time,
/// the next ones on their way: row i of them goes to past[(kernel - 1 + i) % kernel], over what no row needs
/// any more.
template <class T, int width, int kernel>
__device__ void convolve_run(const ConvolutionWork& work, int row, int end, int channel,
                             const float (&weight)[kernel][width], float (&past)[kernel][width]) {
    Inputs<T, width> next[kernel];
#pragma unroll
    for (int i = 0; i < kernel; ++i)
        if (row + i < end) next[i].load(input_row<T>(work, row + i, channel));
    T* result = static_cast<T*>(work.result.data) + channel;
    for (; row < end; row += kernel) {
        Inputs<T, width> now[kernel];
#pragma unroll
        for (int i = 0; i < kernel; ++i) {
            now[i] = next[i];
            if (row + kernel + i < end) next[i].load(input_row<T>(work, row + kernel + i, channel));
        }
#pragma unroll
        for (int i = 0; i < kernel; ++i) {
            if (row + i >= end) break;
            now[i].widen(past[(kernel - 1 + i) % kernel]);
            float y[width] = {};
#pragma unroll
            for (int tap = 0; tap < kernel; ++tap)
#pragma unroll
                for (int j = 0; j < width; ++j)
                    y[j] = fmaf(weight[tap][j], past[(i + tap) % kernel][j], y[j]);
#pragma unroll
            for (int j = 0; j < width; ++j) y[j] = silu(y[j]);
            store_values<width>(result + (row + i) * work.result.stride, y);
        }
    }
}

template <class T, int width, int kernel>
__global__ void __launch_bounds__(threads) convolution_kernel(ConvolutionWork work) {
    const int channel = (blockIdx.y * threads + threadIdx.x) * width;
    const int first = blockIdx.x * work.rows_per_block;
    const int end = min(first + work.rows_per_block, work.batch.tokens);
    BatchRow place =
        batch_row(work.batch, first);  // batch and weights are older than the kernel before this one
    float weight[kernel][width], past[kernel][width];
    if (channel < work.channels) load_weights<width, kernel>(work, channel, weight);
    allow_next_kernel();
    wait_for_previous_kernel();
    if (channel >= work.channels) return;
    for (int row = first; row < end;) {
        if (row > first) place = batch_row(work.batch, row);
        if (!place.active) {
            const float zeros[width] = {};
            store_values<width>(static_cast<T*>(work.result.data) + row * work.result.stride + channel,
                                zeros);
            ++row;
            continue;
        }
        const int start = row - place.index, stop = start + work.batch.count[place.sequence];
        if (start < first && place.index < kernel - 1) {  // done by the tile of the sequence's first row
            row = min(stop, start + kernel - 1);
            continue;
        }
        const int until = min(stop, start < first ? end : max(end, start + kernel - 1));
        load_past<T, width, kernel>(work, place, row, channel, past);
        if (place.index == 0) replace_state<T, width, kernel>(work, place, row, channel, past);
        convolve_run<T, width, kernel>(work, row, until, channel, weight, past);
        row = until;
    }
}

template <class T, int width>
cudaError_t start(const ConvolutionWork& work, cudaStream_t stream) {
    const dim3 grid(
        static_cast<unsigned>((work.batch.tokens + work.rows_per_block - 1) / work.rows_per_block),
        static_cast<unsigned>((work.channels + threads * width - 1) / (threads * width)));
    if constexpr (width == 8) {
        return launch_early(convolution_kernel<T, width, 4>, {grid, dim3(threads)}, stream, work);
    } else {
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
