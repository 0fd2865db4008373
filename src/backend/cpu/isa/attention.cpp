// Attention of sixteen queries, one a lane, over a run of keys: scores, running softmax, weighted values, one
// block of the absolute key grid after another. A masked key gets probability exactly 0 and a block without a
// visible key changes nothing, so a lane's result does not depend on the queries beside it.
#include "backend/cpu/isa/kernel_units.h"
#include "backend/cpu/isa/vector_math.h"

namespace sheaf::cpu::SHEAF_ISA {
namespace {

constexpr float lowest = -3.0e38f;    // finite, so that lowest - lowest is 0
constexpr int width = one_row_tiles;  // keys, then output dimensions, held in registers at a time

/// Positions [begin, begin + count) as f32 rows, to block[count][head_dim].
void load_block(const KvView& kv, const void* pages, int64_t begin, int64_t count, float* block) {
    for (int64_t p = 0; p < count; ++p) {
        const int64_t position = begin + p;
        const int64_t at = kv.blocks[position / kv.block_size] * kv.block_stride +
                           position % kv.block_size * kv.position_stride;
        float* row = block + p * kv.head_dim;
        if (kv.is_bf16) {
            bf16_to_f32(static_cast<const uint16_t*>(pages) + at, row, kv.head_dim);
        } else {
            const float* source = static_cast<const float*>(pages) + at;
            for (int64_t d = 0; d < kv.head_dim; d += lanes)
                store_n(row + d, load_n(source + d, kv.head_dim - d), kv.head_dim - d);
        }
    }
}

/// Dot products of N keys with all lanes' queries.
template <int N>
SHEAF_SIMD void score_keys(const float* queries, const float* keys, int64_t head_dim, float* scores) {
    f32x16 total[N];
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) total[i] = zero();
    for (int64_t d = 0; d < head_dim; ++d) {
        const f32x16 q = load(queries + d * lanes);
#pragma GCC unroll 8
        for (int i = 0; i < N; ++i) total[i] = fma(set1(keys[i * head_dim + d]), q, total[i]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) store(scores + i * lanes, total[i]);
}

/// N dimensions of the output: output * correction + sum over keys of probability * value.
template <int N>
SHEAF_SIMD void add_values(const float* probabilities, const float* values, int64_t count, int64_t head_dim,
                           f32x16 correction, float* output) {
    f32x16 total[N];
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) total[i] = mul(load(output + i * lanes), correction);
    for (int64_t p = 0; p < count; ++p) {
        const f32x16 probability = load(probabilities + p * lanes);
#pragma GCC unroll 8
        for (int i = 0; i < N; ++i) total[i] = fma(set1(values[p * head_dim + i]), probability, total[i]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) store(output + i * lanes, total[i]);
}

/// Hides keys behind each lane's last visible position.
void mask_scores(const QueryTile& tile, int64_t begin, int64_t count, float* scores) {
    const i32x16 last = load_i32(tile.last);
    const f32x16 hidden = set1(-__builtin_inff());
    for (int64_t p = 0; p < count; ++p) {
        const mask16 behind = less(last, set1(static_cast<int32_t>(begin + p)));
        store(scores + p * lanes, select(behind, hidden, load(scores + p * lanes)));
    }
}

/// Scores to probabilities under the running maximum; returns the correction of what was summed before.
f32x16 update_softmax(float* scores, int64_t count, const AttentionPart& result) {
    const f32x16 before = load(result.maximum);
    f32x16 highest = before;
    for (int64_t p = 0; p < count; ++p) highest = max(highest, load(scores + p * lanes));
    f32x16 total = zero();
    for (int64_t p = 0; p < count; ++p) {
        const f32x16 probability = exp(sub(load(scores + p * lanes), highest));
        store(scores + p * lanes, probability);
        total = add(total, probability);
    }
    const f32x16 correction = exp(sub(before, highest));
    store(result.maximum, highest);
    store(result.sum, fma(load(result.sum), correction, total));
    return correction;
}

}  // namespace

void attend(const KvView& kv, const QueryTile& tile, int64_t begin, int64_t end, float* scratch,
            const AttentionPart& result) {
    const int64_t head_dim = kv.head_dim;
    float* scores = scratch;
    float* block = scratch + key_block * lanes;
    store(result.maximum, set1(lowest));
    store(result.sum, zero());
    for (int64_t d = 0; d < head_dim; ++d) store(result.output + d * lanes, zero());
    for (int64_t key = begin; key < end; key += key_block) {
        const int64_t count = end - key < key_block ? end - key : key_block;
        load_block(kv, kv.keys, key, count, block);
        int64_t p = 0;
        for (; p + width <= count; p += width)
            score_keys<width>(tile.queries, block + p * head_dim, head_dim, scores + p * lanes);
        for (; p < count; ++p)
            score_keys<1>(tile.queries, block + p * head_dim, head_dim, scores + p * lanes);
        mask_scores(tile, key, count, scores);
        const f32x16 correction = update_softmax(scores, count, result);
        load_block(kv, kv.values, key, count, block);
        int64_t d = 0;
        for (; d + width <= head_dim; d += width)
            add_values<width>(scores, block + d, count, head_dim, correction, result.output + d * lanes);
        for (; d < head_dim; ++d)
            add_values<1>(scores, block + d, count, head_dim, correction, result.output + d * lanes);
    }
}

void merge_attention(const AttentionPart& total, const AttentionPart& part, int64_t head_dim) {
    const f32x16 mine = load(total.maximum), other = load(part.maximum);
    const f32x16 highest = max(mine, other);
    const f32x16 keep = exp(sub(mine, highest)), take = exp(sub(other, highest));
    store(total.maximum, highest);
    store(total.sum, fma(load(part.sum), take, mul(load(total.sum), keep)));
    for (int64_t d = 0; d < head_dim; ++d) {
        const f32x16 kept = mul(load(total.output + d * lanes), keep);
        store(total.output + d * lanes, fma(load(part.output + d * lanes), take, kept));
    }
}

void finish_attention(const AttentionPart& total, int64_t head_dim) {
    const f32x16 sum_of_weights = load(total.sum);
    for (int64_t d = 0; d < head_dim; ++d)
        store(total.output + d * lanes, div(load(total.output + d * lanes), sum_of_weights));
}

}  // namespace sheaf::cpu::SHEAF_ISA
