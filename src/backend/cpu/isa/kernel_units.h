// Declares what the units of this folder define for the table in table.cpp (see ../kernels.h for meanings),
// and the shapes of the register blocks on each instruction set. Used inside this folder only.
#pragma once

#include "backend/cpu/isa/simd.h"
#include "backend/cpu/kernels.h"

namespace sheaf::cpu::SHEAF_ISA {

// tiles_at_once[R - 1]: tiles that R rows take together, so that all sums stay in registers.
#if defined(__AVX512F__)  // 32 registers of 16 floats
constexpr int tiles_at_once[] = {8, 4, 4, 4, 4, 3, 2, 2}, block_rows = 8;
#elif defined(__AVX2__)  // 16 of 8
constexpr int tiles_at_once[] = {4, 2, 1, 1, 1, 1}, block_rows = 6;
#else                    // 16 of 4
constexpr int tiles_at_once[] = {2, 1, 1}, block_rows = 3;
#endif
constexpr int one_row_tiles = tiles_at_once[0];

void bf16_to_f32(const uint16_t* x, float* y, int64_t n);
void f16_to_f32(const uint16_t* x, float* y, int64_t n);
void f32_to_bf16(const float* x, uint16_t* y, int64_t n);
void unary(UnaryKind kind, const float* x, float* y, int64_t n);
void binary(BinaryKind kind, const float* x, const float* b, float* y, int64_t n);
void binary_constant(BinaryKind kind, const float* x, float b, float* y, int64_t n);
void swiglu(const float* gate, const float* up, float* y, int64_t n);
void add_scaled(float factor, const float* x, float* y, int64_t n);
void multiply_sigmoid(const float* x, const float* gate, float* y, int64_t n);
void multiply_silu(const float* x, const float* gate, float* y, int64_t n);
void rsqrt(const float* x, float epsilon, float* y, int64_t n);

float sum(const float* x, int64_t n);
void rms_norm(const float* x, const float* weight, float offset, float epsilon, float* y, int64_t n);
void l2_norm(const float* x, float epsilon, float* y, int64_t n);
void softmax(const float* x, float* y, int64_t n, int64_t valid);
void rotate(const float* x, const float* cosine, const float* sine, int64_t frequencies, int64_t n, float* y);
void matmul_row(const float* row, const float* matrix, int64_t stride, int64_t inner, int64_t columns,
                float* y);

void multiply(const PackedMatrix& w, const PackedRows& x, int64_t tile, int64_t count, float* y);
RowForm row_form(const PackedMatrix& w);
void group_sums(const float* x, int64_t n, int64_t group, float* sums);
void pack_block(const float* const* rows, int64_t count, int64_t in, int64_t padded_in, float* block);

void attend(const KvView& kv, const QueryTile* tiles, int64_t tile_count, int64_t begin, int64_t end,
            float* scratch, const AttentionPart* results);
void merge_attention(const AttentionPart& total, const AttentionPart& part, int64_t head_dim);
void finish_attention(const AttentionPart& total, int64_t head_dim);
void delta_rule(const DeltaRun& run);
void causal_conv(const float* x, int64_t x_stride, const float* weight, int64_t kernel, float* history,
                 int64_t history_stride, int64_t rows, int64_t channels, float* y, int64_t y_stride);

float read_all(const void* data, int64_t bytes);
constexpr int64_t flops_per_round = 12 * lanes * 2;
float burn(int64_t rounds);

}  // namespace sheaf::cpu::SHEAF_ISA
