// Declares what multiply.cpp and rows.cpp of this folder define for its kernel tables (see ../../kernels.h
// for meanings). Used inside this folder only.
#pragma once

#include "backend/cpu/kernels.h"

namespace sheaf::cpu::SHEAF_ISA {

RowForm row_form(const PackedMatrix& w);
void pack_bf16(const PackedMatrix& w, const float* const* rows, int64_t count, int64_t height, int64_t begin,
               int64_t end, uint16_t* block);

/// Rows of either form; those of floats by the kernels of avx512.
void multiply(const PackedMatrix& w, const PackedRows& x, int64_t tile, int64_t count, float* y);
void multiply_emulated(const PackedMatrix& w, const PackedRows& x, int64_t tile, int64_t count, float* y);

/// One row of form bf16 without tiles, with the same result.
void multiply_row(const PackedMatrix& w, const uint16_t* x, int64_t tile, int64_t count, float* y);

constexpr int64_t flops_per_round = 4 * 16 * 16 * 32 * 2;
float burn(int64_t rounds);

}  // namespace sheaf::cpu::SHEAF_ISA
