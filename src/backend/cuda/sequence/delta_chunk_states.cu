// The chunked delta rule, second kernel: the walk over a sequence's chunks (delta_chunks.cuh). A block has 64
// value columns of one (sequence, value head), a warp 16 of them, all 128 rows of the state's columns in fp32
// registers, as S^T: then every product takes its left operand from the warp's own registers (accumulators
// repacked), and no warp waits for another except for the tiles in shared memory, which are fetched one chunk
// ahead.
#include "backend/cuda/sequence/delta_chunks.cuh"

namespace sheaf::cuda {
namespace {

constexpr int threads = 128, columns = 64;  // value columns of a block

struct Stage {
    uint4 w[4][8][32];
    uint4 u[4][4][32];
    uint4 p[10][32];
    float of_query[64], of_key[64], of_state[128];
    char queries[16384], keys[16384];
};
static_assert(sizeof(Stage) % 128 == 0);

struct Walk {
    int sequence, head, key_head, slice;
    int first, end;  // chunks of this call
    int start;       // the sequence's first chunk
};

__device__ inline void fetch_linear(void* to, const void* from, int bytes) {
    const uint32_t address = shared_address(to);
    for (int at = threadIdx.x * 16; at < bytes; at += threads * 16)
        copy16(address + at, static_cast<const char*>(from) + at, true);
}

__device__ void fetch_stage(const DeltaChunkWork& work, const Walk& walk, int chunk, Stage& stage) {
    const DeltaWork& delta = work.delta;
    const int first = (chunk - walk.start) * delta_chunk, rows = delta.batch.count[walk.sequence] - first;
    const int64_t row = delta.batch.begin[walk.sequence] + first;
    const ChunkMemory* from = chunk_memory(work, chunk, walk.head);
    fetch_linear(stage.w, from->w, sizeof(stage.w));
    fetch_linear(stage.u, from->u[walk.slice * 4], sizeof(stage.u));
    fetch_linear(stage.p, from->p, sizeof(stage.p) + 1024);  // and the factors
    fetch_chunk(shared_address(stage.queries),
                static_cast<const bf16*>(delta.query.data) + row * delta.query.stride +
                    walk.key_head * delta_chunk_dim,
                delta.query.stride, rows);
    fetch_chunk(
        shared_address(stage.keys),
        static_cast<const bf16*>(delta.key.data) + row * delta.key.stride + walk.key_head * delta_chunk_dim,
        delta.key.stride, rows);
}

/// S^T: 16 value columns (rows of the accumulators) by 128 key elements.
using State = float[16][4];
/// 16 value columns by 64 tokens.
using Tokens = float[8][4];

template <class Number>
__device__ inline Number* state_place(const DeltaWork& work, const Walk& walk) {
    const int lane = threadIdx.x % 32, column = walk.slice * columns + threadIdx.x / 32 * 16 + lane / 4;
    return static_cast<Number*>(work.state) +
           (static_cast<int64_t>(work.batch.slot[walk.sequence]) * work.value_heads + walk.head) *
               delta_chunk_dim * delta_chunk_dim +
           lane % 4 * 2 * delta_chunk_dim + column;
}
__device__ inline int state_offset(int n, int i) {  // of accumulator [n][i] from state_place
    return (8 * n + i % 2) * delta_chunk_dim + i / 2 * 8;
}

/// seen = S^T W^T, output = S^T q^T.
__device__ inline void apply_state(const State& state, const Stage& stage, Tokens& seen, Tokens& output) {
    const int lane = threadIdx.x % 32;
    const uint32_t queries = shared_address(stage.queries);
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) seen[n][i] = output[n][i] = 0.0f;
#pragma unroll
    for (int step = 0; step < 8; ++step) {
        const uint32_t a[4] = {pack_bf16(state[2 * step][0], state[2 * step][1]),
                               pack_bf16(state[2 * step][2], state[2 * step][3]),
                               pack_bf16(state[2 * step + 1][0], state[2 * step + 1][1]),
                               pack_bf16(state[2 * step + 1][2], state[2 * step + 1][3])};
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            const uint4 w = stage.w[n][step][lane];
            mma(seen[2 * n], a, w.x, w.y);
            mma(seen[2 * n + 1], a, w.z, w.w);
            uint32_t q[4];
            const int row = 16 * n + lane % 8 + lane / 16 * 8;
            load_matrices(q, tile_address<delta_chunk_dim>(queries, row, 2 * step + lane / 8 % 2));
            mma(output[2 * n], a, q[0], q[1]);
            mma(output[2 * n + 1], a, q[2], q[3]);
        }
    }
}

