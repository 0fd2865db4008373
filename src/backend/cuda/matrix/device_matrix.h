// DeviceMatrix: a weight W (out, in) as the GPU kernels read it; plain data, passed to kernels by value.
//
// int4 lies in units of 16 rows x 128 inputs, a block of 16 rows being the sequence of its units along the
// inputs, and the matrix the sequence of its blocks: one stream of memory that can be cut anywhere between
// units. A unit is 1,024 bytes of codes, then its scales, then (where there are any) its zero points.
// Codes are in the order of the A fragments of mma.m16n8k16 and wgmma.m64k16: lane 4 g + t of a warp finds in
// the 16 bytes at 512 c + 16 lane, word s, the codes of rows g and g + 8 at the four inputs
//   k = 64 c + 32 (s / 2) + 8 t + 4 (s % 2) + {0, 1, 2, 3},
// as nibbles (low first): (g, k), (g + 8, k), (g, k + 2), (g + 8, k + 2), (g, k + 1), (g + 8, k + 1),
// (g, k + 3), (g + 8, k + 3); so one mask of every fourth nibble gives a pair of neighbours. A lane's inputs
// of a 32-run are eight neighbours too, so that activations are read 16 bytes at a time, in the same order.
// Scales: per group of the unit and g the pair (row g, row g + 8); zero points likewise, as bytes.
// A missing code is 8, a missing scale 0. f32 and bf16 are rows of `row_stride` values, filled with zeros.
//
// Made by prepare.h; read by the kernels. Must not know operators.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sheaf::cuda {

enum class Store : int32_t { f32, bf16, int4 };
enum class ScaleType : int32_t { f16, bf16, f32 };

struct DeviceMatrix {
    static constexpr int block_rows = 16, unit_inputs = 128, unit_code_bytes = 1024;

    Store store = Store::bf16;
    ScaleType scale = ScaleType::f16;
    bool has_zeros = false;
    int32_t unit_groups = 1;  // 1, 2 or 4: groups of 128, 64 or 32 inputs
    int32_t unit_bytes = 0;
    int32_t units = 0;   // of a block
    int32_t blocks = 0;  // of 16 rows, the last one filled up
    int64_t out = 0, in = 0;
    int64_t row_stride = 0;         // f32 and bf16: values from row to row
    const uint8_t* data = nullptr;  // 256-byte aligned
    const float* bias = nullptr;    // (out), or null

    size_t weight_bytes() const {
        const auto rows = static_cast<size_t>(blocks) * block_rows;
        if (store == Store::int4)
            return static_cast<size_t>(blocks) * static_cast<size_t>(units) * static_cast<size_t>(unit_bytes);
        return rows * static_cast<size_t>(row_stride) * (store == Store::f32 ? 4 : 2);
    }
};

/// All experts of a layer: `gate_up` and `down` describe expert 0; expert e lies e strides further. Row
/// 16 b + r of gate_up is gate's row 8 b + r for r < 8, and up's row 8 b + r - 8 for the others.
struct DeviceExperts {
    DeviceMatrix gate_up, down;
    size_t gate_up_stride = 0, down_stride = 0;  // bytes
    int64_t count = 0, hidden = 0, intermediate = 0;
};

}  // namespace sheaf::cuda
