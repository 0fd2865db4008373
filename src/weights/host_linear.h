// HostLinear: one linear layer's weight in canonical form, as read from a checkpoint in whatever format,
// before a back end prepares it for itself. y = x W^T + bias, W is (out, in). Produced by weight_format.h,
// consumed by Machine::prepare. Must not know names of checkpoints or back ends.
#pragma once

#include <cstdint>
#include <variant>

#include "tensor/host_tensor.h"

namespace sheaf {

/// 16- or 32-bit values: f32, bf16 or f16, (out, in), rows may be strided.
struct DenseWeight {
    HostTensor values;
};

/// 4-bit integers with a scale (and zero point) per group of consecutive packed inputs:
/// W[n][input_order[p]] = (code[p][n] - zero[g][n]) * scale[g][n],  g = p / group_size (the last group may be
/// shorter). in and group_size are multiples of 8, group_size <= in, groups = ceil(in / group_size). The
/// matrices may be columns of wider ones (row_stride).
struct Int4Weight {
    HostTensor codes;   // i32 (in / 8, out): nibble j of word (r, n), low first, is code[8 r + j][n]
    HostTensor scales;  // f16, bf16 or f32 (groups, out); may be negative
    HostTensor zeros;   // u8 (groups, out), the zero point really subtracted; undefined means 8 everywhere
    HostTensor input_order;  // i32 (in): packed position -> input channel; undefined means identity
    int64_t group_size = 0;
};

/// FP8 E4M3 values with one multiplier per block: W[n][k] = value[n][k] * scale[n / block_rows][k /
/// block_columns]. Blocks may be any size from (1, in), a scale per output, to (out, in), one for all.
struct Fp8Weight {
    HostTensor values;  // f8_e4m3 (out, in)
    HostTensor scales;  // f32 or bf16 (ceil(out / block_rows), ceil(in / block_columns))
    int64_t block_rows = 0, block_columns = 0;
};

struct HostLinear {
    int64_t out = 0, in = 0;
    std::variant<DenseWeight, Int4Weight, Fp8Weight> weight;
    HostTensor bias;  // (out), optional

    /// Rows [begin, end) of W: a slice for a rank, or one half of a fused gate_up. begin and end are
    /// arbitrary; no weights are copied (only FP8 scales, where a block is cut).
    HostLinear output_slice(int64_t begin, int64_t end) const;
};

/// The float values of the whole matrix, (out, in) f32: the definition of each format; for tests and small
/// tools.
HostTensor dequantize(const HostLinear& linear);

}  // namespace sheaf
