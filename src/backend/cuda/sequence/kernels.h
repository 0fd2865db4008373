// Launchers of this folder's kernels in plain terms: pointers, strides in elements, counts. Called by the
// .cpp files here, which check tensors and choose; implemented by the .cu files. Each returns the launch's
// status. Must not know Tensor or Ops.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/cuda/device_batch.h"

namespace sheaf::cuda {

/// Element type of activations (f32, bf16), recurrent states (f32, bf16) and pages (as activations, or e4m3).
enum class Element { f32, bf16, f8 };

/// A matrix by rows; its element type stands beside it.
struct Rows {
    void* data = nullptr;
    int64_t stride = 0;
};

// --- norms.cu
enum class NormKind { rms, add_rms, gated_rms, l2 };
struct NormWork {
    NormKind kind = NormKind::rms;
    Element element = Element::bf16;
    Rows x, other, result, sum;  // other: the residual or the gate
    const float* weight = nullptr;
    float epsilon = 0;
    int64_t rows = 0;
    int32_t groups = 0, dim = 0;  // columns = groups * dim
    int32_t threads = 0,
            vectors = 0;  // threads per group, vectors of 8 per thread; 0 vectors: element by element
};
cudaError_t launch_norm(const NormWork& work, cudaStream_t stream);
cudaError_t launch_swiglu(Element element, Rows gate, Rows up, Rows result, int64_t rows, int64_t columns,
                          bool vectors, cudaStream_t stream);

struct Angles {                          // of `count` frequencies
    const int32_t* positions = nullptr;  // (3, tokens)
    int64_t stride = 0;                  // between the axes
    const float* frequencies = nullptr;
    const int32_t* axes = nullptr;
    int32_t count = 0;
    float scale = 1.0f;
};
cudaError_t launch_rotate(Element element, Rows x, Rows result, int64_t rows, int32_t heads, int32_t head_dim,
                          const Angles& angles, cudaStream_t stream);

// --- attention_*.cu
struct Pages {
    Element element = Element::bf16;
    void *keys = nullptr, *values = nullptr;
    int64_t page_stride = 0;  // elements from page to page
    int32_t page_size = 0;    // tokens
    int32_t kv_heads = 0, head_dim = 0;
};
struct PrepareWork {  // norms and rotation of q and k, write of k and v
    Element element = Element::bf16;
    Rows query_and_gate, key, value,
        query;    // query: result, (tokens, heads * head_dim); no query: only writes
    Rows result;  // of the attention: rows of padding are zeroed here
    const float *q_norm = nullptr, *k_norm = nullptr;  // none: no norm and no rotation
    float q_epsilon = 0, k_epsilon = 0;
    int32_t heads = 0;
    Angles angles;
    Pages pages;
    DeviceBatch batch;
};
cudaError_t launch_prepare(const PrepareWork& work, cudaStream_t stream);

struct AttentionWork {
    Element element = Element::bf16;
    Rows query, gate, result;  // gate: none, or head h's gate at column h * gate_step
    int32_t gate_step = 0;
    int32_t heads = 0;
    float factor = 0;  // of the scores
    Pages pages;
    DeviceBatch batch;
};
/// Zeros to the result's rows of padding.
cudaError_t launch_clear_padding(const AttentionWork& work, cudaStream_t stream);
/// Any element type, one block per (row, head): slow.
cudaError_t launch_plain_attention(const AttentionWork& work, cudaStream_t stream);

/// bf16, runs of at most `longest` rows; few blocks, each taking parts in turn.
struct DecodeWork {
    AttentionWork attention;  // factor: times log2(e), as in prefill
    float* parts = nullptr;   // (sequences, most_tiles, kv_heads, most_parts, 16 * (head_dim + 2))
    int32_t longest = 0;      // rows of a run
    int32_t most_tiles = 0;   // of 16 query rows: longest * heads / kv_heads / 16, rounded up
    int32_t most_parts = 1, shortest_part = 64;  // at most 64 parts; keys, a multiple of 64
    int32_t blocks = 1;
    bool small = false;  // at most 99 KiB of shared memory: two warps instead of four
};
cudaError_t launch_decode_attention(const DecodeWork& work, cudaStream_t stream);

/// bf16, at most one row a sequence, heads of 256 and at most 16 for a kv head, sm_90 and later: what
/// launch_prepare, launch_decode_attention and the merge of its parts do, in one launch. attention.query is
/// not used. A sequence is cut into as many parts as its keys divided by `longest_part`, at least
/// `usual_parts`, of at least 64 keys; parts go to the blocks of at most `most_clusters` clusters.
struct AttentionStepWork {
    AttentionWork attention;          // factor: times log2(e)
    Rows query_and_gate, key, value;  // head h: its query at column 512 h, its gate at 512 h + 256
    const float *q_norm = nullptr, *k_norm = nullptr;
    float q_epsilon = 0, k_epsilon = 0;
    Angles angles;
    float* parts = nullptr;       // (sequences, kv_heads, most_clusters, 16, 258); unused with one cluster
    int32_t* arrivals = nullptr;  // (sequences, kv_heads, cluster) zeros, left zero again; likewise
    int32_t cluster = 1;          // blocks: 1, 2, 4, 8
    int32_t most_clusters = 1;    // of a sequence and kv head
    int32_t usual_parts = 1, shortest_part = 64, longest_part = 2048;
    int32_t blocks = 1;  // a multiple of `cluster`
};
cudaError_t launch_attention_step(const AttentionStepWork& work, cudaStream_t stream);

/// bf16, runs of more than `longest_decode` rows.
struct PrefillWork {
    AttentionWork attention;
    int32_t longest_decode = 0;
    bool small = false;  // at most 99 KiB of shared memory
};
cudaError_t launch_prefill_attention(const PrefillWork& work, cudaStream_t stream);
/// The same for heads of 256 on sm_90.
cudaError_t launch_wgmma_attention(const PrefillWork& work, cudaStream_t stream);

// --- convolution.cu
struct ConvolutionWork {
    Element element = Element::bf16;
    Rows x, result;
    const float* weight = nullptr;  // (channels, kernel)
    float* state = nullptr;         // (slots, kernel - 1, channels)
    int32_t channels = 0, kernel = 0;
    int32_t rows_per_block = 1;
    bool vectors = false;  // eight channels at a time
    DeviceBatch batch;
};
cudaError_t launch_convolution(const ConvolutionWork& work, cudaStream_t stream);

// --- delta_*.cu
struct DeltaWork {
    Element element = Element::bf16;
    Rows query, key, value, a, b, result;
    const float *a_log = nullptr, *dt_bias = nullptr;
    void* state = nullptr;  // (slots, value_heads, key_dim, value_dim)
    Element state_element = Element::f32;
    int32_t key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0;
    int32_t longest = 0;             // runs of more rows are left to the other kernel
    int32_t columns_per_thread = 1;  // of the state, row after row: 8 (key_dim up to 128), 4, 1
    DeviceBatch batch;
};
/// Row after row, state in registers.
cudaError_t launch_delta_steps(const DeltaWork& work, cudaStream_t stream);

/// bf16, heads of 128, kernel 4, at most one row a sequence, 1, 2, 4 or 8 value heads to a key head:
/// convolution, delta rule and gated norm in one launch. sm_90 and later.
struct DeltaStepWork {
    Rows x, a, b, gate, result;  // x: (tokens, channels) before the convolution
    const float *conv_weight = nullptr, *a_log = nullptr, *dt_bias = nullptr, *norm_weight = nullptr;
    float* conv_state = nullptr;
    void* state = nullptr;
    Element state_element = Element::f32;
    float epsilon = 0;
    int32_t channels = 0, key_heads = 0, value_heads = 0;
    DeviceBatch batch;
};
cudaError_t launch_delta_step(const DeltaStepWork& work, cudaStream_t stream);

constexpr int delta_chunk = 64, delta_chunk_dim = 128, most_heads_per_key = 8;  // of the chunked kernels
/// Scratch of one (chunk, value head): W, U, lower triangle of P in bf16 fragments, factors
/// (delta_chunks.cuh).
constexpr int64_t delta_chunk_bytes = 38912;
/// bf16, heads of 128: runs of more than work.longest rows in chunks of 64. One call does the chunks
/// [first_chunk, first_chunk + chunks) of the batch, counted over such runs; calls go in order.
struct DeltaChunkWork {
    DeltaWork delta;
    char* scratch = nullptr;  // chunks * value_heads * delta_chunk_bytes
    int32_t first_chunk = 0, chunks = 0;
    bool small = false;  // at most 99 KiB of shared memory
};
cudaError_t launch_delta_chunk_matrices(const DeltaChunkWork& work, cudaStream_t stream);
cudaError_t launch_delta_chunk_states(const DeltaChunkWork& work, cudaStream_t stream);

}  // namespace sheaf::cuda
