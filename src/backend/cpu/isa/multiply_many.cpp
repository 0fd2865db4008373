// Many rows by packed weights: bound by arithmetic. One group of a few tiles is decoded into a panel that
// stays in the first-level cache; all rows pass over it, a block of rows at a time, with all sums in
// registers.
#include "backend/cpu/isa/kernel_units.h"
#include "backend/cpu/isa/weight_decoding.h"

namespace sheaf::cpu::SHEAF_ISA {
namespace {

template <class Decoder, int J = 0>
SHEAF_SIMD void decode_word(const Decoder& decoder, i32x16 word, float* panel, int64_t stride) {
    store(panel, decoder.template get<J>(word));
    if constexpr (J + 1 < Decoder::per_word)
        decode_word<Decoder, J + 1>(decoder, word, panel + stride, stride);
}

/// Inputs [begin, end) of one tile to panel[k * stride].
template <class Decoder>
void decode_tile(const uint8_t* tile, int64_t begin, int64_t end, float* panel, int64_t stride) {
    constexpr int per_word = Decoder::per_word;
    const Decoder decoder;
    for (int64_t r = begin / per_word; r < end / per_word; ++r) {
        decode_word<Decoder>(decoder, load_i32(tile + r * 64), panel, stride);
        panel += per_word * stride;
    }
}

void decode(const PackedMatrix& w, const uint8_t* tile, int64_t begin, int64_t end, float* panel,
            int64_t stride) {
    switch (w.format) {
        case NumberFormat::f32:
            return decode_tile<F32Decoder>(tile, begin, end, panel, stride);
        case NumberFormat::bf16:
            return decode_tile<Bf16Decoder>(tile, begin, end, panel, stride);
        case NumberFormat::fp8:
            return decode_tile<Fp8Decoder>(tile, begin, end, panel, stride);
        case NumberFormat::int4:
            return decode_tile<Int4WordDecoder>(tile, begin, end, panel, stride);
    }
}

struct GroupStep {
    const PackedMatrix* w;
    const uint8_t* tile;
    const float* panel;
    int64_t group, begin, count;  // inputs [begin, begin + count)
};

/// R rows (block [padded_in][R]) by T tiles of the panel; y [R][T * 16] accumulates group after group.
template <int R, int T>
void block_step(const GroupStep& step, const float* block, const float* sums, int64_t groups, float* y) {
    f32x16 part[R][T];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) part[r][t] = zero();
    const float* x = block + step.begin * R;
    const float* panel = step.panel;
    for (int64_t k = 0; k < step.count; ++k, x += R, panel += T * lanes) {
        f32x16 weight[T];
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) weight[t] = load(panel + t * lanes);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const f32x16 value = set1(x[r]);
#pragma GCC unroll 4
            for (int t = 0; t < T; ++t) part[r][t] = fma(value, weight[t], part[r][t]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) {
            float* at = y + (r * T + t) * lanes;
            const f32x16 total = step.group == 0 ? zero() : load(at);
            const float sum = sums ? sums[r * groups + step.group] : 0.0f;
            store(at, finish_group(*step.w, step.tile + t * step.w->tile_bytes, step.group, part[r][t], sum,
                                   total));
        }
}

template <int T, int R = many_rows>
void block_rows(int64_t rows, const GroupStep& step, const float* block, const float* sums, int64_t groups,
                float* y) {
    if (rows == R) return block_step<R, T>(step, block, sums, groups, y);
    if constexpr (R > 1) block_rows<T, R - 1>(rows, step, block, sums, groups, y);
}

template <int T>
void multiply_panel(const PackedMatrix& w, const PackedRows& x, int64_t first_tile, float* panel, float* y) {
    const uint8_t* tile = w.data + first_tile * w.tile_bytes;
    const int64_t groups = w.groups();
    for (int64_t g = 0; g < groups; ++g) {
        const int64_t begin = g * w.group;
        const int64_t end = g + 1 == groups ? w.padded_in : begin + w.group;
        for (int t = 0; t < T; ++t)
            decode(w, tile + t * w.tile_bytes, begin, end, panel + t * lanes, T * lanes);
        const GroupStep step{&w, tile, panel, g, begin, end - begin};
        for (int64_t row = 0; row < x.rows; row += many_rows) {
            const int64_t rows = x.rows - row < many_rows ? x.rows - row : many_rows;
            block_rows<T>(rows, step, x.data + row * x.padded_in,
                          x.group_sums ? x.group_sums + row * groups : nullptr, groups, y + row * T * lanes);
        }
    }
}

template <int T = many_tiles>
void multiply_count(const PackedMatrix& w, const PackedRows& x, int64_t tile, int64_t count, float* panel,
                    float* y) {
    if (count == T) return multiply_panel<T>(w, x, tile, panel, y);
    if constexpr (T > 1) multiply_count<T - 1>(w, x, tile, count, panel, y);
}

}  // namespace

void multiply_many(const PackedMatrix& w, const PackedRows& x, int64_t tile, int64_t count, float* panel,
                   float* y) {
    multiply_count(w, x, tile, count, panel, y);
}

void pack_block(const float* const* rows, int64_t count, int64_t in, int64_t padded_in, float* block) {
    for (int64_t r = 0; r < count; ++r) {
        const float* row = rows[r];
        for (int64_t k = 0; k < in; ++k) block[k * count + r] = row[k];
        for (int64_t k = in; k < padded_in; ++k) block[k * count + r] = 0.0f;
    }
}

void group_sums(const float* x, int64_t n, int64_t group, float* sums) {
    for (int64_t begin = 0; begin < n; begin += group) {
        const int64_t end = begin + group < n ? begin + group : n;
        f32x16 total = zero();
        for (int64_t k = begin; k < end; k += lanes) total = add(total, load_n(x + k, end - k));
        *sums++ = sum_lanes(total);
    }
}

}  // namespace sheaf::cpu::SHEAF_ISA
