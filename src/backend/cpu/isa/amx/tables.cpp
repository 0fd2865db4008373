// The kernel tables of amx: those of avx512, with products of their own.
#include "backend/cpu/isa/amx/multiply.h"

namespace sheaf::cpu::SHEAF_ISA {
namespace {

Kernels with_tiles() {
    Kernels all = avx512::kernels;
    all.row_form = row_form;
    all.pack_bf16 = pack_bf16;
    all.multiply = multiply;
    all.flops_per_round = flops_per_round;
    all.burn = burn;
    return all;
}

Kernels with_emulated_tiles() {
    Kernels all = avx512::kernels;
    all.row_form = row_form;
    all.pack_bf16 = pack_bf16;
    all.multiply = multiply_emulated;
    return all;
}

}  // namespace

const Kernels& kernels() {
    static const Kernels all = with_tiles();
    return all;
}

const Kernels& emulated_kernels() {
    static const Kernels all = with_emulated_tiles();
    return all;
}

}  // namespace sheaf::cpu::SHEAF_ISA
