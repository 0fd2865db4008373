// One row of a Gated DeltaNet layer in one launch: convolution with its state, norms of q and k, gates, delta
// rule, gated norm. A cluster of four blocks has one (sequence, value head), each block 32 of its 128
// columns, with the state in registers as in delta_steps.cu; the state's loads are issued before anything
// else. q and k are convolved by every block that needs them; the last of these to have read the
// convolution's old state replaces it.
#include "backend/cuda/sequence/batch_rows.cuh"
#include "backend/cuda/sequence/device_math.cuh"
#include "backend/cuda/sequence/kernels.h"
#include "backend/cuda/sequence/launch.cuh"

namespace sheaf::cuda {
namespace {

constexpr int threads = 128, blocks_per_head = 4;

#if __CUDA_ARCH__ >= 900
constexpr int dim = 128, columns = dim / blocks_per_head, kernel = 4;
constexpr int key_groups = 16, column_threads = 8, keys = dim / key_groups, width = 4;

struct Shared {
    float query[dim], key[dim], value[columns];
    float products[3][4];  // by warp: q q, k k, q k
    float sums[4][column_threads][2 * width];
    float squares[blocks_per_head];  // of the outputs, by block of the cluster
    int arrived;
};

/// One channel of the convolution: its past inputs, and silu of the sum.
struct Channel {
    float past[kernel - 1], now, result;
    float* state;
};

__device__ inline Channel convolve(const DeltaStepWork& work, int row, int64_t slot, bool fresh,
                                   int channel) {
    const int channels = work.channels;
    Channel c;
    c.state = work.conv_state + slot * (kernel - 1) * channels + channel;
    const float4 weight = __ldg(reinterpret_cast<const float4*>(work.conv_weight + channel * kernel));
    c.now = to_float(static_cast<const bf16*>(work.x.data)[row * work.x.stride + channel]);
#pragma unroll
    for (int i = 0; i < kernel - 1; ++i) c.past[i] = fresh ? 0.0f : c.state[i * channels];
    const float sum =
        fmaf(weight.w, c.now, fmaf(weight.z, c.past[2], fmaf(weight.y, c.past[1], weight.x * c.past[0])));
    // As the separate operators do: the convolution's result is an activation.
    c.result = to_float(from_float<bf16>(silu(sum)));
    return c;
}
__device__ inline void replace(const DeltaStepWork& work, const Channel& c) {
    c.state[0] = c.past[1], c.state[work.channels] = c.past[2], c.state[2 * work.channels] = c.now;
}

/// What a thread needs besides the state and the convolution: all on its way before the first is used.
struct Inputs {
    float a, b, rate, bias;
    uint2 gate;
    float4 weight;
};
__device__ inline Inputs load_inputs(const DeltaStepWork& work, int row, int head, int column) {
    Inputs x;
    x.a = to_float(__ldg(static_cast<const bf16*>(work.a.data) + row * work.a.stride + head));
    x.b = to_float(__ldg(static_cast<const bf16*>(work.b.data) + row * work.b.stride + head));
    x.rate = __ldg(work.a_log + head), x.bias = __ldg(work.dt_bias + head);
    x.gate = __ldg(reinterpret_cast<const uint2*>(static_cast<const bf16*>(work.gate.data) +
                                                  row * work.gate.stride + head * dim + column));
    x.weight = __ldg(reinterpret_cast<const float4*>(work.norm_weight + column));
    return x;
}

/// The channels of q and k whose state is still to be brought up to date.
struct Pending {
    Channel query, key;
};

/// q, k and this block's v to shared memory.
__device__ Pending make_inputs(const DeltaStepWork& work, int row, int sequence, int head, Shared& shared) {
    const int per_key = work.value_heads / work.key_heads, key_head = head / per_key, thread = threadIdx.x;
    const int64_t slot = work.batch.slot[sequence];
    const bool fresh = work.batch.context[sequence] == 0;
    const Channel q = convolve(work, row, slot, fresh, key_head * dim + thread);
    const Channel k = convolve(work, row, slot, fresh, (work.key_heads + key_head) * dim + thread);
    if (thread < columns) {
        const Channel v =
            convolve(work, row, slot, fresh,
                     2 * work.key_heads * dim + head * dim + static_cast<int>(blockIdx.x) * columns + thread);
        shared.value[thread] = v.result;
        replace(work, v);
    }
    shared.query[thread] = q.result, shared.key[thread] = k.result;
    const float products[3] = {warp_sum(q.result * q.result), warp_sum(k.result * k.result),
                               warp_sum(q.result * k.result)};
    if (thread % 32 == 0)
        for (int i = 0; i < 3; ++i) shared.products[i][thread / 32] = products[i];
    __syncthreads();
    return {q, k};
}

/// Once every block that needs the old states of q and k has read them (which its sums have shown), the last
/// one writes the new ones. arrive() is thread 0's, after a barrier that follows the reading.
__device__ int arrive(const DeltaStepWork& work, int sequence, int head) {
    const int per_key = work.value_heads / work.key_heads;
    return atomicAdd(work.arrivals + sequence * work.key_heads + head / per_key, 1);
}
__device__ void replace_last(const DeltaStepWork& work, int sequence, int head, const Pending& pending,
                             const Shared& shared) {
    const int per_key = work.value_heads / work.key_heads;
    if (shared.arrived != per_key * blocks_per_head - 1) return;
    replace(work, pending.query), replace(work, pending.key);
    if (threadIdx.x == 0) work.arrivals[sequence * work.key_heads + head / per_key] = 0;
}

/// Sums over the key groups; every thread gets its columns' totals.
__device__ void sum_groups(float (&x)[2 * width], Shared& shared) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, at = lane % column_threads;
#pragma unroll
    for (int i = 0; i < 2 * width; ++i) {
        x[i] += __shfl_xor_sync(0xffffffffu, x[i], 8);
        x[i] += __shfl_xor_sync(0xffffffffu, x[i], 16);
    }
    if (lane < column_threads)
#pragma unroll
        for (int i = 0; i < 2 * width; ++i) shared.sums[warp][lane][i] = x[i];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 2 * width; ++i)
        x[i] = shared.sums[0][at][i] + shared.sums[1][at][i] + shared.sums[2][at][i] + shared.sums[3][at][i];
}

