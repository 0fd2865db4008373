// Attention of query tiles, sixteen queries each, one a lane, over a run of keys: scores, running softmax,
// weighted values, one block of the absolute key grid after another. A block's keys and values are widened
// once for all tiles, and two tiles share each number read. A masked key gets probability exactly 0 and a
// block without a visible key changes nothing, so a lane's result does not depend on the queries beside it.
#include "backend/cpu/isa/kernel_units.h"
#include "backend/cpu/isa/vector_math.h"

namespace sheaf::cpu::SHEAF_ISA {
namespace {

constexpr float lowest = -3.0e38f;  // finite, so that lowest - lowest is 0
// Keys, then output dimensions, held in registers at a time, for one tile and for two.
constexpr int width_of(int tiles) {
    return tiles == 1 ? one_row_tiles : one_row_tiles == 8 ? 8 : 2;
}

int64_t row_stride(int64_t head_dim) {
    return head_dim + lanes;  // not a power of two, which would crowd a few cache sets
}

/// Positions [begin, begin + count) as f32 rows.
void load_block(const KvView& kv, const void* pages, int64_t begin, int64_t count, float* block) {
    for (int64_t p = 0; p < count; ++p) {
        const int64_t position = begin + p;
        const int64_t at = kv.blocks[position / kv.block_size] * kv.block_stride +
                           position % kv.block_size * kv.position_stride;
        float* row = block + p * row_stride(kv.head_dim);
        if (kv.is_bf16) {
            bf16_to_f32(static_cast<const uint16_t*>(pages) + at, row, kv.head_dim);
        } else {
            const float* source = static_cast<const float*>(pages) + at;
            for (int64_t d = 0; d < kv.head_dim; d += lanes)
                store_n(row + d, load_n(source + d, kv.head_dim - d), kv.head_dim - d);
        }
    }
}

/// Dot products of N keys with the queries of T tiles; scores of a tile are [key_block][16].
template <int T, int N>
SHEAF_SIMD void score_keys(const QueryTile* tiles, const float* keys, int64_t head_dim, float* scores) {
    const int64_t stride = row_stride(head_dim);
    f32x16 total[T][N];
#pragma GCC unroll 2
    for (int t = 0; t < T; ++t)
#pragma GCC unroll 8
        for (int i = 0; i < N; ++i) total[t][i] = zero();
    for (int64_t d = 0; d < head_dim; ++d) {
        f32x16 query[T];
#pragma GCC unroll 2
        for (int t = 0; t < T; ++t) query[t] = load(tiles[t].queries + d * lanes);
#pragma GCC unroll 8
        for (int i = 0; i < N; ++i) {
            const f32x16 key = set1(keys[i * stride + d]);
#pragma GCC unroll 2
            for (int t = 0; t < T; ++t) total[t][i] = fma(key, query[t], total[t][i]);
        }
    }
#pragma GCC unroll 2
    for (int t = 0; t < T; ++t)
#pragma GCC unroll 8
        for (int i = 0; i < N; ++i) store(scores + (t * key_block + i) * lanes, total[t][i]);
}

template <int T>
void score_block(const QueryTile* tiles, const float* keys, int64_t count, int64_t head_dim, float* scores) {
    constexpr int width = width_of(T);
    const int64_t stride = row_stride(head_dim);
    int64_t p = 0;
    for (; p + width <= count; p += width)
        score_keys<T, width>(tiles, keys + p * stride, head_dim, scores + p * lanes);
    for (; p < count; ++p) score_keys<T, 1>(tiles, keys + p * stride, head_dim, scores + p * lanes);
}

/// N dimensions of T tiles' outputs: output * correction + sum over keys of probability * value.
template <int T, int N>
SHEAF_SIMD void add_dimensions(const float* probabilities, const float* values, int64_t count, int64_t stride,
                               const f32x16* correction, const AttentionPart* results, int64_t dimension) {
    f32x16 total[T][N];
#pragma GCC unroll 2
    for (int t = 0; t < T; ++t)
#pragma GCC unroll 8
        for (int i = 0; i < N; ++i)
            total[t][i] = mul(load(results[t].output + (dimension + i) * lanes), correction[t]);
    for (int64_t p = 0; p < count; ++p) {
        f32x16 probability[T];
#pragma GCC unroll 2
        for (int t = 0; t < T; ++t) probability[t] = load(probabilities + (t * key_block + p) * lanes);
#pragma GCC unroll 8
        for (int i = 0; i < N; ++i) {
            const f32x16 value = set1(values[p * stride + dimension + i]);
#pragma GCC unroll 2
            for (int t = 0; t < T; ++t) total[t][i] = fma(value, probability[t], total[t][i]);
        }
    }
#pragma GCC unroll 2
    for (int t = 0; t < T; ++t)
#pragma GCC unroll 8
        for (int i = 0; i < N; ++i) store(results[t].output + (dimension + i) * lanes, total[t][i]);
}

template <int T>
void add_values(const float* probabilities, const float* values, int64_t count, int64_t head_dim,
                const f32x16* correction, const AttentionPart* results) {
    constexpr int width = width_of(T);
    const int64_t stride = row_stride(head_dim);
    int64_t d = 0;
    for (; d + width <= head_dim; d += width)
        add_dimensions<T, width>(probabilities, values, count, stride, correction, results, d);
    for (; d < head_dim; ++d)
        add_dimensions<T, 1>(probabilities, values, count, stride, correction, results, d);
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

void attend(const KvView& kv, const QueryTile* tiles, int64_t tile_count, int64_t begin, int64_t end,
            float* scratch, const AttentionPart* results) {
    const int64_t head_dim = kv.head_dim;
    float* scores = scratch;
    float* block = scratch + most_query_tiles * key_block * lanes;
    for (int64_t t = 0; t < tile_count; ++t) {
        store(results[t].maximum, set1(lowest));
        store(results[t].sum, zero());
        for (int64_t d = 0; d < head_dim; ++d) store(results[t].output + d * lanes, zero());
    }
    for (int64_t key = begin; key < end; key += key_block) {
        const int64_t count = end - key < key_block ? end - key : key_block;
        f32x16 correction[most_query_tiles];
        load_block(kv, kv.keys, key, count, block);
        for (int64_t t = 0; t < tile_count; t += 2)
            if (t + 1 < tile_count)
                score_block<2>(tiles + t, block, count, head_dim, scores + t * key_block * lanes);
            else
                score_block<1>(tiles + t, block, count, head_dim, scores + t * key_block * lanes);
        for (int64_t t = 0; t < tile_count; ++t) {
            mask_scores(tiles[t], key, count, scores + t * key_block * lanes);
            correction[t] = update_softmax(scores + t * key_block * lanes, count, results[t]);
        }
        load_block(kv, kv.values, key, count, block);
        for (int64_t t = 0; t < tile_count; t += 2)
            if (t + 1 < tile_count)
                add_values<2>(scores + t * key_block * lanes, block, count, head_dim, correction + t,
                              results + t);
            else
                add_values<1>(scores + t * key_block * lanes, block, count, head_dim, correction + t,
                              results + t);
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
