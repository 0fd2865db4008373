// Weights as tiles of bf16: for a few adjacent tiles of a PackedMatrix, one k-block after another. bf16
// weights lie in memory as the tile registers want them; int4 codes are decoded into a small buffer, at most
// one piece ahead of their use. Used by the matrix product of this folder only.
#pragma once

#include "backend/cpu/isa/amx/tiles.h"
#include "backend/cpu/isa/weight_decoding.h"

namespace sheaf::cpu::SHEAF_ISA {

/// Consecutive k-blocks of one sum: the inputs between two visits of the sums to memory.
struct Piece {
    int64_t group = 0, begin = 0, end = 0;  // inputs
    int64_t first_block = 0, blocks = 0;    // in the rows of activations
    bool opens = true, closes = true;       // its group
    int half = 0;                           // of the buffer, in turn
};

/// The pieces of all inputs in order.
struct Walk {
    int64_t in = 0, group = 0;  // inputs of all, and of one sum
    int64_t limit = 0;          // k-blocks of a piece

    Piece first() const { return piece(0, 0, 0); }
    bool ends_with(const Piece& last) const { return last.end == in; }
    Piece after(const Piece& p) const { return piece(p.end, p.first_block + p.blocks, 1 - p.half); }

  private:
    Piece piece(int64_t begin, int64_t block, int half) const {
        const int64_t g = begin / group, opens = g * group, closes = opens + group < in ? opens + group : in;
        const int64_t end = begin + limit * k_block < closes ? begin + limit * k_block : closes;
        return {g,   begin, end, block, (end - begin + k_block - 1) / k_block, begin == opens, end == closes,
                half};
    }
};

/// Asks for 64 bytes of a stream of T tiles side by side `ahead` bytes early; near a tile's end the stream
/// goes on with the one after these T.
template <int T>
SHEAF_SIMD void prefetch_stream(const PackedMatrix& w, const uint8_t* tile, int64_t offset, int64_t ahead) {
    const int64_t jump = offset + ahead < w.tile_bytes ? 0 : (T - 1) * w.tile_bytes;
    prefetch(tile + offset + ahead + jump);
}

/// T tiles of bf16 weights, read where they lie but for a last k-block that the inputs do not fill.
template <int T>
class Bf16Tiles {
  public:
    Bf16Tiles(const PackedMatrix& w, const uint8_t* tile) : w_(w), tile_(tile) {}

    /// With all sums in registers one piece is all there is; otherwise the weights of a piece stay in the
    /// nearest cache while the rows pass by.
    Walk walk(bool sums_stay) const {
        return {w_.padded_in, w_.padded_in, sums_stay ? w_.padded_in / k_block + 1 : 16};
    }

    void make(const Piece& p, int64_t block) {
        const int64_t begin = p.begin + block * k_block, inputs = p.end - begin;
        if (inputs < k_block) {
            for (int t = 0; t < T; ++t) {
                __builtin_memset(last_[t], 0, tile_bytes);
                __builtin_memcpy(last_[t], at(begin, t), static_cast<size_t>(inputs / 2 * tile_row_bytes));
            }
            return;
        }
        for (int t = 0; t < T; ++t)
#pragma GCC unroll 16
            for (int line = 0; line < tile_rows; ++line)
                prefetch_stream<T>(w_, tile_ + t * w_.tile_bytes,
                                   begin / 2 * tile_row_bytes + line * tile_row_bytes, prefetch_ahead);
    }
    const void* tile(const Piece& p, int t, int64_t block) const {
        const int64_t begin = p.begin + block * k_block;
        return p.end - begin < k_block ? last_[t] : at(begin, t);
    }

  private:
    static constexpr int64_t prefetch_ahead = 4096;
    const uint8_t* at(int64_t input, int t) const {
        return tile_ + t * w_.tile_bytes + input / 2 * tile_row_bytes;
    }

    const PackedMatrix& w_;
    const uint8_t* tile_;
    alignas(64) uint8_t last_[T][tile_bytes];
};

/// Codes to bf16 pairs. An index of the table has five bits: without zero points the fifth is whatever comes
/// next in the word, so both halves are equal; with them it is the sign of code - zero.
class Int4PairDecoder {
  public:
    explicit Int4PairDecoder(bool has_zeros) : has_zeros_(has_zeros) {
        alignas(64) uint16_t values[32];
        for (int i = 0; i < 32; ++i) {
            const auto value = static_cast<float>(!has_zeros ? (i & 15) - 8 : i < 16 ? i : i - 32);
            uint32_t bits;
            __builtin_memcpy(&bits, &value, 4);
            values[i] = static_cast<uint16_t>(bits >> 16);  // small integers are exact
        }
        table_ = _mm512_load_si512(values);
    }

