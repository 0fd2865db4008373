// One row of a Gated DeltaNet layer in one launch: convolution with its state, norms of q and k, gates, delta
// rule, gated norm. A block has one (sequence, value head) with its whole (128, 128) state in registers: warp
// w rows 16 w to 16 w + 15, lane l columns 4 l to 4 l + 3. States, weights and past inputs are on their way
// before the kernel before this one has ended. The blocks of a key head, which all convolve its q and k, are
// a cluster: once all of them have read the convolution's old state, the first one replaces it. sm_90 and
// later.
#include "backend/cuda/sequence/batch_rows.cuh"
#include "backend/cuda/sequence/cluster.cuh"
#include "backend/cuda/sequence/device_math.cuh"
#include "backend/cuda/sequence/kernels.h"
#include "backend/cuda/sequence/launch.cuh"

namespace sheaf::cuda {
namespace {

constexpr int threads = 256;

#if __CUDA_ARCH__ >= 900
constexpr int warps = threads / 32, dim = 128, kernel = 4, keys = dim / warps;

struct StepMemory {
    float query[dim], key[dim], value[dim];
    float sums[2][warps][dim];  // S^T k and S^T q over a warp's rows
    float delta[dim];           // times the norm of k
    float products[3][warps];   // by warp: q q, k k, q k
    float squares[dim / 32];    // of the outputs
};

/// Where a block works; `fresh`: from zero state.
struct StepPlace {
    int row, key_head, head;
    int64_t slot;
    bool fresh;
};

/// One channel of the convolution: its weights, past inputs and place in the state.
struct StepChannel {
    float4 taps;
    float past[kernel - 1], now;
    float* state;
};

/// A thread's channels: threads 0 to 127 one of q and one of v, the others one of k.
constexpr int channels_each = 2;
__device__ inline bool has_channel(int i) {
    return i == 0 || threadIdx.x < dim;
}
__device__ inline int channel_of(const DeltaStepWork& work, const StepPlace& place, int i) {
    const int thread = threadIdx.x;
    if (i == 1) return (2 * work.key_heads + place.head) * dim + thread;
    return (thread < dim ? place.key_head : work.key_heads + place.key_head - 1) * dim + thread;
}

/// What no kernel in flight writes: weights and past inputs.
__device__ inline void load_past(const DeltaStepWork& work, const StepPlace& place,
                                 StepChannel (&channels)[channels_each]) {
#pragma unroll
    for (int i = 0; i < channels_each; ++i) {
        if (!has_channel(i)) continue;
        const int channel = channel_of(work, place, i);
        StepChannel& c = channels[i];
        c.state = work.conv_state + place.slot * (kernel - 1) * work.channels + channel;
        c.taps = __ldg(reinterpret_cast<const float4*>(work.conv_weight + channel * kernel));
#pragma unroll
        for (int j = 0; j < kernel - 1; ++j)
            c.past[j] = place.fresh ? 0.0f : __ldcs(c.state + j * work.channels);
    }
}
__device__ inline void load_now(const DeltaStepWork& work, const StepPlace& place,
                                StepChannel (&channels)[channels_each]) {
#pragma unroll
    for (int i = 0; i < channels_each; ++i)
        if (has_channel(i))
            channels[i].now = to_float(__ldg(static_cast<const bf16*>(work.x.data) +
                                             place.row * work.x.stride + channel_of(work, place, i)));
}
/// The convolution's results, rounded as the activations they are, to shared memory.
__device__ inline void convolve(const StepChannel (&channels)[channels_each], StepMemory& memory) {
    const int thread = threadIdx.x;
#pragma unroll
    for (int i = 0; i < channels_each; ++i) {
        if (!has_channel(i)) continue;
        const StepChannel& c = channels[i];
        const float sum =
            fmaf(c.taps.w, c.now, fmaf(c.taps.z, c.past[2], fmaf(c.taps.y, c.past[1], c.taps.x * c.past[0])));
        float* const to = i == 1 ? memory.value : thread < dim ? memory.query : memory.key;
        to[thread % dim] = to_float(from_float<bf16>(silu(sum)));
    }
}
__device__ inline void replace_past(const DeltaStepWork& work, const StepChannel& c) {
    c.state[0] = c.past[1], c.state[work.channels] = c.past[2], c.state[2 * work.channels] = c.now;
}

/// The four columns of one row of the state, as stored. It passes through once.
template <class State>
struct StateRow;
template <>
struct StateRow<float> {
    float4 x;
    __device__ void load(const float* from) { x = __ldcs(reinterpret_cast<const float4*>(from)); }
    __device__ void store(float* to) const { __stcs(reinterpret_cast<float4*>(to), x); }
    __device__ void get(float (&y)[4]) const { y[0] = x.x, y[1] = x.y, y[2] = x.z, y[3] = x.w; }
    __device__ void set(const float (&y)[4]) { x = make_float4(y[0], y[1], y[2], y[3]); }
};
template <>
struct StateRow<bf16> {
    uint2 x;
    __device__ void load(const bf16* from) { x = __ldcs(reinterpret_cast<const uint2*>(from)); }
    __device__ void store(bf16* to) const { __stcs(reinterpret_cast<uint2*>(to), x); }
    __device__ void get(float (&y)[4]) const {
        y[0] = low_bf16(x.x), y[1] = high_bf16(x.x), y[2] = low_bf16(x.y), y[3] = high_bf16(x.y);
    }
    __device__ void set(const float (&y)[4]) { x = make_uint2(pack_bf16(y[0], y[1]), pack_bf16(y[2], y[3])); }
};
template <class State>
__device__ inline State* state_place(const DeltaStepWork& work, int64_t slot, int head) {
    return static_cast<State*>(work.state) +
           ((slot * work.value_heads + head) * dim + threadIdx.x / 32 * keys) * dim + threadIdx.x % 32 * 4;
}

template <class State>
using StepState = StateRow<State>[keys];

/// What a head needs besides: on its way before it is needed. gate and weight: threads 0 to 127's own column.
struct StepGates {
    float a, b, rate, bias, gate, weight;
};
__device__ inline void load_constants(const DeltaStepWork& work, int head, StepGates& x) {
    x.rate = __ldg(work.a_log + head), x.bias = __ldg(work.dt_bias + head);
    x.weight = __ldg(work.norm_weight + threadIdx.x % dim);
}
__device__ inline void load_gates(const DeltaStepWork& work, int64_t row, int head, StepGates& x) {
    x.a = to_float(__ldg(static_cast<const bf16*>(work.a.data) + row * work.a.stride + head));
    x.b = to_float(__ldg(static_cast<const bf16*>(work.b.data) + row * work.b.stride + head));
    x.gate = to_float(__ldg(static_cast<const bf16*>(work.gate.data) + row * work.gate.stride + head * dim +
                            threadIdx.x % dim));
}

/// Sums over the warp's rows of the state, to shared memory.
template <class State>
__device__ inline void sum_rows(const StepState<State>& state, StepMemory& memory) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float with_key[4] = {}, with_query[4] = {};
#pragma unroll
    for (int i = 0; i < keys; i += 4) {
        const float4 k4 = *reinterpret_cast<const float4*>(memory.key + warp * keys + i),
                     q4 = *reinterpret_cast<const float4*>(memory.query + warp * keys + i);
        const float k[4] = {k4.x, k4.y, k4.z, k4.w}, q[4] = {q4.x, q4.y, q4.z, q4.w};
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            float x[4];
            state[i + r].get(x);
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                with_key[j] = fmaf(k[r], x[j], with_key[j]);
                with_query[j] = fmaf(q[r], x[j], with_query[j]);
            }
        }
    }
    *reinterpret_cast<float4*>(memory.sums[0][warp] + 4 * lane) =
        make_float4(with_key[0], with_key[1], with_key[2], with_key[3]);
    *reinterpret_cast<float4*>(memory.sums[1][warp] + 4 * lane) =
        make_float4(with_query[0], with_query[1], with_query[2], with_query[3]);
}

