// The chunked delta rule, first kernel: what a chunk needs that does not depend on the state
// (delta_chunks.cuh). One block per (chunk, key head): k k^T and q k^T are made once for the value heads that
// share them. The triangular inverse goes in blocks of 16: diagonal blocks by substitution in fp32, the
// others by tf32 products.
#include "backend/cuda/sequence/delta_chunks.cuh"

namespace sheaf::cuda {
namespace {

constexpr int threads = 128, pitch = 68;  // floats from row to row of a 64 x 64 matrix

struct Shared {
    char keys[16384];
    char queries[16384];  // then the values of one head after the other
    float a[64 * pitch], t[64 * pitch];
    float logs[most_heads_per_key][64], betas[most_heads_per_key][64];  // logs: G
    float key_norms[64], query_norms[64];                               // reciprocal
};

struct Chunk {
    int row, rows;  // first row in the batch, and how many there are
    int key_head, heads;
};

__device__ inline void mma_tf32(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ inline uint32_t tf32(float x) {
    uint32_t y;
    asm("cvt.rna.tf32.f32 %0, %1;\n" : "=r"(y) : "f"(x));
    return y;
}

/// c += a b of 16 x 16 blocks in shared memory.
__device__ inline void multiply_blocks(float (&c)[2][4], const float* a, const float* b) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int k = 0; k < 16; k += 8) {
        const uint32_t x[4] = {tf32(a[g * pitch + k + t]), tf32(a[(g + 8) * pitch + k + t]),
                               tf32(a[g * pitch + k + t + 4]), tf32(a[(g + 8) * pitch + k + t + 4])};
#pragma unroll
        for (int n = 0; n < 2; ++n)
            mma_tf32(c[n], x, tf32(b[(k + t) * pitch + 8 * n + g]), tf32(b[(k + t + 4) * pitch + 8 * n + g]));
    }
}
__device__ inline void store_block(float* to, const float (&c)[2][4], float sign) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int n = 0; n < 2; ++n) {
        *reinterpret_cast<float2*>(to + g * pitch + 8 * n + 2 * t) =
            make_float2(sign * c[n][0], sign * c[n][1]);
        *reinterpret_cast<float2*>(to + (g + 8) * pitch + 8 * n + 2 * t) =
            make_float2(sign * c[n][2], sign * c[n][3]);
    }
}

/// The inverse of I + a for a's diagonal block of this warp, by substitution; a lane has one column.
__device__ void invert_diagonal(const float* a, float* t) {
    const int lane = threadIdx.x % 32, column = lane % 16;
    float x[16];
#pragma unroll
    for (int i = 0; i < 16; ++i) {
        float sum = i == column ? 1.0f : 0.0f;
#pragma unroll
        for (int k = 0; k < i; ++k) sum = fmaf(-a[i * pitch + k], x[k], sum);
        x[i] = sum;
    }
    if (lane < 16)
#pragma unroll
        for (int i = 0; i < 16; ++i) t[i * pitch + column] = x[i];
}

/// Below this warp's diagonal block of T: T_ij = -T_ii sum_k A_ik T_kj.
__device__ void invert_column(const float* a, float* t, int j) {
    for (int i = j + 1; i < 4; ++i) {
        float* block = t + (16 * i) * pitch + 16 * j;
        float sum[2][4] = {}, product[2][4] = {};
        for (int k = j; k < i; ++k)
            multiply_blocks(sum, a + (16 * i) * pitch + 16 * k, t + (16 * k) * pitch + 16 * j);
        store_block(block, sum, 1.0f);
        __syncwarp();
        multiply_blocks(product, t + (16 * i) * pitch + 16 * i, block);
        __syncwarp();
        store_block(block, product, -1.0f);
        __syncwarp();
    }
}