/// Accumulators of 16 tokens as left operand.
__device__ inline void as_operand(uint32_t (&a)[4], const Tokens& x, int block) {
    a[0] = pack_bf16(x[2 * block][0], x[2 * block][1]), a[1] = pack_bf16(x[2 * block][2], x[2 * block][3]);
    a[2] = pack_bf16(x[2 * block + 1][0], x[2 * block + 1][1]);
    a[3] = pack_bf16(x[2 * block + 1][2], x[2 * block + 1][3]);
}

/// seen becomes V'^T = U^T - seen; output <- its factor of q times itself, + V'^T P^T.
__device__ inline void correct(const Stage& stage, Tokens& seen, Tokens& output) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int n = 0; n < 4; ++n) {
        const uint4 u = stage.u[warp][n][lane];
        const uint32_t pairs[4] = {u.x, u.y, u.z, u.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            float(&x)[4] = seen[2 * n + i / 2];
            x[i % 2 * 2] = low_bf16(pairs[i]) - x[i % 2 * 2];
            x[i % 2 * 2 + 1] = high_bf16(pairs[i]) - x[i % 2 * 2 + 1];
        }
    }
#pragma unroll
    for (int n = 0; n < 8; ++n) {
        const float2 factor = *reinterpret_cast<const float2*>(stage.of_query + 8 * n + lane % 4 * 2);
        output[n][0] *= factor.x, output[n][1] *= factor.y, output[n][2] *= factor.x,
            output[n][3] *= factor.y;
    }
#pragma unroll
    for (int block = 0; block < 4; ++block) {
        uint32_t a[4];
        as_operand(a, seen, block);
#pragma unroll
        for (int n = block; n < 4; ++n) {
            const uint4 p = stage.p[n * (n + 1) / 2 + block][lane];
            mma(output[2 * n], a, p.x, p.y);
            mma(output[2 * n + 1], a, p.z, p.w);
        }
    }
}

/// S^T <- exp(G_last) S^T + (V'^T times its factors of k) k.
__device__ inline void update_state(const Stage& stage, Tokens& values, State& state) {
    const int lane = threadIdx.x % 32;
    const uint32_t keys = shared_address(stage.keys);
    const float keep = stage.of_state[0];
#pragma unroll
    for (int n = 0; n < 16; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) state[n][i] *= keep;
#pragma unroll
    for (int n = 0; n < 8; ++n) {
        const float2 factor = *reinterpret_cast<const float2*>(stage.of_key + 8 * n + lane % 4 * 2);
        values[n][0] *= factor.x, values[n][1] *= factor.y, values[n][2] *= factor.x,
            values[n][3] *= factor.y;
    }
#pragma unroll
    for (int block = 0; block < 4; ++block) {
        uint32_t a[4];
        as_operand(a, values, block);
#pragma unroll
        for (int n = 0; n < 8; ++n) {
            uint32_t k[4];
            load_matrices_transposed(
                k, tile_address<delta_chunk_dim>(keys, 16 * block + lane % 16, 2 * n + lane / 16));
            mma(state[2 * n], a, k[0], k[1]);
            mma(state[2 * n + 1], a, k[2], k[3]);
        }
    }
}

