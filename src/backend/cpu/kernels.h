// Kernels: the table of inner loops of one instruction set. Each is compiled once per set from the units in
// isa/; the operators reach them only through this table. Rows are contiguous f32 unless said otherwise. A
// kernel's result for a row never depends on other rows. Must not know tensors, threads or machines.
#pragma once

#include <cstdint>

#include "backend/cpu/packed_matrix.h"

namespace sheaf::cpu {

enum class UnaryKind : uint8_t { silu, sigmoid, exp, negate, gelu_tanh };
enum class BinaryKind : uint8_t { add, subtract, multiply };

/// One (sequence, kv head) of attention: where its keys and values lie.
struct KvView {
    const void* keys = nullptr;  // page 0, this kv head
    const void* values = nullptr;
    bool is_bf16 = false;
    const int32_t* blocks = nullptr;  // page of positions [i * block_size, ...)
    int64_t block_size = 0;
    int64_t position_stride = 0;  // elements from one position of a page to the next
    int64_t block_stride = 0;     // elements from page to page
    int64_t head_dim = 0;
};

/// Sixteen queries of one (sequence, kv head), transposed and scaled: [head_dim][16], with each one's last
/// visible position (-1: an unused lane).
struct QueryTile {
    const float* queries = nullptr;
    int32_t last[16] = {};
};

/// Unnormalized attention of a query tile over some keys: output [head_dim][16], maximum [16], sum [16].
struct AttentionPart {
    float* output = nullptr;
    float* maximum = nullptr;
    float* sum = nullptr;
};

/// One value head of the gated delta rule over a run of tokens. Query and key are normalized, the query also
/// scaled.
struct DeltaRun {
    const float *query = nullptr, *key = nullptr, *value = nullptr;  // of the first token
    const float *decay = nullptr, *beta = nullptr;                   // exp(g) and sigmoid(b)
    float* state = nullptr;  // [key_dim][value_dim], read and replaced
    float* output = nullptr;
    int64_t tokens = 0, key_dim = 0, value_dim = 0;
    int64_t key_stride = 0, value_stride = 0, gate_stride = 0, output_stride = 0;  // from token to token
};

struct Kernels {
    // --- numbers
    void (*bf16_to_f32)(const uint16_t* x, float* y, int64_t n);
    void (*f16_to_f32)(const uint16_t* x, float* y, int64_t n);
    void (*f32_to_bf16)(const float* x, uint16_t* y, int64_t n);

    // --- element by element
    void (*unary)(UnaryKind kind, const float* x, float* y, int64_t n);
    void (*binary)(BinaryKind kind, const float* x, const float* b, float* y, int64_t n);
    void (*binary_constant)(BinaryKind kind, const float* x, float b, float* y, int64_t n);
    void (*swiglu)(const float* gate, const float* up, float* y, int64_t n);
    void (*add_scaled)(float factor, const float* x, float* y, int64_t n);  // y = fma(factor, x, y)
    void (*multiply_sigmoid)(const float* x, const float* gate, float* y, int64_t n);
    void (*rsqrt)(const float* x, float epsilon, float* y, int64_t n);

    // --- one row
    float (*sum)(const float* x, int64_t n);
    /// x * rsqrt(mean(x^2) + epsilon) * (offset + weight)
    void (*rms_norm)(const float* x, const float* weight, float offset, float epsilon, float* y, int64_t n);
    /// x * rsqrt(sum(x^2) + epsilon)
    void (*l2_norm)(const float* x, float epsilon, float* y, int64_t n);
    void (*multiply_silu)(const float* x, const float* gate, float* y, int64_t n);
    void (*softmax)(const float* x, float* y, int64_t n, int64_t valid);
    /// First dimensions of one head: pairs (i, i + frequencies).
    void (*rotate)(const float* x, const float* cosine, const float* sine, int64_t frequencies, int64_t n,
                   float* y);
    /// y (columns) = row (inner) x matrix (inner, columns)
    void (*matmul_row)(const float* row, const float* matrix, int64_t stride, int64_t inner, int64_t columns,
                       float* y);

    // --- linear
    int64_t row_block;   // rows of a block of PackedRows in floats
    int64_t tile_batch;  // tiles that one row takes together
    /// The form in which `multiply` wants the rows for a weight.
    RowForm (*row_form)(const PackedMatrix& w);
    /// All rows by tiles [tile, tile + count): y [rows][count * 16], without bias.
    void (*multiply)(const PackedMatrix& w, const PackedRows& x, int64_t tile, int64_t count, float* y);
    void (*group_sums)(const float* x, int64_t n, int64_t group, float* sums);
    /// Writes rows (rows <= row_block) given by pointers as one block of PackedRows.
    void (*pack_block)(const float* const* rows, int64_t count, int64_t in, int64_t padded_in, float* block);
    /// Rounds inputs [begin, end) of `count` rows, whose values start at rows[r], into a block of PackedRows
    /// in bf16 of `height` rows; null where row_form is always floats.
    void (*pack_bf16)(const PackedMatrix& w, const float* const* rows, int64_t count, int64_t height,
                      int64_t begin, int64_t end, uint16_t* block);

    // --- sequences
    /// Keys [begin, end) for up to most_query_tiles tiles of one (sequence, kv head), a part each; scratch:
    /// attention_scratch(head_dim) floats. begin is a multiple of key_block.
    void (*attend)(const KvView& kv, const QueryTile* tiles, int64_t tile_count, int64_t begin, int64_t end,
                   float* scratch, const AttentionPart* results);
    /// Folds `part` into `total`.
    void (*merge_attention)(const AttentionPart& total, const AttentionPart& part, int64_t head_dim);
    /// Divides the output by the sum.
    void (*finish_attention)(const AttentionPart& total, int64_t head_dim);
    void (*delta_rule)(const DeltaRun& run);
    /// One strip of at most 16 channels: rows of x and y by stride, weight [channel][kernel], history
    /// [kernel - 1] rows by history_stride, read and replaced. Then SiLU.
    void (*causal_conv)(const float* x, int64_t x_stride, const float* weight, int64_t kernel, float* history,
                        int64_t history_stride, int64_t rows, int64_t channels, float* y, int64_t y_stride);

    // --- measuring
    /// Sums bytes [0, bytes) of 64-byte lines: a read of all of it.
    float (*read_all)(const void* data, int64_t bytes);
    /// `rounds` times `flops_per_round` multiplications and additions from registers, of the kind that matrix
    /// products use.
    int64_t flops_per_round;
    float (*burn)(int64_t rounds);
};

constexpr int64_t key_block = 64;  // the absolute grid of attention's softmax
constexpr int64_t most_query_tiles = 4;
constexpr int64_t attention_scratch(int64_t head_dim) {
    return key_block * (head_dim + 16) + most_query_tiles * key_block * 16;
}

namespace baseline {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
namespace amx {
/// The kernels of avx512, but matrix products of bf16 and int4 weights go through tiles (isa/amx). Emulated:
/// the same arithmetic, bit for bit, by plain instructions, for tests on processors without tiles.
const Kernels& kernels();
const Kernels& emulated_kernels();
}  // namespace amx

}  // namespace sheaf::cpu
