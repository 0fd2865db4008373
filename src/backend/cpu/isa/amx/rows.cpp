// Rows of activations in bf16: packing them, and the product of a single one with weights, in which tiles
// would stand empty. It has the arithmetic of multiply.cpp to the bit, by plain fma.
#include "backend/cpu/isa/amx/multiply.h"
#include "backend/cpu/isa/vector_math.h"
#include "backend/cpu/isa/weight_decoding.h"

namespace sheaf::cpu::SHEAF_ISA {
namespace {

constexpr int64_t prefetch_ahead = 1024;  // bytes of one stream

/// Values [0, n) of `from` as bf16; n <= 32. Up to `filled` zeros follow.
SHEAF_SIMD void round_values(const float* from, int64_t n, int64_t filled, uint16_t* to) {
    for (int64_t i = 0; i < filled; i += lanes) {
        const f32x16 values = load_n(from + i, n > i ? n - i : 0);
        _mm512_mask_cvtepi32_storeu_epi16(to + i, first_lanes(filled - i), round_bf16(values).v);
    }
}

/// Inputs J and J + 1 of a row of words.
template <class Decoder, bool HasZeros, int T, int J = 0>
SHEAF_SIMD void add_word(const Decoder& decoder, i32x16 (&word)[T], const f32x16 (&shift)[T], const float* x,
                         f32x16 (&even)[T], f32x16 (&odd)[T]) {
    const f32x16 value = set1(x[J]);
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
        f32x16 weight = decoder.template get<J>(word[t]);
        if constexpr (HasZeros) weight = add(weight, shift[t]);
        f32x16& sum = J % 2 == 0 ? even[t] : odd[t];
        sum = fma(value, weight, sum);
    }
    if constexpr (J + 1 < Decoder::per_word)
        add_word<Decoder, HasZeros, T, J + 1>(decoder, word, shift, x, even, odd);
}

template <class Decoder, bool HasZeros, int T>
void row_by_tiles(const PackedMatrix& w, const uint16_t* x, const uint8_t* tile, float* y) {
    constexpr int per_word = Decoder::per_word;
    const Decoder decoder;
    // bf16 weights are one group (no scale), whatever their layout says.
    const int64_t group = w.scale == ScaleFormat::none ? w.padded_in : w.group;
    f32x16 total[T];
    for (int64_t g = 0, begin = 0; begin < w.padded_in; ++g, begin += group) {
        const int64_t end = begin + group < w.padded_in ? begin + group : w.padded_in;
        f32x16 part[T], shift[T];
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) {
            part[t] = zero();
            if constexpr (HasZeros) shift[t] = load_zero_shift(w, tile + t * w.tile_bytes, g);
        }
        for (int64_t k = begin; k < end; k += k_block, x += k_block) {
            alignas(64) float values[k_block];
            store(values, load_bf16(x));
            store(values + lanes, load_bf16(x + lanes));
            f32x16 even[T], odd[T];
#pragma GCC unroll 4
            for (int t = 0; t < T; ++t) even[t] = odd[t] = zero();
            const int64_t stop = k + k_block < end ? k + k_block : end;
            for (int64_t i = k; i < stop; i += per_word) {
                const int64_t offset = i / per_word * 64;
                // Near its end a stream goes on with the tile that comes after these T.
                const int64_t jump = offset + prefetch_ahead < w.tile_bytes ? 0 : (T - 1) * w.tile_bytes;
                i32x16 word[T];
#pragma GCC unroll 4
                for (int t = 0; t < T; ++t) {
                    const uint8_t* at = tile + t * w.tile_bytes + offset;
                    prefetch(at + prefetch_ahead + jump);
                    word[t] = load_i32(at);
                }
                add_word<Decoder, HasZeros, T>(decoder, word, shift, values + (i - k), even, odd);
            }
#pragma GCC unroll 4
            for (int t = 0; t < T; ++t) part[t] = add(part[t], add(even[t], odd[t]));
        }
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) {
            if (w.scale == ScaleFormat::none) {
                total[t] = part[t];
                continue;
            }
            const f32x16 scale = load_scale(w, tile + t * w.tile_bytes, g);
            total[t] = fma(scale, part[t], g == 0 ? zero() : total[t]);
        }
    }
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) store(y + t * lanes, total[t]);
}

template <class Decoder, bool HasZeros>
void row_by_all(const PackedMatrix& w, const uint16_t* x, int64_t tile, int64_t count, float* y) {
    const uint8_t* data = w.data + tile * w.tile_bytes;
    for (; count >= 4; count -= 4, data += 4 * w.tile_bytes, y += 4 * lanes)
        row_by_tiles<Decoder, HasZeros, 4>(w, x, data, y);
    for (; count > 0; --count, data += w.tile_bytes, y += lanes)
        row_by_tiles<Decoder, HasZeros, 1>(w, x, data, y);
}

}  // namespace

RowForm row_form(const PackedMatrix& w) {
    return w.format == NumberFormat::bf16 || w.format == NumberFormat::int4 ? RowForm::bf16 : RowForm::floats;
}

void pack_bf16(const PackedMatrix& w, const float* const* rows, int64_t count, int64_t height, int64_t begin,
               int64_t end, uint16_t* block) {
    const int64_t blocks_of_group = (w.group + k_block - 1) / k_block;
    for (int64_t at = begin; at < end;) {
        const int64_t group = at / w.group, opens = group * w.group;
        const int64_t closes = opens + w.group < w.in ? opens + w.group : w.in;
        const int64_t index = (at - opens) / k_block, offset = (at - opens) % k_block;
        const int64_t full = opens + (index + 1) * k_block, stop = full < closes ? full : closes;
        const int64_t n = (stop < end ? stop : end) - at;
        const int64_t filled = at + n == stop ? k_block - offset : n;
        uint16_t* to = block + (group * blocks_of_group + index) * height * k_block + offset;
        for (int64_t r = 0; r < height; ++r)
            round_values(r < count ? rows[r] + (at - begin) : nullptr, r < count ? n : 0, filled,
                         to + r * k_block);
        at += n;
    }
}

void multiply_row(const PackedMatrix& w, const uint16_t* x, int64_t tile, int64_t count, float* y) {
    if (w.format == NumberFormat::bf16) return row_by_all<Bf16Decoder, false>(w, x, tile, count, y);
    if (w.has_zeros) return row_by_all<Int4WordDecoder, true>(w, x, tile, count, y);
    row_by_all<Int4WordDecoder, false>(w, x, tile, count, y);
}

}  // namespace sheaf::cpu::SHEAF_ISA
