// Products of activations with packed weights, as linear and mixture-of-experts layers share them: making
// rows ready for a weight, and running a range of its tiles over them. Used inside the CPU back end. Must not
// know threads: the callers divide the tiles.
#pragma once

#include <cstdint>

#include "backend/cpu/kernels.h"

namespace sheaf::cpu {

/// How a number of rows lies that is made ready for one weight: blocks of `height` rows (packed_matrix.h).
struct RowLayout {
    RowForm form = RowForm::floats;
    int64_t rows = 0, height = 1;
    int64_t row_floats = 0;  // memory of a row, in floats
    int64_t sum_floats = 0;  // of all rows: [rows][groups] when zero points need sums

    int64_t blocks() const { return (rows + height - 1) / height; }
    /// All blocks together, in floats.
    int64_t block_floats() const { return (form == RowForm::bf16 ? blocks() * height : rows) * row_floats; }
};

RowLayout row_layout(const Kernels& kernels, const PackedMatrix& w, int64_t rows);

/// Whether rows made ready for one of these weights suit the other, neither having an input order.
bool same_rows(const Kernels& kernels, const PackedMatrix& a, const PackedMatrix& b);

/// Rows made ready for one weight: gathered by its input order, padded, in blocks, with group sums.
struct ReadyRows {
    RowLayout layout;
    float* blocks = nullptr;  // layout.block_floats()
    float* sums = nullptr;    // layout.sum_floats

    float* block(int64_t row) const { return blocks + row * layout.row_floats; }  // row: the block's first
};

/// Makes one block ready, the one that starts at row `begin`: pointers to all rows in `rows`.
void make_ready(const Kernels& kernels, const PackedMatrix& w, const float* const* rows, int64_t begin,
                const ReadyRows& ready);

/// Whether a contiguous row can be used as it is.
inline bool usable_directly(const RowLayout& layout, const PackedMatrix& w) {
    return layout.form == RowForm::floats && layout.rows == 1 && !w.input_order && !w.has_zeros &&
           w.padded_in == w.in;
}

/// y [rows][count * 16] = ready rows [row, row + rows) by tiles [tile, tile + count), plus bias; row is a
/// multiple of the layout's height.
void multiply_tiles(const Kernels& kernels, const PackedMatrix& w, const ReadyRows& ready, int64_t row,
                    int64_t rows, int64_t tile, int64_t count, float* y);

/// Per-thread memory, for the time of a task. Each slot holds one array; asking again may move it.
class Scratch {
  public:
    enum Slot { gate, up, rows, sums, outputs, slots };
    static float* floats(Slot slot, int64_t count);
};

}  // namespace sheaf::cpu
