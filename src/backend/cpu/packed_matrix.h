// PackedMatrix: a weight as the CPU kernels read it. W (out, in) lies in tiles of 16 outputs, one lane each;
// inside a tile the inputs follow one another, so a tile is one stream of memory and no sum crosses lanes:
//   f32    [in][16] float
//   bf16   [in / 2][16] words: even input in the low half
//   fp8    [in / 4][16] words of four E4M3 bytes, low first
//   int4   [in / 8][16] words of eight codes, low first, each standing for code - 8
// and after the numbers the scales [groups][16] and the zero points [groups][16] as bytes, where there are
// any.
//
// The arithmetic of every kernel, one row or many, is
//   part = sum over the group's inputs, in order, of fma(x, w);   part += (8 - zero) * (sum of x over the
//   group) y = sum over groups, in order, of fma(scale, part)
// so a row's result depends on nothing but the row. (The tiles of isa/amx have an order of their own, with
// the same property.) Made by pack.h; read by the kernels. Plain data only.
#pragma once

#include <cstdint>

namespace sheaf::cpu {

enum class NumberFormat : uint8_t { f32, bf16, fp8, int4 };
enum class ScaleFormat : uint8_t { none, f32, bf16, f16 };

struct PackedMatrix {
    static constexpr int64_t tile_outputs = 16;

    NumberFormat format = NumberFormat::f32;
    ScaleFormat scale = ScaleFormat::none;
    bool has_zeros = false;
    int64_t out = 0, in = 0;
    int64_t padded_in = 0;                 // in, filled up to whole words with zero weights
    int64_t group = 0;                     // inputs per group; the last one may be shorter
    const uint8_t* data = nullptr;         // tiles, 64-byte aligned
    int64_t tile_bytes = 0;                // from tile to tile
    int64_t scale_offset = 0;              // within a tile
    int64_t zero_offset = 0;               // within a tile
    const int32_t* input_order = nullptr;  // packed position -> input channel, or null
    const float* bias = nullptr;           // padded to whole tiles, or null

    int64_t tiles() const { return (out + tile_outputs - 1) / tile_outputs; }
    int64_t groups() const { return (padded_in + group - 1) / group; }
    int64_t k_blocks() const {  // of all groups, each filled up
        const int64_t per_group = (group + 31) / 32, last = padded_in - (groups() - 1) * group;
        return (groups() - 1) * per_group + (last + 31) / 32;
    }
};

/// How rows of activations lie for the kernels.
enum class RowForm : uint8_t {
    floats,  // blocks [padded_in][rows of the block], the last block narrower
    bf16,    // blocks [k-block][height of the block][32], every one filled up with zero rows to one height
};

/// A k-block: 32 inputs of one group, a tile's row of bf16. Groups that do not fill their last one are
/// followed by zeros in rows of form bf16.
constexpr int64_t k_block = 32;

/// Rows of activations as the kernels read them, in blocks of `height` rows.
struct PackedRows {
    const void* data = nullptr;
    RowForm form = RowForm::floats;
    int64_t rows = 0;
    int64_t height = 0;
    int64_t padded_in = 0;
    const float* group_sums = nullptr;  // [rows][groups], or null when no zero points need them (or bf16)
};

}  // namespace sheaf::cpu
