// Rows of activations by packed weights. Weights are decoded in registers, a few inputs of a few tiles at a
// time, and multiplied with all rows of a block; all sums of rows x tiles stay in registers. One row takes
// many tiles side by side, each its own stream of memory: that is bound by memory. A full block takes two:
// that is bound by arithmetic, and the decoding hides behind it.
#include "backend/cpu/isa/kernel_units.h"
#include "backend/cpu/isa/weight_decoding.h"

namespace sheaf::cpu::SHEAF_ISA {
namespace {

constexpr int64_t prefetch_ahead = 1024;  // bytes of one stream

/// Input J of a row of words, for R rows of x (x points at the R values of the word's first input).
template <class Decoder, int R, int T, int J = 0>
SHEAF_SIMD void add_word(const Decoder& decoder, i32x16 (&word)[T], const float* x, f32x16 (&part)[R][T]) {
    f32x16 weight[T];
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) weight[t] = decoder.template get<J>(word[t]);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
        const f32x16 value = set1(x[J * R + r]);
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) part[r][t] = fma(value, weight[t], part[r][t]);
    }
    if constexpr (J + 1 < Decoder::per_word) add_word<Decoder, R, T, J + 1>(decoder, word, x, part);
}

/// T tiles from `tile`; x [padded_in][R]; y rows are y_stride apart.
template <class Decoder, int R, int T>
void multiply_tiles(const PackedMatrix& w, const float* x, const float* sums, const uint8_t* tile, float* y,
                    int64_t y_stride) {
    constexpr int per_word = Decoder::per_word;
    const Decoder decoder;
    const int64_t tile_bytes = w.tile_bytes, groups = w.groups();
    f32x16 total[R][T];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) total[r][t] = zero();
    for (int64_t g = 0; g < groups; ++g) {
        const int64_t begin = g * w.group / per_word;
        const int64_t end = (g + 1 == groups ? w.padded_in : (g + 1) * w.group) / per_word;
        f32x16 part[R][T];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) part[r][t] = zero();
        for (int64_t i = begin; i < end; ++i) {
            // Near its end a stream goes on with the tile that comes after these T.
            const int64_t ahead =
                prefetch_ahead + (i * 64 + prefetch_ahead < tile_bytes ? 0 : (T - 1) * tile_bytes);
            i32x16 word[T];
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) {
                const uint8_t* at = tile + t * tile_bytes + i * 64;
                prefetch(at + ahead);
                word[t] = load_i32(at);
            }
            add_word<Decoder, R, T>(decoder, word, x + i * per_word * R, part);
        }
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
            const uint8_t* at = tile + t * tile_bytes;
            const f32x16 scale = load_scale(w, at, g);
            if (sums) {
                const f32x16 shift = load_zero_shift(w, at, g);
#pragma GCC unroll 8
                for (int r = 0; r < R; ++r) part[r][t] = fma(shift, set1(sums[r * groups + g]), part[r][t]);
            }
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) total[r][t] = fma(scale, part[r][t], total[r][t]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) store(y + r * y_stride + t * lanes, total[r][t]);
}

template <class Decoder, int R>
void multiply_block(const PackedMatrix& w, const float* x, const float* sums, int64_t tile, int64_t count,
                    float* y) {
    constexpr int widest = tiles_at_once[R - 1];
    const uint8_t* data = w.data + tile * w.tile_bytes;
    const int64_t stride = count * lanes;
    auto run = [&](auto multiply_these, int64_t tiles) {
        multiply_these(w, x, sums, data, y, stride);
        data += tiles * w.tile_bytes;
        y += tiles * lanes;
        count -= tiles;
    };
    while (count >= widest) run(multiply_tiles<Decoder, R, widest>, widest);
    if constexpr (R == 1 && widest > 2)
        while (count >= 2) run(multiply_tiles<Decoder, R, 2>, 2);
    while (count >= 1) run(multiply_tiles<Decoder, R, 1>, 1);
}

template <class Decoder, int R = block_rows>
SHEAF_SIMD void multiply_height(int64_t rows, const PackedMatrix& w, const float* x, const float* sums,
                                int64_t tile, int64_t count, float* y) {
    if (rows == R) return multiply_block<Decoder, R>(w, x, sums, tile, count, y);
    if constexpr (R > 1) multiply_height<Decoder, R - 1>(rows, w, x, sums, tile, count, y);
}

template <class Decoder>
void multiply_format(const PackedMatrix& w, const PackedRows& x, int64_t tile, int64_t count, float* y) {
    for (int64_t row = 0; row < x.rows; row += block_rows) {
        const int64_t rows = x.rows - row < block_rows ? x.rows - row : block_rows;
        const float* sums = x.group_sums ? x.group_sums + row * w.groups() : nullptr;
        multiply_height<Decoder>(rows, w, static_cast<const float*>(x.data) + row * x.padded_in, sums, tile,
                                 count, y + row * count * lanes);
    }
}

}  // namespace

RowForm row_form(const PackedMatrix&) {
    return RowForm::floats;
}

void multiply(const PackedMatrix& w, const PackedRows& x, int64_t tile, int64_t count, float* y) {
    switch (w.format) {
        case NumberFormat::f32:
            return multiply_format<F32Decoder>(w, x, tile, count, y);
        case NumberFormat::bf16:
            return multiply_format<Bf16Decoder>(w, x, tile, count, y);
        case NumberFormat::fp8:
            return multiply_format<Fp8Decoder>(w, x, tile, count, y);
        case NumberFormat::int4:
            return multiply_format<Int4WordDecoder>(w, x, tile, count, y);
    }
}

void pack_block(const float* const* rows, int64_t count, int64_t in, int64_t padded_in, float* block) {
    constexpr int64_t piece =
        64;  // of every row at a time, so that the written lines stay in the nearest cache
    for (int64_t begin = 0; begin < in; begin += piece) {
        const int64_t end = begin + piece < in ? begin + piece : in;
        for (int64_t r = 0; r < count; ++r) {
            const float* row = rows[r];
            for (int64_t k = begin; k < end; ++k) block[k * count + r] = row[k];
        }
    }
    for (int64_t i = in * count; i < padded_in * count; ++i) block[i] = 0.0f;
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