/// Reciprocal norms of the chunk's keys (threads 0 to 63) and queries.
__device__ void find_norms(Shared& shared) {
    const int row = threadIdx.x % 64;
    const char* tile = threadIdx.x < 64 ? shared.keys : shared.queries;
    float squares = 0;
#pragma unroll
    for (int i = 0; i < 16; ++i) {
        float x[8];
        load8(reinterpret_cast<const bf16*>(tile + tile_address<delta_chunk_dim>(0, row, i)), x);
#pragma unroll
        for (int j = 0; j < 8; ++j) squares = fmaf(x[j], x[j], squares);
    }
    (threadIdx.x < 64 ? shared.key_norms : shared.query_norms)[row] = 1.0f / sqrtf(squares + 1e-6f);
}

/// G and beta of the chunk's rows, one warp per value head; rows past the end change nothing.
__device__ void find_gates(const DeltaWork& work, const Chunk& chunk, Shared& shared) {
    const int lane = threadIdx.x % 32;
    for (int i = threadIdx.x / 32; i < chunk.heads; i += threads / 32) {
        const int head = chunk.key_head * chunk.heads + i;
        const float rate = -expf(work.a_log[head]), bias = work.dt_bias[head];
        float logs[2] = {}, betas[2] = {};
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const int row = 2 * lane + j;
            if (row >= chunk.rows) continue;
            const int64_t at = chunk.row + row;
            logs[j] =
                rate *
                softplus(to_float(static_cast<const bf16*>(work.a.data)[at * work.a.stride + head]) + bias);
            betas[j] = sigmoid(to_float(static_cast<const bf16*>(work.b.data)[at * work.b.stride + head]));
        }
        float sum = logs[0] + logs[1];
        const float own = sum;
        for (int step = 1; step < 32; step *= 2) {
            const float other = __shfl_up_sync(0xffffffffu, sum, step);
            if (lane >= step) sum += other;
        }
        shared.logs[i][2 * lane] = sum - own + logs[0];
        shared.logs[i][2 * lane + 1] = sum;
        shared.betas[i][2 * lane] = betas[0], shared.betas[i][2 * lane + 1] = betas[1];
    }
}

/// A lane's part of 16 rows of a 64 x 64 matrix, columns up to the diagonal block.
using Strip = float[8][4];

/// x y^T for the warp's 16 rows of x.
__device__ void multiply_rows(Strip& c, uint32_t x, uint32_t y) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int step = 0; step < 8; ++step) {
        uint32_t a[4];
        load_matrices(a, tile_address<delta_chunk_dim>(x, 16 * warp + lane % 16, 2 * step + lane / 16));
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            if (n > warp) break;
            uint32_t b[4];
            const int row = 16 * n + lane % 8 + lane / 16 * 8;
            load_matrices(b, tile_address<delta_chunk_dim>(y, row, 2 * step + lane / 8 % 2));
            mma(c[2 * n], a, b[0], b[1]);
            mma(c[2 * n + 1], a, b[2], b[3]);
        }
    }
}

/// The strictly lower part of A from k k^T.
__device__ void write_a(const Strip& products, const float* logs, const float* betas, Shared& shared) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const int i = 16 * warp + lane / 4 + 8 * r;
        const float factor = betas[i] * shared.key_norms[i], log = logs[i];
#pragma unroll
        for (int n = 0; n < 8; ++n) {
            if (n > 2 * warp + 1) break;
            const int j = 8 * n + lane % 4 * 2;
            float2 x = make_float2(0, 0);
            if (j < i) x.x = products[n][2 * r] * factor * shared.key_norms[j] * __expf(log - logs[j]);
            if (j + 1 < i)
                x.y = products[n][2 * r + 1] * factor * shared.key_norms[j + 1] * __expf(log - logs[j + 1]);
            *reinterpret_cast<float2*>(shared.a + i * pitch + j) = x;
        }
    }
}