/// The delta rule on this block's columns; the outputs of the thread's columns.
__device__ void step(const Inputs& x, float (&state)[keys][width], float (&output)[width], Shared& shared) {
    const int group = threadIdx.x / column_threads, column = threadIdx.x % column_threads * width;
    const float decay = expf(-expf(x.rate) * softplus(x.a + x.bias)), beta = sigmoid(x.b);
    float sums[2 * width] = {};
#pragma unroll
    for (int i = 0; i < keys; ++i) {
        const float k = shared.key[group + i * key_groups], q = shared.query[group + i * key_groups];
#pragma unroll
        for (int j = 0; j < width; ++j) {
            sums[j] = fmaf(k, state[i][j], sums[j]);
            sums[width + j] = fmaf(q, state[i][j], sums[width + j]);
        }
    }
    sum_groups(sums, shared);
    auto total = [&](int i) {
        return shared.products[i][0] + shared.products[i][1] + shared.products[i][2] + shared.products[i][3];
    };
    const float key_scale = rsqrtf(total(1) + 1e-6f), query_scale = rsqrtf(total(0) + 1e-6f) * 0.08838834764f;
    const float product = total(2) * key_scale * query_scale;
    float delta[width];
#pragma unroll
    for (int j = 0; j < width; ++j) {
        delta[j] = beta * (shared.value[column + j] - decay * key_scale * sums[j]);
        output[j] = to_float(from_float<bf16>(decay * query_scale * sums[width + j] + product * delta[j]));
    }
#pragma unroll
    for (int i = 0; i < keys; ++i) {
        const float k = shared.key[group + i * key_groups] * key_scale;
#pragma unroll
        for (int j = 0; j < width; ++j) state[i][j] = fmaf(k, delta[j], decay * state[i][j]);
    }
}

