// The short convolution and the gated delta rule: checks, and which kernel takes which runs.
#include <algorithm>
#include <climits>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/sequence/sequence.h"
#include "backend/cuda/sequence/tensors.h"

namespace sheaf::cuda {
namespace {

/// Rows that one block of the convolution slides over: single rows while there are few, so that they spread
/// over the GPU; longer runs read each input once.
struct TileRows {
    int32_t tokens, rows;
};
constexpr TileRows convolution_tiles[] = {{256, 1}, {1024, 8}, {INT_MAX, 32}};

/// Runs of up to `longest_steps` rows go row by row, at a cost of one pass over the state; longer ones in
/// chunks. Chunks are done in segments whose matrices fit in `scratch` bytes: small enough to stay in the L2
/// in part, large enough that a segment fills the GPU several times.
/// Row by row, threads take 8 columns instead of 4 when that still fills the GPU: half the work beside the
/// state.
struct DeltaChoice {
    int32_t longest_steps = 8;
    int64_t many_heads = 1024;  // of all sequences
    int64_t scratch = int64_t{128} << 20;
};
constexpr DeltaChoice delta_choice;

/// Chunks per segment and segments that cover a batch, however its rows are divided.
struct Segment {
    int64_t chunks, count;
};
Segment segment_of(int64_t heads, const DeviceBatch& batch) {
    const int64_t all = batch.tokens / delta_chunk + batch.sequences;
    const int64_t most = std::max<int64_t>(1, delta_choice.scratch / (heads * delta_chunk_bytes));
    const int64_t count = (all + most - 1) / most;
    return {(all + count - 1) / count, count};
}

bool takes_chunks(const DeltaRuleInput& input) {
    return input.value.dtype() == DType::bf16 && input.key_dim == delta_chunk_dim &&
           input.value_dim == delta_chunk_dim && input.value_heads / input.key_heads <= most_heads_per_key;
}

DeltaWork delta_work(const DeltaRuleInput& input, const StateLayer& state, const DeviceBatch& batch,
                     const Tensor& result) {
    const int64_t tokens = batch.tokens, heads = input.value_heads, kd = input.key_dim, vd = input.value_dim;
    const DType dtype = input.value.dtype();
    SHEAF_CHECK(heads % input.key_heads == 0 && kd <= 256, "{} value heads, {} key heads of {}", heads,
                input.key_heads, kd);
    SHEAF_CHECK(state.recurrent.contiguous() && state.recurrent.size(1) == heads &&
                state.recurrent.size(2) == kd && state.recurrent.size(3) == vd);
    DeltaWork work;
    work.element = element_of(dtype);
    work.query = rows_of(input.query, dtype, tokens, input.key_heads * kd);
    work.key = rows_of(input.key, dtype, tokens, input.key_heads * kd);
    work.value = rows_of(input.value, dtype, tokens, heads * vd);
    work.a = rows_of(input.a, dtype, tokens, heads);
    work.b = rows_of(input.b, dtype, tokens, heads);
    work.result = rows_of(result, dtype, tokens, heads * vd);
    work.a_log = floats_of(input.a_log, heads);
    work.dt_bias = floats_of(input.dt_bias, heads);
    work.state = state.recurrent.raw();
    work.state_element = element_of(state.recurrent.dtype());
    work.key_heads = static_cast<int32_t>(input.key_heads);
    work.value_heads = static_cast<int32_t>(heads);
    work.key_dim = static_cast<int32_t>(kd);
    work.value_dim = static_cast<int32_t>(vd);
    work.longest = INT_MAX;
    const bool many = int64_t{batch.sequences} * heads >= delta_choice.many_heads;
    work.columns_per_thread = vd % 8 == 0 && kd <= 128 && many ? 8 : vd % 4 == 0 ? 4 : 1;
    work.batch = batch;
    return work;
}

}  // namespace

void causal_conv1d(const Tensor& x, const Tensor& weight, const StateLayer& state, const DeviceBatch& batch,
                   const Tensor& result, cudaStream_t stream) {
    const int64_t channels = weight.size(0), kernel = weight.size(1);
    SHEAF_CHECK(kernel >= 2 && kernel <= 8, "a convolution over {} rows", kernel);
    SHEAF_CHECK(state.conv.dtype() == DType::f32 && state.conv.contiguous() &&
                state.conv.size(1) == kernel - 1 && state.conv.size(2) == channels);
    ConvolutionWork work;
    work.element = element_of(x.dtype());
    work.x = rows_of(x, x.dtype(), batch.tokens, channels);
    work.result = rows_of(result, x.dtype(), batch.tokens, channels);
    work.weight = floats_of(weight, channels * kernel);
    const bool aligned_weight = reinterpret_cast<uintptr_t>(work.weight) % 16 == 0;
    work.state = state.conv.data<float>();
    work.channels = static_cast<int32_t>(channels);
    work.kernel = static_cast<int32_t>(kernel);
    work.vectors = aligned_weight && channels % 8 == 0 && fits_vectors(work.element, work.x) &&
                   fits_vectors(work.element, work.result);
    for (const TileRows& tile : convolution_tiles)
        if (batch.tokens <= tile.tokens) {
            work.rows_per_block = tile.rows;
            break;
        }
    work.batch = batch;
    check(launch_convolution(work, stream), "convolution");
}

size_t gated_delta_rule_scratch_bytes(const DeltaRuleInput& input, const DeviceBatch& batch) {
    if (!takes_chunks(input) || batch.max_count <= delta_choice.longest_steps) return 0;
    return static_cast<size_t>(segment_of(input.value_heads, batch).chunks * input.value_heads *
                               delta_chunk_bytes);
}

void gated_delta_rule(const DeltaRuleInput& input, const StateLayer& state, const DeviceBatch& batch,
                      const Tensor& result, const Tensor& scratch, cudaStream_t stream) {
    SHEAF_CHECK(scratch.bytes() >= gated_delta_rule_scratch_bytes(input, batch));
    DeltaWork work = delta_work(input, state, batch, result);
    const bool chunks = takes_chunks(input) && batch.max_count > delta_choice.longest_steps;
    if (chunks) work.longest = delta_choice.longest_steps;
    if (!chunks || batch.sequences > 1) check(launch_delta_steps(work, stream), "delta rule");
    if (!chunks) return;
    for (const Rows* rows : {&work.query, &work.key, &work.value})
        SHEAF_CHECK(fits_vectors(work.element, *rows), "q, k and v of the delta rule must lie at 16 bytes");
    SHEAF_CHECK(work.result.stride % 2 == 0 && reinterpret_cast<uintptr_t>(work.result.data) % 4 == 0);
    const Segment segment = segment_of(input.value_heads, batch);
    DeltaChunkWork part{work, static_cast<char*>(scratch.raw()), 0, static_cast<int32_t>(segment.chunks),
                        has_small_blocks()};
    for (int64_t i = 0; i < segment.count; ++i, part.first_chunk += part.chunks) {
        check(launch_delta_chunk_matrices(part, stream), "delta rule, matrices of chunks");
        check(launch_delta_chunk_states(part, stream), "delta rule, states of chunks");
    }
}

}  // namespace sheaf::cuda