/// The warp's share of q q, k k and q k.
__device__ inline void sum_products(StepMemory& memory) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 16;
    const float q = memory.query[warp * keys + lane], k = memory.key[warp * keys + lane];
    const float products[3] = {warp_sum<16>(q * q), warp_sum<16>(k * k), warp_sum<16>(q * k)};
    if (threadIdx.x % 32 == 0)
#pragma unroll
        for (int i = 0; i < 3; ++i) memory.products[i][warp] = products[i];
}

__device__ inline float total_of(const float (&x)[warps]) {
    const float4 a = *reinterpret_cast<const float4*>(x), b = *reinterpret_cast<const float4*>(x + 4);
    return ((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w));
}

/// The column of this thread (0 to 127): its correction to shared memory; returns the output, as an
/// activation.
__device__ inline float correct(const StepGates& gates, float decay, StepMemory& memory) {
    const int column = threadIdx.x;
    float sums[2] = {};
#pragma unroll
    for (int w = 0; w < warps; ++w)
        sums[0] += memory.sums[0][w][column], sums[1] += memory.sums[1][w][column];
    const float key_scale = rsqrtf(total_of(memory.products[1]) + 1e-6f),
                query_scale = rsqrtf(total_of(memory.products[0]) + 1e-6f) * 0.08838834764f;  // 1 / sqrt(128)
    const float product = total_of(memory.products[2]) * key_scale * query_scale;
    const float delta = sigmoid(gates.b) * (memory.value[column] - decay * key_scale * sums[0]);
    const float output = to_float(from_float<bf16>(decay * query_scale * sums[1] + product * delta));
    memory.delta[column] = delta * key_scale;
    const float squares = warp_sum(output * output);
    if (column % 32 == 0) memory.squares[column / 32] = squares;
    return output;
}

