// Products of activations with packed weights, as linear and mixture-of-experts layers share them: making
// rows ready for a weight, and running a range of its tiles over them. Used inside the CPU back end. Must not
// know threads: the callers divide the tiles.
#pragma once

#include <cstdint>

#include "backend/cpu/kernels.h"

namespace sheaf::cpu {

/// Rows made ready for one weight: gathered by its input order, padded, in blocks, with group sums.
struct ReadyRows {
    float* blocks = nullptr;  // rows * padded_in
    float* sums = nullptr;    // rows * groups; used when the weight has zero points

    static int64_t block_floats(const PackedMatrix& w, int64_t rows) { return rows * w.padded_in; }
    static int64_t sum_floats(const PackedMatrix& w, int64_t rows) {
        return w.has_zeros ? rows * w.groups() : 0;
    }
};

/// Makes rows [begin, begin + height) ready, begin a multiple of Kernels::row_block: pointers to all rows in
/// `rows`.
void make_ready(const Kernels& kernels, const PackedMatrix& w, const float* const* rows, int64_t begin,
                int64_t height, const ReadyRows& ready);

/// Whether a contiguous row can be used as it is.
inline bool usable_directly(const PackedMatrix& w) {
    return !w.input_order && !w.has_zeros && w.padded_in == w.in;
}

/// y [rows][count * 16] = ready rows [row, row + rows) by tiles [tile, tile + count), plus bias; row is a
/// multiple of Kernels::row_block.
void multiply_tiles(const Kernels& kernels, const PackedMatrix& w, const ReadyRows& ready, int64_t row,
                    int64_t rows, int64_t tile, int64_t count, float* y);

/// Per-thread memory, for the time of a task. Each slot holds one array; asking again may move it.
class Scratch {
  public:
    enum Slot { gate, up, rows, sums, outputs, slots };
    static float* floats(Slot slot, int64_t count);
};

}  // namespace sheaf::cpu
