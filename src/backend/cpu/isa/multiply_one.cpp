// One row by packed weights: bound by memory. Several tiles go side by side, each its own stream and its own
// chain of additions.
#include "backend/cpu/isa/kernel_units.h"
#include "backend/cpu/isa/weight_decoding.h"

namespace sheaf::cpu::SHEAF_ISA {
namespace {

constexpr int64_t prefetch_ahead = 1024;  // bytes of one stream

template <class Decoder, int T, int J = 0>
SHEAF_SIMD void add_word(const Decoder& decoder, const i32x16 (&word)[T], const float* x, f32x16 (&part)[T]) {
    const f32x16 value = set1(x[J]);
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) part[t] = fma(value, decoder.template get<J>(word[t]), part[t]);
    if constexpr (J + 1 < Decoder::per_word) add_word<Decoder, T, J + 1>(decoder, word, x, part);
}

template <class Decoder, int T>
void multiply_tiles(const PackedMatrix& w, const float* x, const float* sums, const uint8_t* tile, float* y) {
    constexpr int per_word = Decoder::per_word;
    const Decoder decoder;
    const int64_t tile_bytes = w.tile_bytes, groups = w.groups();
    f32x16 total[T];
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) total[t] = zero();
    for (int64_t g = 0; g < groups; ++g) {
        const int64_t begin = g * w.group / per_word;
        const int64_t end = (g + 1 == groups ? w.padded_in : (g + 1) * w.group) / per_word;
        f32x16 part[T];
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) part[t] = zero();
        for (int64_t r = begin; r < end; ++r) {
            i32x16 word[T];
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) {
                const uint8_t* at = tile + t * tile_bytes + r * 64;
                prefetch(at + prefetch_ahead);
                word[t] = load_i32(at);
            }
            add_word<Decoder, T>(decoder, word, x + r * per_word, part);
        }
        const float sum = sums ? sums[g] : 0.0f;
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t)
            total[t] = finish_group(w, tile + t * tile_bytes, g, part[t], sum, total[t]);
    }
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) store(y + t * lanes, total[t]);
}

template <class Decoder>
void multiply_format(const PackedMatrix& w, const float* x, const float* sums, int64_t tile, int64_t count,
                     float* y) {
    const uint8_t* data = w.data + tile * w.tile_bytes;
    auto run = [&](auto multiply, int64_t tiles) {
        multiply(w, x, sums, data, y);
        data += tiles * w.tile_bytes;
        y += tiles * lanes;
        count -= tiles;
    };
    while (count >= one_row_tiles) run(multiply_tiles<Decoder, one_row_tiles>, one_row_tiles);
    if (one_row_tiles > 4 && count >= 4) run(multiply_tiles<Decoder, 4>, 4);
    if (one_row_tiles > 2 && count >= 2) run(multiply_tiles<Decoder, 2>, 2);
    while (count >= 1) run(multiply_tiles<Decoder, 1>, 1);
}

}  // namespace

void multiply_one(const PackedMatrix& w, const float* x, const float* sums, int64_t tile, int64_t count,
                  float* y) {
    switch (w.format) {
        case NumberFormat::f32:
            return multiply_format<F32Decoder>(w, x, sums, tile, count, y);
        case NumberFormat::bf16:
            return multiply_format<Bf16Decoder>(w, x, sums, tile, count, y);
        case NumberFormat::fp8:
            return multiply_format<Fp8Decoder>(w, x, sums, tile, count, y);
        case NumberFormat::int4:
            return multiply_format<Int4WordDecoder>(w, x, sums, tile, count, y);
    }
}

}  // namespace sheaf::cpu::SHEAF_ISA
