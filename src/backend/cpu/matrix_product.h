// Products of activations with packed weights, as linear and mixture-of-experts layers share them: making
// rows ready for a weight, and running a range of its tiles over them. Used inside the CPU back end. Must not
// know threads: the callers divide the tiles.
#pragma once

#include <cstdint>

#include "backend/cpu/kernels.h"

namespace sheaf::cpu {

/// Up to this many rows, each row passes over a weight by itself.
constexpr int64_t few_rows = 3;

/// Rows made ready for one weight: gathered by its input order, padded, in blocks, with group sums.
struct ReadyRows {
    float* blocks = nullptr;  // rows * padded_in
    float* sums = nullptr;    // rows * groups; used when the weight has zero points

    static int64_t block_floats(const PackedMatrix& w, int64_t rows) { return rows * w.padded_in; }
    static int64_t sum_floats(const PackedMatrix& w, int64_t rows) {
        return w.has_zeros ? rows * w.groups() : 0;
    }
};

/// Rows per block for a product of `rows` rows.
inline int64_t block_height(const Kernels& kernels, int64_t rows) {
    return rows <= few_rows ? 1 : kernels.row_block;
}

/// Makes rows [begin, begin + height) ready, begin a multiple of block_height: pointers to all rows in
/// `rows`.
void make_ready(const Kernels& kernels, const PackedMatrix& w, const float* const* rows, int64_t begin,
                int64_t height, const ReadyRows& ready);

/// Whether a contiguous row can be used as it is.
inline bool usable_directly(const PackedMatrix& w) {
    return !w.input_order && !w.has_zeros && w.padded_in == w.in;
}

/// y [rows][count * 16] = ready rows [row, row + rows) by tiles [tile, tile + count), count <=
/// tile_step(rows), plus bias. All rows of the product number `all_rows`; row is a multiple of its block
/// height.
void multiply_tiles(const Kernels& kernels, const PackedMatrix& w, const ReadyRows& ready, int64_t all_rows,
                    int64_t row, int64_t rows, int64_t tile, int64_t count, float* y);

/// Tiles that one call of multiply_tiles takes.
inline int64_t tile_step(const Kernels& kernels, int64_t all_rows) {
    return all_rows <= few_rows ? kernels.tile_batch : kernels.panel_tiles;
}

/// Per-thread memory, for the time of a task. Each slot holds one array; asking again may move it.
class Scratch {
  public:
    enum Slot { gate, up, rows, sums, panel, outputs, slots };
    static float* floats(Slot slot, int64_t count);
};

}  // namespace sheaf::cpu