__device__ inline void arrive_cluster() {
    asm volatile("barrier.cluster.arrive.release.aligned;\n" ::: "memory");
}
__device__ inline void wait_cluster() {
    asm volatile("barrier.cluster.wait.acquire.aligned;\n" ::: "memory");
}
/// Writes to the same place in the shared memory of another block of the cluster.
__device__ inline void store_in_block(const float* place, int block, float x) {
    uint32_t address;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;\n"
                 : "=r"(address)
                 : "r"(shared_address(place)), "r"(block));
    asm volatile("st.shared::cluster.f32 [%0], %1;\n" ::"r"(address), "f"(x) : "memory");
}
#endif  // sm_90

__global__ void __launch_bounds__(threads) delta_step_kernel(DeltaStepWork work) {
#if __CUDA_ARCH__ >= 900
    __shared__ Shared shared;
    const int slice = blockIdx.x, head = blockIdx.y, sequence = blockIdx.z, row = work.batch.begin[sequence];
    const int count = work.batch.count[sequence], context = work.batch.context[sequence];
    const int64_t slot = work.batch.slot[sequence];
    const int column = threadIdx.x % column_threads * width, first = head * dim + slice * columns + column;
    bf16* result = static_cast<bf16*>(work.result.data) + row * work.result.stride + first;
    if (count == 0) {  // padding: the whole cluster leaves
        wait_for_previous_kernel();
        if (threadIdx.x < column_threads) *reinterpret_cast<uint2*>(result) = make_uint2(0, 0);
        return;
    }
    arrive_cluster();  // before another block's memory is written, that block must have started
    float* place = work.state +
                   ((slot * work.value_heads + head) * dim + threadIdx.x / column_threads) * dim +
                   slice * columns + column;
    float state[keys][width] = {};
    if (context > 0)
#pragma unroll
        for (int i = 0; i < keys; ++i) {
            const float4 x = __ldcs(reinterpret_cast<const float4*>(place + i * key_groups * dim));
            state[i][0] = x.x, state[i][1] = x.y, state[i][2] = x.z, state[i][3] = x.w;
        }
    wait_for_previous_kernel();  // the projections; the state is older
    allow_next_kernel();
    const Inputs inputs = load_inputs(work, row, head, slice * columns + column);
    const Pending pending = make_inputs(work, row, sequence, head, shared);
    const int arrived = threadIdx.x == 0 ? arrive(work, sequence, head) : 0;  // needed at the end
    float output[width];
    step(inputs, state, output, shared);
    float squares = 0;
#pragma unroll
    for (int j = 0; j < width; ++j) squares += output[j] * output[j];
    squares = warp_sum<column_threads>(squares);
    wait_cluster();
    if (threadIdx.x < blocks_per_head) store_in_block(&shared.squares[slice], threadIdx.x, squares);
    if (threadIdx.x == 0) shared.arrived = arrived;
    arrive_cluster();
#pragma unroll
    for (int i = 0; i < keys; ++i)
        __stcs(reinterpret_cast<float4*>(place + i * key_groups * dim),
               make_float4(state[i][0], state[i][1], state[i][2], state[i][3]));
    wait_cluster();
    replace_last(work, sequence, head, pending, shared);
    if (threadIdx.x >= column_threads) return;
    const float sum = shared.squares[0] + shared.squares[1] + shared.squares[2] + shared.squares[3];
    const float factor = 1.0f / sqrtf(sum / dim + work.epsilon);
    const uint2 gate = inputs.gate;
    const float4 weight = inputs.weight;
    const float y0 = output[0] * factor * weight.x * silu(low_bf16(gate.x));
    const float y1 = output[1] * factor * weight.y * silu(high_bf16(gate.x));
    const float y2 = output[2] * factor * weight.z * silu(low_bf16(gate.y));
    const float y3 = output[3] * factor * weight.w * silu(high_bf16(gate.y));
    *reinterpret_cast<uint2*>(result) = make_uint2(pack_bf16(y0, y1), pack_bf16(y2, y3));
#endif
}

}  // namespace

cudaError_t launch_delta_net_step(const DeltaStepWork& work, cudaStream_t stream) {
    if (work.batch.sequences == 0) return cudaSuccess;
    const dim3 grid(blocks_per_head, static_cast<unsigned>(work.value_heads),
                    static_cast<unsigned>(work.batch.sequences));
    return launch_early(delta_step_kernel, {grid, dim3(threads), 0, blocks_per_head}, stream, work);
}

}  // namespace sheaf::cuda
