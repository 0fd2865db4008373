// Attention: checks, the division of scratch, and which kernel takes which sequences.
#include <algorithm>
#include <cmath>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/sequence/choices.h"
#include "backend/cuda/sequence/sequence.h"
#include "backend/cuda/sequence/tensors.h"

namespace sheaf::cuda {
namespace {

constexpr size_t alignment = 256;

size_t aligned(size_t bytes) {
    return (bytes + alignment - 1) / alignment * alignment;
}

Pages pages_of(const KvLayer& cache, DType activations) {
    const Tensor &keys = cache.keys, &values = cache.values;
    const bool narrow = keys.dtype() == DType::f8_e4m3;
    SHEAF_CHECK(keys.rank() == 4 && keys.shape() == values.shape() &&
                    (keys.dtype() == activations || narrow) && values.dtype() == keys.dtype() &&
                    keys.row_stride() == values.row_stride(),
                "pages {} {}", dtype_name(keys.dtype()), keys.shape().to_string());
    const int64_t dim = keys.size(3);
    SHEAF_CHECK(dim % (narrow ? 16 : 8) == 0 && dim > 0 && dim <= 256, "heads of {}", dim);
    return {narrow ? Element::f8 : element_of(activations),
            keys.raw(),
            values.raw(),
            keys.row_stride(),
            static_cast<int32_t>(keys.size(1)),
            static_cast<int32_t>(keys.size(2)),
            static_cast<int32_t>(dim)};
}

AttentionWork attention_work(const Tensor& query, const KvLayer& cache, const DeviceBatch& batch,
                             int64_t heads, const Tensor& result) {
    AttentionWork work;
    work.element = element_of(query.dtype());
    work.pages = pages_of(cache, query.dtype());
    const int64_t columns = heads * work.pages.head_dim;
    SHEAF_CHECK(heads % work.pages.kv_heads == 0, "{} heads over {}", heads, work.pages.kv_heads);
    work.query = rows_of(query, query.dtype(), batch.tokens, columns);
    work.result = rows_of(result, query.dtype(), batch.tokens, columns);
    SHEAF_CHECK(fits_vectors(work.element, work.query) && fits_vectors(work.element, work.result));
    work.heads = static_cast<int32_t>(heads);
    work.factor = 1.0f / std::sqrt(static_cast<float>(work.pages.head_dim));
    work.batch = batch;
    return work;
}

/// Runs of up to `longest` rows are decoded: with many query rows per pass over the pages the prefill kernel
/// reads them less often. Parts of the keys: 64 at one stream, so that 2 kv heads fill 132 multiprocessors; a
/// part costs 16 rows of scratch, so batches of more than `streams` tiles of 16 query rows (which fill the
/// GPU anyway) get fewer. Below that a sequence is cut by its own length alone.
struct DecodeChoice {
    int32_t longest = 4, shortest_part = 128, most_parts = 64, fewest_parts = 8, streams = 64;
};
constexpr DecodeChoice decode_choice;

int64_t divided(int64_t x, int64_t by) {
    return (x + by - 1) / by;
}

/// All but the pointers of decode work; most_tiles 0: nothing to decode is known on the host.
DecodeWork decode_work(int64_t group, const DeviceBatch& batch) {
    DecodeWork work;
    const DecodeChoice& choice = decode_choice;
    work.longest = choice.longest;
    work.shortest_part = choice.shortest_part;
    work.most_tiles = static_cast<int32_t>(divided(std::min(batch.max_count, choice.longest) * group, 16));
    const int64_t tiles = std::max<int64_t>(1, int64_t{batch.sequences} * work.most_tiles);
    const int64_t affordable = forced_choices().fixed_parts
                                   ? choice.most_parts
                                   : std::clamp<int64_t>(int64_t{choice.most_parts} * choice.streams / tiles,
                                                         choice.fewest_parts, choice.most_parts);
    const int64_t useful = std::max<int64_t>(1, divided(batch.max_length, choice.shortest_part));
    work.most_parts = static_cast<int32_t>(std::min(affordable, useful));
    return work;
}

bool decodes(const DeviceBatch& batch) {
    return batch.max_count <= decode_choice.longest || batch.sequences > 1;
}

/// Which prefill kernel heads of 256 take on sm_90 (H200, 4,096 rows, 32 heads: wgmma 1.03 ms, mma.sync 1.33
/// ms); every other head and architecture takes mma.sync.
constexpr bool prefill_on_wgmma = true;

bool takes_wgmma(const AttentionWork& work) {
    return prefill_on_wgmma && work.pages.head_dim == 256 && work.pages.element == Element::bf16 &&
           gpu(cudaDevAttrComputeCapabilityMajor) == 9;
}

void attend(AttentionWork work, const Tensor& scratch, size_t scratch_offset, cudaStream_t stream) {
    if (work.element == Element::f32) return check(launch_plain_attention(work, stream), "attention");
    work.factor *= 1.44269504f;  // log2(e): weights are powers of two
    if (decodes(work.batch)) {
        DecodeWork decode = decode_work(work.heads / work.pages.kv_heads, work.batch);
        decode.attention = work;
        decode.small = has_small_blocks();
        decode.parts = reinterpret_cast<float*>(static_cast<char*>(scratch.raw()) + scratch_offset);
        decode.blocks = static_cast<int32_t>(std::min<int64_t>(
            gpu(cudaDevAttrMultiProcessorCount),
            int64_t{work.batch.sequences} * decode.most_tiles * work.pages.kv_heads * decode.most_parts));
        if (decode.blocks > 0) check(launch_decode_attention(decode, stream), "attention of few rows");
    }
    if (work.batch.max_count > decode_choice.longest) {
        const PrefillWork prefill{work, decode_choice.longest, has_small_blocks()};
        check(takes_wgmma(work) ? launch_wgmma_attention(prefill, stream)
                                : launch_prefill_attention(prefill, stream),
              "attention of many rows");
    }
}

/// How the one-launch step cuts the batch's keys; none: separate launches.
std::optional<AttentionCut> cut_of_step(const GatedAttentionInput& input, const DeviceBatch& batch) {
    const bool fits = input.key.dtype() == DType::bf16 && input.head_dim == 256 && batch.max_count <= 1 &&
                      input.heads <= 16 * input.kv_heads && gpu(cudaDevAttrComputeCapabilityMajor) >= 9 &&
                      !has_small_blocks();
    if (!fits || forced_choices().separate_launches) return {};
    return attention_cut(batch.sequences * input.kv_heads, batch.max_length);
}

/// All of the one-launch step but its pointers. Blocks: one to a multiprocessor, which its shared memory
/// fills.
AttentionStepWork step_work(const AttentionCut& cut, const DeviceBatch& batch) {
    AttentionStepWork work;
    work.cluster = cut.cluster, work.usual_parts = cut.usual_parts;
    work.shortest_part = cut.shortest_part, work.longest_part = cut.longest_part;
    const int64_t wanted = std::max<int64_t>(cut.usual_parts, divided(batch.max_length, cut.longest_part));
    const int64_t parts = std::max<int64_t>(
        1, std::min({wanted, int64_t{cut.most_parts}, divided(batch.max_length, cut.shortest_part)}));
    work.most_clusters = static_cast<int32_t>(divided(parts, cut.cluster));
    return work;
}

size_t step_scratch_bytes(const AttentionCut& cut, int64_t kv_heads, const DeviceBatch& batch) {
    const AttentionStepWork work = step_work(cut, batch);
    if (work.most_clusters == 1) return 0;
    return aligned(static_cast<size_t>(batch.sequences * kv_heads * work.most_clusters * 16 * 258) *
                   sizeof(float));
}

void step(const AttentionCut& cut, const PrepareWork& prepare, const AttentionWork& attention,
          const Tensor& scratch, const Tensor& arrivals, cudaStream_t stream) {
    const int64_t kv_heads = attention.pages.kv_heads;
    AttentionStepWork work = step_work(cut, attention.batch);
    work.attention = attention;
    work.attention.factor *= 1.44269504f;  // log2(e): weights are powers of two
    work.query_and_gate = prepare.query_and_gate, work.key = prepare.key, work.value = prepare.value;
    work.q_norm = prepare.q_norm, work.k_norm = prepare.k_norm;
    work.q_epsilon = prepare.q_epsilon, work.k_epsilon = prepare.k_epsilon;
    work.angles = prepare.angles;
    if (work.most_clusters > 1) {
        SHEAF_CHECK(arrivals.dtype() == DType::i32 &&
                    arrivals.elements() >= attention.batch.sequences * kv_heads * work.cluster);
        work.parts = static_cast<float*>(scratch.raw());
        work.arrivals = arrivals.data<int32_t>();
    }
    const int64_t room = gpu(cudaDevAttrMultiProcessorCount) / work.cluster;
    work.blocks = static_cast<int32_t>(
        work.cluster * std::min<int64_t>(room, attention.batch.sequences * kv_heads * work.most_clusters));
    check(launch_attention_step(work, stream), "attention of one row");
}

}  // namespace

void write_kv(const KvLayer& cache, const Tensor& key, const Tensor& value, const DeviceBatch& batch,
              cudaStream_t stream) {
    PrepareWork work;
    work.element = element_of(key.dtype());
    work.pages = pages_of(cache, key.dtype());
    const int64_t columns = work.pages.kv_heads * work.pages.head_dim;
    work.key = rows_of(key, key.dtype(), batch.tokens, columns);
    work.value = rows_of(value, key.dtype(), batch.tokens, columns);
    SHEAF_CHECK(fits_vectors(work.element, work.key) && fits_vectors(work.element, work.value));
    work.batch = batch;
    check(launch_prepare(work, stream), "write of keys and values");
}

size_t attention_scratch_bytes(DType activations, int64_t heads, const KvLayer& cache,
                               const DeviceBatch& batch) {
    const int64_t kv_heads = cache.keys.size(2), dim = cache.keys.size(3);
    if (activations == DType::f32 || !decodes(batch)) return 0;
    const DecodeWork work = decode_work(heads / kv_heads, batch);
    if (work.most_parts == 1) return 0;
    const int64_t slots = int64_t{batch.sequences} * work.most_tiles * kv_heads * work.most_parts;
    return aligned(static_cast<size_t>(slots * 16 * (dim + 2)) * sizeof(float));
}

size_t gated_attention_scratch_bytes(const GatedAttentionInput& input, const KvLayer& cache,
                                     const DeviceBatch& batch) {
    if (const auto cut = cut_of_step(input, batch)) return step_scratch_bytes(*cut, input.kv_heads, batch);
    const auto elements = static_cast<size_t>(batch.tokens * input.heads * input.head_dim);
    return aligned(elements * dtype_size(input.key.dtype())) +
           attention_scratch_bytes(input.key.dtype(), input.heads, cache, batch);
}

void attention(const Tensor& query, const KvLayer& cache, const DeviceBatch& batch, int64_t heads,
               const Tensor& result, const Tensor& scratch, cudaStream_t stream) {
    SHEAF_CHECK(scratch.bytes() >= attention_scratch_bytes(query.dtype(), heads, cache, batch));
    const AttentionWork work = attention_work(query, cache, batch, heads, result);
    check(launch_clear_padding(work, stream), "padding");
    attend(work, scratch, 0, stream);
}

void gated_attention(const GatedAttentionInput& input, const Tensor& positions, const Rotary& rotary,
                     const KvLayer& cache, const DeviceBatch& batch, const Tensor& result,
                     const Tensor& scratch, const Tensor& arrivals, cudaStream_t stream) {
    const int64_t dim = input.head_dim, tokens = batch.tokens, columns = input.heads * dim;
    const DType dtype = input.key.dtype();
    SHEAF_CHECK(scratch.bytes() >= gated_attention_scratch_bytes(input, cache, batch));
    SHEAF_CHECK(cache.keys.size(3) == dim && cache.keys.size(2) == input.kv_heads);
    const Tensor query(scratch.raw(), dtype, Shape{tokens, columns});
    AttentionWork work = attention_work(query, cache, batch, input.heads, result);
    work.gate = rows_of(input.query_and_gate, dtype, tokens, 2 * columns);
    SHEAF_CHECK(fits_vectors(work.element, work.gate));
    PrepareWork prepare;
    prepare.element = work.element;
    prepare.query_and_gate = work.gate;
    prepare.key = rows_of(input.key, dtype, tokens, input.kv_heads * dim);
    prepare.value = rows_of(input.value, dtype, tokens, input.kv_heads * dim);
    SHEAF_CHECK(fits_vectors(work.element, prepare.key) && fits_vectors(work.element, prepare.value));
    prepare.query = work.query;
    prepare.result = work.result;
    prepare.q_norm = floats_of(input.q_norm.weight, dim);
    prepare.k_norm = floats_of(input.k_norm.weight, dim);
    for (const float* weight : {prepare.q_norm, prepare.k_norm})
        SHEAF_CHECK(reinterpret_cast<uintptr_t>(weight) % 16 == 0, "norm weights must lie at 16 bytes");
    prepare.q_epsilon = input.q_norm.epsilon;
    prepare.k_epsilon = input.k_norm.epsilon;
    prepare.heads = work.heads;
    prepare.angles = angles_of(positions, rotary, tokens);
    SHEAF_CHECK(2 * prepare.angles.count <= dim);
    prepare.pages = work.pages;
    prepare.batch = batch;
    if (const auto cut = cut_of_step(input, batch))
        return step(*cut, prepare, work, scratch, arrivals, stream);
    check(launch_prepare(prepare, stream), "queries and keys");
    work.gate.data = static_cast<char*>(work.gate.data) + static_cast<size_t>(dim) * dtype_size(dtype);
    work.gate_step = static_cast<int32_t>(2 * dim);
    attend(work, scratch, aligned(query.bytes()), stream);
}

}  // namespace sheaf::cuda
