// Kernels of norms, gates and rotation: rows held in registers between the statistics and the result.
#include "backend/cuda/sequence/device_math.cuh"
#include "backend/cuda/sequence/kernels.h"
#include "backend/cuda/sequence/launch.cuh"

namespace sheaf::cuda {
namespace {

template <int threads>
__device__ float group_sum(float x) {
    x = warp_sum(x);
    if constexpr (threads > 32) {
        __shared__ float parts[threads / 32];
        if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
        __syncthreads();
        x = parts[threadIdx.x % (threads / 32)];
        x = warp_sum<threads / 32>(x);
    }
    return x;
}

__device__ inline float normalized(NormKind kind, float x, float factor, const float* weight, int column,
                                   float gate) {
    if (kind == NormKind::l2) return x * factor;
    if (kind == NormKind::gated_rms) return x * factor * weight[column] * silu(gate);
    return x * factor * (1.0f + weight[column]);
}

template <NormKind kind>
__device__ float factor_of(float squares, const NormWork& work) {
    const float divisor = kind == NormKind::l2 ? 1.0f : static_cast<float>(work.dim);
    return 1.0f / sqrtf(squares / divisor + work.epsilon);
}

template <class T, NormKind kind, int threads, int vectors>
__global__ void __launch_bounds__(threads < 128 ? 128 : threads) norm_kernel(NormWork work) {
    allow_next_kernel();
    wait_for_previous_kernel();
    const int64_t group = static_cast<int64_t>(blockIdx.x) * (blockDim.x / threads) + threadIdx.x / threads;
    if (group >= work.rows * work.groups) return;
    const int lane = threadIdx.x % threads;
    const int64_t row = group / work.groups, at = group % work.groups * work.dim;
    const T* x = static_cast<const T*>(work.x.data) + row * work.x.stride + at;
    const T* other = static_cast<const T*>(work.other.data) + row * work.other.stride + at;
    float values[vectors][8], others[vectors][8], squares = 0;
#pragma unroll
    for (int i = 0; i < vectors; ++i) {
        const int column = (i * threads + lane) * 8;
        if (column >= work.dim) break;
        load8(x + column, values[i]);
        if constexpr (kind == NormKind::add_rms || kind == NormKind::gated_rms)
            load8(other + column, others[i]);
        if constexpr (kind == NormKind::add_rms) {
#pragma unroll
            for (int j = 0; j < 8; ++j) values[i][j] = to_float(from_float<T>(values[i][j] + others[i][j]));
            store8(static_cast<T*>(work.sum.data) + row * work.sum.stride + at + column, values[i]);
        }
#pragma unroll
        for (int j = 0; j < 8; ++j) squares += values[i][j] * values[i][j];
    }
    const float factor = factor_of<kind>(group_sum<threads>(squares), work);
    T* result = static_cast<T*>(work.result.data) + row * work.result.stride + at;
#pragma unroll
    for (int i = 0; i < vectors; ++i) {
        const int column = (i * threads + lane) * 8;
        if (column >= work.dim) break;
        float weights[8], done[8];
        if constexpr (kind != NormKind::l2) load8(work.weight + column, weights);
#pragma unroll
        for (int j = 0; j < 8; ++j)
            done[j] = normalized(kind, values[i][j], factor, weights, j, others[i][j]);
        store8(result + column, done);
    }
}

/// Element by element, for sizes and strides that 16-byte vectors do not fit.
template <class T, NormKind kind>
__global__ void __launch_bounds__(128) plain_norm_kernel(NormWork work) {
    allow_next_kernel();
    wait_for_previous_kernel();
    const int64_t group = blockIdx.x;
    const int64_t row = group / work.groups, at = group % work.groups * work.dim;
    const T* x = static_cast<const T*>(work.x.data) + row * work.x.stride + at;
    const T* other = static_cast<const T*>(work.other.data) + row * work.other.stride + at;
    T* sum = static_cast<T*>(work.sum.data) + row * work.sum.stride + at;
    T* result = static_cast<T*>(work.result.data) + row * work.result.stride + at;
    auto value = [&](int column) {
        if constexpr (kind == NormKind::add_rms)
            return to_float(from_float<T>(to_float(x[column]) + to_float(other[column])));
        return to_float(x[column]);
    };
    float squares = 0;
    for (int column = threadIdx.x; column < work.dim; column += 128) {
        const float v = value(column);
        if constexpr (kind == NormKind::add_rms) sum[column] = from_float<T>(v);
        squares += v * v;
    }
    const float factor = factor_of<kind>(group_sum<128>(squares), work);
    for (int column = threadIdx.x; column < work.dim; column += 128) {
        const float gate = kind == NormKind::gated_rms ? to_float(other[column]) : 0.0f;
        result[column] = from_float<T>(normalized(kind, value(column), factor, work.weight, column, gate));
    }
}

template <class T, NormKind kind>
cudaError_t start_norm(const NormWork& work, cudaStream_t stream) {
    const int64_t groups = work.rows * work.groups;
    const auto warps = static_cast<unsigned>((groups + 3) / 4), blocks = static_cast<unsigned>(groups);
    if (work.vectors == 0)
        return launch_early(plain_norm_kernel<T, kind>, {dim3(blocks), dim3(128)}, stream, work);
    if (work.threads == 32)
        return launch_early(norm_kernel<T, kind, 32, 1>, {dim3(warps), dim3(128)}, stream, work);
    if (work.threads == 128)
        return launch_early(norm_kernel<T, kind, 128, 1>, {dim3(blocks), dim3(128)}, stream, work);
    if (work.vectors == 1)
        return launch_early(norm_kernel<T, kind, 512, 1>, {dim3(blocks), dim3(512)}, stream, work);
    return launch_early(norm_kernel<T, kind, 512, 2>, {dim3(blocks), dim3(512)}, stream, work);
}

template <class T>
cudaError_t start_norm(const NormWork& work, cudaStream_t stream) {
    switch (work.kind) {
        case NormKind::rms:
            return start_norm<T, NormKind::rms>(work, stream);
        case NormKind::add_rms:
            return start_norm<T, NormKind::add_rms>(work, stream);
        case NormKind::gated_rms:
            return start_norm<T, NormKind::gated_rms>(work, stream);
        case NormKind::l2:
            return start_norm<T, NormKind::l2>(work, stream);
    }
    return cudaErrorInvalidValue;
}

template <class T, int width>
__global__ void __launch_bounds__(256)
    swiglu_kernel(Rows gate, Rows up, Rows result, int64_t rows, int64_t columns) {
    allow_next_kernel();
    wait_for_previous_kernel();
    const int64_t index = (static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x) * width;
    if (index >= rows * columns) return;
    const int64_t row = index / columns, column = index % columns;
    const T* g = static_cast<const T*>(gate.data) + row * gate.stride + column;
    const T* u = static_cast<const T*>(up.data) + row * up.stride + column;
    T* y = static_cast<T*>(result.data) + row * result.stride + column;
    if constexpr (width == 8) {
        float a[8], b[8];
        load8(g, a), load8(u, b);
#pragma unroll
        for (int i = 0; i < 8; ++i) a[i] = silu(a[i]) * b[i];
        store8(y, a);
    } else {
        *y = from_float<T>(silu(to_float(*g)) * to_float(*u));
    }
}

template <class T>
cudaError_t start_swiglu(Rows gate, Rows up, Rows result, int64_t rows, int64_t columns, bool vectors,
                         cudaStream_t stream) {
    const int64_t threads = rows * columns / (vectors ? 8 : 1);
    const auto blocks = static_cast<unsigned>((threads + 255) / 256);
    if (vectors)
        return launch_early(swiglu_kernel<T, 8>, {dim3(blocks), dim3(256)}, stream, gate, up, result, rows,
                            columns);
    return launch_early(swiglu_kernel<T, 1>, {dim3(blocks), dim3(256)}, stream, gate, up, result, rows,
                        columns);
}

/// One block per row; the angles are found once per row.
template <class T>
__global__ void __launch_bounds__(128)
    rotate_kernel(Rows from, Rows to, int heads, int head_dim, Angles angles) {
    allow_next_kernel();
    wait_for_previous_kernel();
    extern __shared__ float table[];
    float *cosine = table, *sine = table + angles.count;
    const int64_t row = blockIdx.x;
    for (int i = threadIdx.x; i < angles.count; i += 128) {
        const auto position = static_cast<float>(angles.positions[angles.axes[i] * angles.stride + row]);
        float s, c;
        sincosf(position * angles.frequencies[i], &s, &c);
        cosine[i] = c * angles.scale, sine[i] = s * angles.scale;
    }
    __syncthreads();
    const T* x = static_cast<const T*>(from.data) + row * from.stride;
    T* y = static_cast<T*>(to.data) + row * to.stride;
    for (int column = threadIdx.x; column < heads * head_dim; column += 128) {
        const int d = column % head_dim, half = angles.count;
        float value = to_float(x[column]);
        if (d < half)
            value = value * cosine[d] - to_float(x[column + half]) * sine[d];
        else if (d < 2 * half)
            value = value * cosine[d - half] + to_float(x[column - half]) * sine[d - half];
        y[column] = from_float<T>(value);
    }
}

}  // namespace

cudaError_t launch_norm(const NormWork& work, cudaStream_t stream) {
    if (work.rows * work.groups == 0) return cudaSuccess;
    if (work.element == Element::bf16) return start_norm<bf16>(work, stream);
    return start_norm<float>(work, stream);
}

cudaError_t launch_swiglu(Element element, Rows gate, Rows up, Rows result, int64_t rows, int64_t columns,
                          bool vectors, cudaStream_t stream) {
    if (rows * columns == 0) return cudaSuccess;
    if (element == Element::bf16) return start_swiglu<bf16>(gate, up, result, rows, columns, vectors, stream);
    return start_swiglu<float>(gate, up, result, rows, columns, vectors, stream);
}

cudaError_t launch_rotate(Element element, Rows x, Rows result, int64_t rows, int32_t heads, int32_t head_dim,
                          const Angles& angles, cudaStream_t stream) {
    if (rows == 0) return cudaSuccess;
    const LaunchShape shape{dim3(static_cast<unsigned>(rows)), dim3(128),
                            2 * sizeof(float) * static_cast<size_t>(angles.count)};
    if (element == Element::bf16)
        return launch_early(rotate_kernel<bf16>, shape, stream, x, result, heads, head_dim, angles);
    return launch_early(rotate_kernel<float>, shape, stream, x, result, heads, head_dim, angles);
}

}  // namespace sheaf::cuda
