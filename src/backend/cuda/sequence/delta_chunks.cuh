// What the two kernels of the chunked delta rule share: how chunks are counted, and the memory between them.
// Inside a chunk, with G the running sum of the log decays, D_ij = exp(G_i - G_j), and r the reciprocal norms
// of q and k:
//   A = strictly lower (beta_i r_i r_j k_i . k_j D_ij), T = (I + A)^-1, W = T (beta exp(G) r k), U = T (beta
//   v), P = lower (q_i . k_j r_i r_j D_ij / sqrt(dim)); V' = U - W S, o = exp(G) q S + P V', S <- exp(G_last)
//   S + sum_i exp(G_last - G_i) k_i V'_i.
// The first kernel makes W, U, P and the factors of every chunk, the second walks over a sequence's chunks.
// q, k and v enter the products as they are (bf16), norms and gates as fp32 factors. W, U^T and P lie in the
// order in which the lanes of a warp hold mma fragments: what one kernel's accumulators are is the other's
// operand. Device code.
#pragma once

#include "backend/cuda/sequence/batch_rows.cuh"
#include "backend/cuda/sequence/device_math.cuh"

namespace sheaf::cuda {

/// One (chunk, value head) of the scratch memory.
struct ChunkMemory {
    uint4 w[4][8][32];    // (16 tokens, 16 key elements, lane)
    uint4 u[8][4][32];    // (16 value elements, 16 tokens, lane)
    uint4 p[10][32];      // (16 tokens i, 16 tokens j <= i: i (i + 1) / 2 + j, lane)
    float of_query[64];   // exp(G_i) r_i / sqrt(dim)
    float of_key[64];     // exp(G_last - G_i) r_i
    float of_state[128];  // [0]: exp(G_last)
};
static_assert(sizeof(ChunkMemory) == delta_chunk_bytes);

__device__ inline ChunkMemory* chunk_memory(const DeltaChunkWork& work, int chunk, int head) {
    return reinterpret_cast<ChunkMemory*>(work.scratch) +
           static_cast<int64_t>(chunk - work.first_chunk) * work.delta.value_heads + head;
}

__device__ inline void count_chunks(const DeltaWork& work, int* prefix) {
    count_items(prefix, work.batch.sequences, [&](int sequence) {
        const int count = work.batch.count[sequence];
        return count <= work.longest ? 0 : (count + delta_chunk - 1) / delta_chunk;
    });
}

/// Rows [first, first + 64) of a matrix, 128 columns, to a swizzled tile; zeros from row `rows` on. 128
/// threads.
__device__ inline void fetch_chunk(uint32_t tile, const bf16* from, int64_t stride, int rows) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const int row = i * 8 + threadIdx.x / 16, chunk = threadIdx.x % 16;
        copy16(tile_address<delta_chunk_dim>(tile, row, chunk),
               from + (row < rows ? row * stride : 0) + chunk * 8, row < rows);
    }
}

}  // namespace sheaf::cuda
