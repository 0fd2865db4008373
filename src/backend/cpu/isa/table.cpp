// The kernel table of one instruction set.
#include "backend/cpu/isa/kernel_units.h"

namespace sheaf::cpu::SHEAF_ISA {

extern const Kernels kernels;
const Kernels kernels = {
    .bf16_to_f32 = bf16_to_f32,
    .f16_to_f32 = f16_to_f32,
    .f32_to_bf16 = f32_to_bf16,
    .unary = unary,
    .binary = binary,
    .binary_constant = binary_constant,
    .swiglu = swiglu,
    .add_scaled = add_scaled,
    .multiply_sigmoid = multiply_sigmoid,
    .rsqrt = rsqrt,
    .sum = sum,
    .rms_norm = rms_norm,
    .l2_norm = l2_norm,
    .multiply_silu = multiply_silu,
    .softmax = softmax,
    .rotate = rotate,
    .matmul_row = matmul_row,
    .row_block = block_rows,
    .tile_batch = one_row_tiles,
    .row_form = row_form,
    .multiply = multiply,
    .group_sums = group_sums,
    .pack_block = pack_block,
    .pack_bf16 = nullptr,
    .attend = attend,
    .merge_attention = merge_attention,
    .finish_attention = finish_attention,
    .delta_rule = delta_rule,
    .causal_conv = causal_conv,
    .read_all = read_all,
    .flops_per_round = flops_per_round,
    .burn = burn,
};

}  // namespace sheaf::cpu::SHEAF_ISA