/// P from q k^T, to memory.
__device__ void write_p(const Strip& products, const float* logs, const Shared& shared, ChunkMemory* memory) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int block = 0; block < 4; ++block) {
        if (block > warp) break;
        uint32_t pairs[4];
#pragma unroll
        for (int part = 0; part < 4; ++part) {  // (row half, column half)
            const int i = 16 * warp + lane / 4 + part / 2 * 8, j = 16 * block + part % 2 * 8 + lane % 4 * 2;
            const float factor = shared.query_norms[i] * 0.08838834764f;  // 1 / sqrt(128)
            const float* from = &products[2 * block + part % 2][part / 2 * 2];
            const float x =
                j <= i ? from[0] * factor * shared.key_norms[j] * __expf(logs[i] - logs[j]) : 0.0f;
            const float y = j + 1 <= i
                                ? from[1] * factor * shared.key_norms[j + 1] * __expf(logs[i] - logs[j + 1])
                                : 0.0f;
            pairs[part] = pack_bf16(x, y);
        }
        memory->p[warp * (warp + 1) / 2 + block][lane] = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
    }
}

/// Two neighbours of a row of T times the columns' factors.
__device__ inline uint32_t scaled_pair(const float* t, int row, int column, const float (&factors)[2]) {
    const float2 x = *reinterpret_cast<const float2*>(t + row * pitch + column);
    return pack_bf16(x.x * factors[0], x.y * factors[1]);
}

/// W = T (beta exp(G) r k): the warp's 16 rows.
__device__ void write_w(const float* logs, const float* betas, const Shared& shared, uint32_t keys,
                        ChunkMemory* memory) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, row = 16 * warp + lane / 4;
    float w[16][4] = {};
#pragma unroll
    for (int step = 0; step < 4; ++step) {
        if (step > warp) break;
        float factors[2][2];
        const int column = 16 * step + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int j = column + i / 2 * 8 + i % 2;
            factors[i / 2][i % 2] = betas[j] * __expf(logs[j]) * shared.key_norms[j];
        }
        const uint32_t a[4] = {scaled_pair(shared.t, row, column, factors[0]),
                               scaled_pair(shared.t, row + 8, column, factors[0]),
                               scaled_pair(shared.t, row, column + 8, factors[1]),
                               scaled_pair(shared.t, row + 8, column + 8, factors[1])};
#pragma unroll
        for (int n = 0; n < 8; ++n) {
            uint32_t b[4];
            load_matrices_transposed(
                b, tile_address<delta_chunk_dim>(keys, 16 * step + lane % 16, 2 * n + lane / 16));
            mma(w[2 * n], a, b[0], b[1]);
            mma(w[2 * n + 1], a, b[2], b[3]);
        }
    }
#pragma unroll
    for (int n = 0; n < 8; ++n)
        memory->w[warp][n][lane] =
            make_uint4(pack_bf16(w[2 * n][0], w[2 * n][1]), pack_bf16(w[2 * n + 1][0], w[2 * n + 1][1]),
                       pack_bf16(w[2 * n][2], w[2 * n][3]), pack_bf16(w[2 * n + 1][2], w[2 * n + 1][3]));
}

/// U^T = v^T (T beta)^T: 16 value elements at a time, two such strips a warp.
__device__ void write_u(const float* betas, const Shared& shared, uint32_t values, ChunkMemory* memory) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int strip = 2 * warp; strip < 2 * warp + 2; ++strip) {
        float u[8][4] = {};
#pragma unroll
        for (int step = 0; step < 4; ++step) {
            uint32_t a[4];
            load_matrices_transposed(
                a, tile_address<delta_chunk_dim>(values, 16 * step + lane % 8 + lane / 16 * 8,
                                                 2 * strip + lane / 8 % 2));
            const int column = 16 * step + lane % 4 * 2;
            const float low[2] = {betas[column], betas[column + 1]},
                        high[2] = {betas[column + 8], betas[column + 9]};
#pragma unroll
            for (int n = 2 * step; n < 8; ++n)
                mma(u[n], a, scaled_pair(shared.t, 8 * n + lane / 4, column, low),
                    scaled_pair(shared.t, 8 * n + lane / 4, column + 8, high));
        }
#pragma unroll
        for (int n = 0; n < 4; ++n)
            memory->u[strip][n][lane] = make_uint4(
                pack_bf16(u[2 * n][0], u[2 * n][1]), pack_bf16(u[2 * n][2], u[2 * n][3]),
                pack_bf16(u[2 * n + 1][0], u[2 * n + 1][1]), pack_bf16(u[2 * n + 1][2], u[2 * n + 1][3]));
    }
}

