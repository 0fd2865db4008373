// Launchers of the primitives' kernels: plain, coalesced, any shape, f32, bf16 or (where said) f16 numbers.
// Used by CudaOps. Rows may be strided (Tensor::row_stride); results are contiguous tensors of the caller.
// Nothing here allocates or waits. Must not know the model.
#pragma once

#include <cuda_runtime_api.h>

#include "ops/ops.h"

namespace sheaf::cuda {

/// Between f32, bf16 and f16; or a copy of any one type.
void convert(const Tensor& x, const Tensor& result, cudaStream_t stream);
void unary(Unary function, const Tensor& x, const Tensor& result, cudaStream_t stream);
/// b: x's shape, one row or one column; the operands' and the result's types may differ.
void binary(Binary function, const Tensor& x, const Tensor& b, const Tensor& result, cudaStream_t stream);
/// x + y * sigmoid(gate), gate (rows, 1); all of one type.
void add_gated(const Tensor& x, const Tensor& y, const Tensor& gate, const Tensor& result,
               cudaStream_t stream);
void scale(const Tensor& x, float factor, const Tensor& result, cudaStream_t stream);
void rsqrt(const Tensor& x, float epsilon, const Tensor& result, cudaStream_t stream);
void transpose(const Tensor& x, const Tensor& result, cudaStream_t stream);
/// Copies x into columns [first, first + x.size(1)) of the result, converting.
void place_columns(const Tensor& x, const Tensor& result, int64_t first, cudaStream_t stream);
/// Rows of a table of any type; float types are converted to the result's. A row outside the table becomes
/// NaN, or -1 in integers: a fault must not look like an answer.
void gather_rows(const Tensor& table, const Tensor& indices, const Tensor& result, cudaStream_t stream);
/// Rows outside the destination are dropped.
void scatter_rows(const Tensor& destination, const Tensor& indices, const Tensor& rows, cudaStream_t stream);

/// Sums in fp32: (rows, 1) f32.
void sum_columns(const Tensor& x, const Tensor& result, cudaStream_t stream);
/// valid: i32 (rows) or undefined. Result f32.
void softmax(const Tensor& x, const Tensor& valid, const Tensor& result, cudaStream_t stream);
/// probabilities f32; ids i32 and weights f32 (rows, k), largest first, ties to the lower index.
void top_k(const Tensor& probabilities, const Tensor& ids, const Tensor& weights, cudaStream_t stream);
/// (m, k) x (k, n), f32 or bf16 operands, f32 result.
void matmul(const Tensor& a, const Tensor& b, const Tensor& result, cudaStream_t stream);
/// positions i32 (3, tokens); cosine and sine f32 (tokens, frequencies).
void rotary_angles(const Tensor& positions, const Rotary& rotary, const Tensor& cosine, const Tensor& sine,
                   cudaStream_t stream);

}  // namespace sheaf::cuda