template <class State>
__device__ inline void update_rows(StepState<State>& state, float decay, const StepMemory& memory,
                                   State* to) {
    const int warp = threadIdx.x / 32;
    const float4 d4 = *reinterpret_cast<const float4*>(memory.delta + threadIdx.x % 32 * 4);
    const float delta[4] = {d4.x, d4.y, d4.z, d4.w};
#pragma unroll
    for (int i = 0; i < keys; i += 4) {
        const float4 k4 = *reinterpret_cast<const float4*>(memory.key + warp * keys + i);
        const float k[4] = {k4.x, k4.y, k4.z, k4.w};
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            float x[4];
            state[i + r].get(x);
#pragma unroll
            for (int j = 0; j < 4; ++j) x[j] = fmaf(k[r], delta[j], decay * x[j]);
            state[i + r].set(x);
            state[i + r].store(to + (i + r) * dim);
        }
    }
}

/// The gated norm of this thread's column (0 to 127).
__device__ inline void write_output(const DeltaStepWork& work, int64_t row, int head, const StepGates& gates,
                                    float output, const StepMemory& memory) {
    const float4 squares = *reinterpret_cast<const float4*>(memory.squares);
    const float mean = (squares.x + squares.y + squares.z + squares.w) / dim;
    const float y = output * (1.0f / sqrtf(mean + work.epsilon)) * gates.weight * silu(gates.gate);
    static_cast<bf16*>(work.result.data)[row * work.result.stride + head * dim + threadIdx.x] =
        from_float<bf16>(y);
}

/// Zeros for a row of padding, if the sequence has one: one head's columns.
__device__ inline void clear_head(const DeltaStepWork& work, int sequence, int row, int head) {
    if (row < 0 || row >= work.batch.tokens || work.batch.row_sequence[row] != sequence) return;
    if (threadIdx.x < dim)
        static_cast<bf16*>(work.result.data)[row * work.result.stride + head * dim + threadIdx.x] =
            from_float<bf16>(0.0f);
}

#endif  // sm_90

template <class State>
__global__ void __launch_bounds__(threads, sizeof(State) == 2 ? 3 : 2) delta_step_kernel(DeltaStepWork work) {
#if __CUDA_ARCH__ >= 900
    __shared__ __align__(16) StepMemory memory;
    const int head = blockIdx.x, sequence = blockIdx.y, per_key = work.value_heads / work.key_heads;
    const int row = work.batch.begin[sequence], count = work.batch.count[sequence],
              context = work.batch.context[sequence];
    const int64_t slot = work.batch.slot[sequence];
    if (count == 0) {  // padding: the whole cluster leaves
        wait_for_previous_kernel();
        return clear_head(work, sequence, row, head);
    }
    const StepPlace place{row, head / per_key, head, slot, context == 0};
    State* const states = state_place<State>(work, slot, head);
    StepState<State> state = {};
    if (!place.fresh)
#pragma unroll
        for (int i = 0; i < keys; ++i) state[i].load(states + i * dim);
    StepChannel channels[channels_each];
    StepGates gates;
    load_past(work, place, channels);
    load_constants(work, head, gates);
    allow_next_kernel();
    wait_for_previous_kernel();  // the projections; the states are older
    load_now(work, place, channels);
    load_gates(work, row, head, gates);
    convolve(channels, memory);
    __syncthreads();
    arrive_cluster();  // has read the convolution's old state
    sum_products(memory);
    const float decay = expf(-expf(gates.rate) * softplus(gates.a + gates.bias));
    sum_rows<State>(state, memory);
    __syncthreads();
    float output = 0;
    if (threadIdx.x < dim) output = correct(gates, decay, memory);
    __syncthreads();
    if (threadIdx.x < dim) write_output(work, row, head, gates, output, memory);
    update_rows<State>(state, decay, memory, states);
    if (threadIdx.x < dim) replace_past(work, channels[1]);  // of the head's own values
    wait_cluster();
    if (head % per_key == 0) replace_past(work, channels[0]);
#endif
}

template <class State>
cudaError_t start(const DeltaStepWork& work, cudaStream_t stream) {
    const dim3 grid(static_cast<unsigned>(work.value_heads), static_cast<unsigned>(work.batch.sequences));
    return launch_early(delta_step_kernel<State>,
                        {grid, dim3(threads), 0, static_cast<unsigned>(work.value_heads / work.key_heads)},
                        stream, work);
}

}  // namespace

cudaError_t launch_delta_step(const DeltaStepWork& work, cudaStream_t stream) {
    if (work.batch.sequences == 0) return cudaSuccess;
    return work.state_element == Element::bf16 ? start<bf16>(work, stream) : start<float>(work, stream);
}

}  // namespace sheaf::cuda