/// The accumulators' rows are value columns: 8 x 8 blocks are transposed on the way to the result's rows.
__device__ inline void write_output(const DeltaWork& work, const Walk& walk, int chunk,
                                    const Tokens& output) {
    const int lane = threadIdx.x % 32;
    const int first = (chunk - walk.start) * delta_chunk, rows = work.batch.count[walk.sequence] - first;
    bf16* to = static_cast<bf16*>(work.result.data) +
               (work.batch.begin[walk.sequence] + first + lane / 4) * work.result.stride +
               walk.head * delta_chunk_dim + walk.slice * columns + threadIdx.x / 32 * 16 + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            uint32_t x = pack_bf16(output[n][2 * half], output[n][2 * half + 1]);
            asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %0;\n" : "+r"(x));
            if (8 * n + lane / 4 < rows)
                *reinterpret_cast<uint32_t*>(to + 8 * n * work.result.stride + 8 * half) = x;
        }
}

/// With `depth` 2 the next chunk is fetched while one is computed.
template <class Number, int depth>
__global__ void __launch_bounds__(threads, 1) chunk_states_kernel(DeltaChunkWork work) {
    extern __shared__ __align__(128) char memory[];
    auto* stages = reinterpret_cast<Stage*>(memory);
    int* prefix = reinterpret_cast<int*>(memory + depth * sizeof(Stage));
    const DeltaWork& delta = work.delta;
    Walk walk;
    walk.slice = blockIdx.x, walk.head = blockIdx.y, walk.sequence = blockIdx.z;
    walk.key_head = walk.head / (delta.value_heads / delta.key_heads);
    if (delta.batch.count[walk.sequence] <= delta.longest) return;
    count_chunks(delta, prefix);
    walk.start = prefix[walk.sequence];
    walk.first = max(walk.start, work.first_chunk);
    walk.end = min(prefix[walk.sequence + 1], work.first_chunk + work.chunks);
    if (walk.first >= walk.end) return;
    fetch_stage(work, walk, walk.first, stages[0]);
    commit_copies();
    State state = {};
    Number* place = state_place<Number>(delta, walk);
    if (walk.first > walk.start || delta.batch.context[walk.sequence] > 0)
#pragma unroll
        for (int n = 0; n < 16; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) state[n][i] = to_float(place[state_offset(n, i)]);
    for (int chunk = walk.first; chunk < walk.end; ++chunk) {
        Stage& stage = stages[(chunk - walk.first) % depth];
        if (depth > 1 && chunk + 1 < walk.end)
            fetch_stage(work, walk, chunk + 1, stages[(chunk - walk.first + 1) % depth]);
        commit_copies();
        wait_copies<depth - 1>();
        __syncthreads();
        Tokens values, output;
        apply_state(state, stage, values, output);
        correct(stage, values, output);
        write_output(delta, walk, chunk, output);
        update_state(stage, values, state);
        __syncthreads();
        if (depth == 1 && chunk + 1 < walk.end) fetch_stage(work, walk, chunk + 1, stage);
    }
#pragma unroll
    for (int n = 0; n < 16; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) place[state_offset(n, i)] = from_float<Number>(state[n][i]);
}

template <class Number, int depth>
cudaError_t start(const DeltaChunkWork& work, cudaStream_t stream) {
    const DeltaWork& delta = work.delta;
    const int bytes = static_cast<int>(depth * sizeof(Stage)) + (delta.batch.sequences + 1) * 4;
    const cudaError_t status = cudaFuncSetAttribute(chunk_states_kernel<Number, depth>,
                                                    cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (status != cudaSuccess) return status;
    const dim3 grid(delta_chunk_dim / columns, static_cast<unsigned>(delta.value_heads),
                    static_cast<unsigned>(delta.batch.sequences));
    chunk_states_kernel<Number, depth><<<grid, threads, static_cast<size_t>(bytes), stream>>>(work);
    return cudaGetLastError();
}

}  // namespace

cudaError_t launch_delta_chunk_states(const DeltaChunkWork& work, cudaStream_t stream) {
    if (work.delta.state_element == Element::bf16)
        return work.small ? start<bf16, 1>(work, stream) : start<bf16, 2>(work, stream);
    return work.small ? start<float, 1>(work, stream) : start<float, 2>(work, stream);
}

}  // namespace sheaf::cuda