__device__ void write_factors(const float* logs, const Shared& shared, ChunkMemory* memory) {
    const int i = threadIdx.x;
    const float last = logs[63];
    if (i < 64) {
        memory->of_query[i] = __expf(logs[i]) * shared.query_norms[i] * 0.08838834764f;
        memory->of_key[i] = __expf(last - logs[i]) * shared.key_norms[i];
    }
    if (i == 64) memory->of_state[0] = __expf(last);
}

__global__ void __launch_bounds__(threads, 2) chunk_matrices_kernel(DeltaChunkWork work) {
    extern __shared__ __align__(128) char memory[];
    Shared& shared = *reinterpret_cast<Shared*>(memory);
    int* prefix = reinterpret_cast<int*>(memory + sizeof(Shared));
    const DeltaWork& delta = work.delta;
    const DeviceBatch& batch = delta.batch;
    count_chunks(delta, prefix);
    const int index = work.first_chunk + static_cast<int>(blockIdx.x), warp = threadIdx.x / 32;
    if (index >= prefix[batch.sequences]) return;
    const int sequence = find_sequence(prefix, batch.sequences, index);
    Chunk chunk;
    const int first = (index - prefix[sequence]) * delta_chunk;
    chunk.row = batch.begin[sequence] + first;
    chunk.rows = min(delta_chunk, batch.count[sequence] - first);
    chunk.key_head = blockIdx.y, chunk.heads = delta.value_heads / delta.key_heads;
    const uint32_t keys = shared_address(shared.keys), queries = shared_address(shared.queries);
    auto start = [&](const Rows& x, int head) {
        return static_cast<const bf16*>(x.data) + chunk.row * x.stride + head * delta_chunk_dim;
    };
    fetch_chunk(keys, start(delta.key, chunk.key_head), delta.key.stride, chunk.rows);
    fetch_chunk(queries, start(delta.query, chunk.key_head), delta.query.stride, chunk.rows);
    commit_copies();
    find_gates(delta, chunk, shared);
    wait_copies<0>();
    __syncthreads();
    find_norms(shared);
    Strip key_products = {}, query_products = {};
    multiply_rows(key_products, keys, keys);
    multiply_rows(query_products, queries, keys);
    for (int i = 0; i < chunk.heads; ++i) {
        const int head = chunk.key_head * chunk.heads + i;
        const float *logs = shared.logs[i], *betas = shared.betas[i];
        __syncthreads();  // the queries, or the last head's values and matrices, are done with
        fetch_chunk(queries, start(delta.value, head), delta.value.stride, chunk.rows);
        commit_copies();
        write_a(key_products, logs, betas, shared);
        __syncwarp();
        invert_diagonal(shared.a + 16 * warp * (pitch + 1), shared.t + 16 * warp * (pitch + 1));
        __syncthreads();
        invert_column(shared.a, shared.t, warp);
        wait_copies<0>();
        __syncthreads();
        ChunkMemory* to = chunk_memory(work, index, head);
        write_p(query_products, logs, shared, to);
        write_factors(logs, shared, to);
        write_w(logs, betas, shared, keys, to);
        write_u(betas, shared, queries, to);
    }
}

}  // namespace

cudaError_t launch_delta_chunk_matrices(const DeltaChunkWork& work, cudaStream_t stream) {
    const int bytes = static_cast<int>(sizeof(Shared)) + (work.delta.batch.sequences + 1) * 4;
    const cudaError_t status =
        cudaFuncSetAttribute(chunk_matrices_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (status != cudaSuccess) return status;
    const dim3 grid(static_cast<unsigned>(work.chunks), static_cast<unsigned>(work.delta.key_heads));
    chunk_matrices_kernel<<<grid, threads, static_cast<size_t>(bytes), stream>>>(work);
    return cudaGetLastError();
}

}  // namespace sheaf::cuda
