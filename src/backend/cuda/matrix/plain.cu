// The plain kernels: a warp per output, its lanes striding over the inputs, sums in fp32.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/matrix_values.cuh"
#include "backend/cuda/matrix/plain.h"

namespace sheaf::cuda {
namespace {

constexpr int warps = 8, rows_at_once = 8;

__device__ float warp_sum(float value) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
    return value;
}

template <class X, class Y>
__global__ void plain_linear(const X* x, int64_t x_stride, int64_t tokens, DeviceMatrix w, Y* y,
                             int64_t y_stride) {
    const int64_t n = static_cast<int64_t>(blockIdx.y) * warps + threadIdx.x / 32;
    const int64_t first = static_cast<int64_t>(blockIdx.x) * rows_at_once;
    const int lane = threadIdx.x % 32;
    if (n >= w.out) return;
    const int count = static_cast<int>(min(static_cast<int64_t>(rows_at_once), tokens - first));
    float sum[rows_at_once] = {};
    for (int64_t k = lane; k < w.in; k += 32) {
        const float weight = weight_at(w, w.data, n, k);
#pragma unroll
        for (int r = 0; r < rows_at_once; ++r)
            if (r < count) sum[r] += weight * to_float(x[(first + r) * x_stride + k]);
    }
#pragma unroll
    for (int r = 0; r < rows_at_once; ++r) {
        const float total = warp_sum(sum[r]);
        if (lane == 0 && r < count)
            store_float(y + (first + r) * y_stride + n, total + (w.bias ? w.bias[n] : 0.0f));
    }
}

template <class X>
__global__ void plain_gate_up(const X* x, int64_t x_stride, const int32_t* ids, int top_k,
                              DeviceExperts experts, float* act) {
    const int64_t i = static_cast<int64_t>(blockIdx.y) * warps + threadIdx.x / 32, pair = blockIdx.x;
    const int lane = threadIdx.x % 32;
    if (i >= experts.intermediate) return;
    const X* row = x + pair / top_k * x_stride;
    const uint8_t* data = experts.gate_up.data + ids[pair] * experts.gate_up_stride;
    const int64_t gate_row = i / 8 * 16 + i % 8;
    float gate = 0, up = 0;
    for (int64_t k = lane; k < experts.hidden; k += 32) {
        const float value = to_float(row[k]);
        gate += value * weight_at(experts.gate_up, data, gate_row, k);
        up += value * weight_at(experts.gate_up, data, gate_row + 8, k);
    }
    gate = warp_sum(gate);
    up = warp_sum(up);
    if (lane == 0) act[pair * experts.intermediate + i] = gate / (1.0f + expf(-gate)) * up;
}

template <class Y>
__global__ void plain_down(const float* act, const int32_t* ids, const float* weights, int top_k,
                           DeviceExperts experts, Y* y, int64_t y_stride) {
    const int64_t n = static_cast<int64_t>(blockIdx.y) * warps + threadIdx.x / 32, token = blockIdx.x;
    const int lane = threadIdx.x % 32;
    if (n >= experts.hidden) return;
    float total = 0;
    for (int j = 0; j < top_k; ++j) {
        const int64_t pair = token * top_k + j;
        const uint8_t* data = experts.down.data + ids[pair] * experts.down_stride;
        float sum = 0;
        for (int64_t k = lane; k < experts.intermediate; k += 32)
            sum += act[pair * experts.intermediate + k] * weight_at(experts.down, data, n, k);
        total += weights[pair] * warp_sum(sum);
    }
    if (lane == 0) store_float(y + token * y_stride + n, total);
}

__global__ void one_expert(int32_t* ids, float* weights, int64_t tokens, int32_t index) {
    const int64_t t = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (t >= tokens) return;
    ids[t] = index;
    weights[t] = 1.0f;
}

dim3 plain_grid(int64_t outputs, int64_t rows) {
    return dim3(static_cast<unsigned>(rows), static_cast<unsigned>((outputs + warps - 1) / warps));
}

template <class X, class Y>
void run_linear(const Tensor& x, const DeviceMatrix& w, const Tensor& y, cudaStream_t stream) {
    const int64_t tokens = x.size(0);
    plain_linear<<<plain_grid(w.out, (tokens + rows_at_once - 1) / rows_at_once), warps * 32, 0, stream>>>(
        static_cast<const X*>(x.raw()), x.row_stride(), tokens, w, static_cast<Y*>(y.raw()), y.row_stride());
}

}  // namespace

void launch_plain_linear(const Tensor& x, const DeviceMatrix& weight, const Tensor& y, cudaStream_t stream) {
    const bool wide_x = x.dtype() == DType::f32, wide_y = y.dtype() == DType::f32;
    if (wide_x && wide_y) run_linear<float, float>(x, weight, y, stream);
    if (wide_x && !wide_y) run_linear<float, __nv_bfloat16>(x, weight, y, stream);
    if (!wide_x && wide_y) run_linear<__nv_bfloat16, float>(x, weight, y, stream);
    if (!wide_x && !wide_y) run_linear<__nv_bfloat16, __nv_bfloat16>(x, weight, y, stream);
    check_launch("plain_linear");
}

void launch_plain_gate_up(const Tensor& x, const int32_t* ids, int64_t top_k, const DeviceExperts& experts,
                          float* act, cudaStream_t stream) {
    const dim3 grid = plain_grid(experts.intermediate, x.size(0) * top_k);
    const int k = static_cast<int>(top_k);
    if (x.dtype() == DType::f32)
        plain_gate_up<<<grid, warps * 32, 0, stream>>>(static_cast<const float*>(x.raw()), x.row_stride(),
                                                       ids, k, experts, act);
    else
        plain_gate_up<<<grid, warps * 32, 0, stream>>>(static_cast<const __nv_bfloat16*>(x.raw()),
                                                       x.row_stride(), ids, k, experts, act);
    check_launch("plain_gate_up");
}

void launch_plain_down(const float* act, const int32_t* ids, const float* weights, int64_t top_k,
                       const DeviceExperts& experts, const Tensor& y, cudaStream_t stream) {
    const dim3 grid = plain_grid(experts.hidden, y.size(0));
    const int k = static_cast<int>(top_k);
    if (y.dtype() == DType::f32)
        plain_down<<<grid, warps * 32, 0, stream>>>(act, ids, weights, k, experts,
                                                    static_cast<float*>(y.raw()), y.row_stride());
    else
        plain_down<<<grid, warps * 32, 0, stream>>>(act, ids, weights, k, experts,
                                                    static_cast<__nv_bfloat16*>(y.raw()), y.row_stride());
    check_launch("plain_down");
}

void launch_one_expert(int32_t* ids, float* weights, int64_t tokens, int32_t index, cudaStream_t stream) {
    one_expert<<<static_cast<unsigned>((tokens + 255) / 256), 256, 0, stream>>>(ids, weights, tokens, index);
    check_launch("one_expert");
}

}  // namespace sheaf::cuda