    /// A row of words (eight inputs) into four rows of pairs. zeros: of 16 outputs; read where there are any.
    SHEAF_SIMD void decode(const uint8_t* words, __m512i zeros, uint8_t* rows) const {
        constexpr __mmask32 odd = 0xaaaaaaaa;  // the upper half of every lane
        const __m512i w = _mm512_loadu_si512(words);
        // Inputs 0 and 1 lowest in the halves of a lane, 2 and 3 eight bits above; then 4 to 7 likewise.
        const __m512i low = _mm512_mask_blend_epi16(odd, w, _mm512_slli_epi32(w, 12));
        const __m512i high = _mm512_mask_blend_epi16(odd, _mm512_srli_epi32(w, 16), _mm512_srli_epi32(w, 4));
        store_pairs(low, zeros, rows);
        store_pairs(_mm512_srli_epi16(low, 8), zeros, rows + tile_row_bytes);
        store_pairs(high, zeros, rows + 2 * tile_row_bytes);
        store_pairs(_mm512_srli_epi16(high, 8), zeros, rows + 3 * tile_row_bytes);
    }

    SHEAF_SIMD __m512i zeros_of(const PackedMatrix& w, const uint8_t* tile, int64_t group) const {
        if (!has_zeros_) return _mm512_setzero_si512();
        const __m512i zero = load_u8(tile + w.zero_offset + group * lanes).v;
        return _mm512_or_si512(zero, _mm512_slli_epi32(zero, 16));
    }

  private:
    SHEAF_SIMD void store_pairs(__m512i index, __m512i zeros, uint8_t* row) const {
        if (has_zeros_) index = _mm512_sub_epi16(_mm512_and_si512(index, _mm512_set1_epi16(15)), zeros);
        _mm512_storeu_si512(row, _mm512_permutexvar_epi16(index, table_));
    }

    bool has_zeros_;
    __m512i table_;
};

/// T tiles of int4 weights.
template <int T>
class Int4Tiles {
  public:
    Int4Tiles(const PackedMatrix& w, const uint8_t* tile) : w_(w), tile_(tile), decoder_(w.has_zeros) {}

    Walk walk(bool sums_stay) const {
        return {w_.padded_in, w_.group, sums_stay ? most_blocks / 2 : most_blocks};
    }

    void make(const Piece& p, int64_t block) {
        constexpr int64_t rows_of_words = k_block / 8;
        const int64_t begin = p.begin + block * k_block, offset = begin / 8 * tile_row_bytes;
        const int64_t words = p.end - begin < k_block ? (p.end - begin) / 8 : rows_of_words;
        for (int t = 0; t < T; ++t) {
            const uint8_t* source = tile_ + t * w_.tile_bytes;
            uint8_t* target = buffer_[p.half][block][t];
            const __m512i zeros = decoder_.zeros_of(w_, source, p.group);
            if (words == rows_of_words) {
#pragma GCC unroll 4
                for (int i = 0; i < rows_of_words; ++i) {
                    prefetch_stream<T>(w_, source, offset + i * tile_row_bytes, prefetch_ahead);
                    decoder_.decode(source + offset + i * tile_row_bytes, zeros,
                                    target + 4 * i * tile_row_bytes);
                }
                continue;
            }
            __builtin_memset(target, 0, tile_bytes);
            for (int64_t i = 0; i < words; ++i)
                decoder_.decode(source + offset + i * tile_row_bytes, zeros, target + 4 * i * tile_row_bytes);
        }
    }
    const void* tile(const Piece& p, int t, int64_t block) const { return buffer_[p.half][block][t]; }

  private:
    static constexpr int64_t prefetch_ahead = 2048, most_blocks = 4;

    const PackedMatrix& w_;
    const uint8_t* tile_;
    Int4PairDecoder decoder_;
    alignas(64) uint8_t buffer_[2][T > 2 ? most_blocks / 2 : most_blocks][T][tile_bytes];
};

}  // namespace sheaf::cpu::SHEAF_ISA
