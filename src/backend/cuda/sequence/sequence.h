// The operators of the CUDA back end that work on sequences or row by row: norms and gates, rotation, gated
// attention over pages, the short convolution and the gated delta rule. Called by CudaOps, which makes the
// results and the scratch memory; used by the tests and benches of this folder. Must not know the model, who
// owns memory, or how a batch was put together.
//
// Everywhere: tensors are views of device memory with the shapes of ops/ops.h; activations are bf16 or f32,
// all of one call alike; sums, statistics, softmax, gates and recurrent state are fp32. Nothing allocates or
// waits; every call may be recorded in a CUDA graph and replayed while lengths grow up to batch.max_length.
// Rows that belong to a sequence of count 0 (padding) get zeros. What is computed for a sequence depends on
// that sequence's own context and count, not on its company, except where a comment says so. Errors:
// SHEAF_CHECK for shapes and dtypes, sheaf::Error for a launch that fails.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "backend/cuda/device_batch.h"
#include "ops/ops.h"
#include "tensor/tensor.h"

namespace sheaf::cuda {

// --- row by row; any sizes and row strides (16-byte aligned rows of 8 n columns are the fast ones)
// ---------------

/// result = x * rsqrt(mean(x^2) + epsilon) * (1 + weight), per group of weight.size(0) columns.
void rms_norm(const Tensor& x, const Norm& norm, const Tensor& result, cudaStream_t stream);
/// sum = x + residual in the activations' dtype, result = rms_norm(sum).
void add_rms_norm(const Tensor& x, const Tensor& residual, const Norm& norm, const Tensor& result,
                  const Tensor& sum, cudaStream_t stream);
/// result = x * rsqrt(mean(x^2) + epsilon) * weight * silu(gate), per group of weight.size(0) columns.
void gated_rms_norm(const Tensor& x, const Tensor& gate, const Norm& norm, const Tensor& result,
                    cudaStream_t stream);
/// result = x * rsqrt(sum(x^2) + epsilon), per group of head_dim columns.
void l2_norm(const Tensor& x, int64_t head_dim, float epsilon, const Tensor& result, cudaStream_t stream);
/// result = silu(gate) * up
void swiglu(const Tensor& gate, const Tensor& up, const Tensor& result, cudaStream_t stream);
/// Every head of head_dim columns rotated by its row's position; positions: i32 (3, tokens) on the device.
void rotate(const Tensor& x, int64_t head_dim, const Tensor& positions, const Rotary& rotary,
            const Tensor& result, cudaStream_t stream);

// --- attention; head_dim is a multiple of 8 up to 256; pages hold what activations are, or e4m3 with scale 1
// (rounded to nearest from activations; head_dim a multiple of 16)
// --------

/// Keys and values of the batch's rows to their pages, as given.
void write_kv(const KvLayer& cache, const Tensor& key, const Tensor& value, const DeviceBatch& batch,
              cudaStream_t stream);

/// Scratch (bytes, 256-byte aligned) of `attention` and of `gated_attention`.
size_t attention_scratch_bytes(DType activations, int64_t heads, const KvLayer& cache,
                               const DeviceBatch& batch);
size_t gated_attention_scratch_bytes(const GatedAttentionInput& input, const KvLayer& cache,
                                     const DeviceBatch& batch);

/// Causal attention of the batch's rows, query (tokens, heads * head_dim), over their pages, which already
/// hold the rows' own keys and values. The keys of a sequence are cut into parts by its own length (above 64
/// sequences also by their number, which bounds the scratch) and the parts are merged in order.
void attention(const Tensor& query, const KvLayer& cache, const DeviceBatch& batch, int64_t heads,
               const Tensor& result, const Tensor& scratch, cudaStream_t stream);

/// Norms and rotation of q and k, cache write, attention, result = attended * sigmoid(gate). bf16 heads of
/// 256, a row a sequence, sm_90 or later: one launch, whose parts also follow from how many sequences there
/// are. `arrivals`: i32, at least max(132, sequences * kv_heads) zeros, left zero again; not shared with a
/// call that may run at the same time.
void gated_attention(const GatedAttentionInput& input, const Tensor& positions, const Rotary& rotary,
                     const KvLayer& cache, const DeviceBatch& batch, const Tensor& result,
                     const Tensor& scratch, const Tensor& arrivals, cudaStream_t stream);

// --- recurrences; state slots by batch.slot; a sequence at context 0 starts from zero whatever its slot
// holds ----

/// Depthwise causal convolution over each sequence's rows, then SiLU; reads and replaces state.conv.
/// weight f32 (channels, kernel), kernel 2 to 8. x and result must not overlap.
void causal_conv1d(const Tensor& x, const Tensor& weight, const StateLayer& state, const DeviceBatch& batch,
                   const Tensor& result, cudaStream_t stream);

/// Scratch (bytes, 256-byte aligned) of `gated_delta_rule`.
size_t gated_delta_rule_scratch_bytes(const DeltaRuleInput& input, const DeviceBatch& batch);

/// The gated delta rule; reads and replaces state.recurrent; key_dim up to 256. result (tokens, value_heads *
/// value_dim). bf16 with 128-wide heads: runs of more than a few rows are done in chunks of 64 on tensor
/// cores (bf16 products, fp32 sums and state), everything else row after row in fp32.
void gated_delta_rule(const DeltaRuleInput& input, const StateLayer& state, const DeviceBatch& batch,
                      const Tensor& result, const Tensor& scratch, cudaStream_t stream);

/// Inputs of a whole Gated DeltaNet layer between its projections. x: (tokens, channels) before the
/// convolution, channels q | k | v; conv: f32 (channels, kernel); gate: (tokens, value_heads * value_dim);
/// rule: what gated_delta_rule wants, but for query, key and value.
struct DeltaNetInput {
    Tensor x, conv, gate;
    DeltaRuleInput rule;
    Norm norm;
};

/// Whether delta_net_step can do this batch: bf16, heads of 128, kernel 4, at most one row a sequence, sm_90
/// or later.
bool delta_net_step_fits(const DeltaNetInput& input, const DeviceBatch& batch);

/// causal_conv1d, gated_delta_rule and gated_rms_norm in one launch, with the same roundings.
void delta_net_step(const DeltaNetInput& input, const StateLayer& state, const DeviceBatch& batch,
                    const Tensor& result, cudaStream_t stream);

}  // namespace sheaf::cuda
