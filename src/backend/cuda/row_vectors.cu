// One thread per vector of 16 bytes; a table may lie in host memory, where wide reads count most.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix_view.cuh"
#include "backend/cuda/primitives.h"
#include "backend/cuda/row_vectors.h"
#include "backend/cuda/sequence/launch.cuh"

namespace sheaf::cuda {
namespace {

constexpr int64_t vector_bytes = 16;

bool in_vectors(const Tensor& x) {
    const auto size = static_cast<int64_t>(dtype_size(x.dtype()));
    return reinterpret_cast<uintptr_t>(x.raw()) % vector_bytes == 0 &&
           x.row_stride() * size % vector_bytes == 0 && x.size(0) > 0 &&
           x.elements() / x.size(0) * size % vector_bytes == 0;
}

/// Vectors from row to row.
int64_t vector_stride(const Tensor& x) {
    return x.row_stride() * static_cast<int64_t>(dtype_size(x.dtype())) / vector_bytes;
}

__global__ void __launch_bounds__(threads_per_block)
    copy_rows(const uint4* table, int64_t table_rows, int64_t table_stride, const int32_t* indices,
              uint4* result, int vectors) {
    allow_next_kernel();
    wait_for_previous_kernel();
    const int at = static_cast<int>(blockIdx.x) * threads_per_block + static_cast<int>(threadIdx.x);
    if (at >= vectors) return;
    const int64_t row = indices[blockIdx.y];
    const bool inside = row >= 0 && row < table_rows;
    result[static_cast<int64_t>(blockIdx.y) * vectors + at] =
        inside ? table[row * table_stride + at] : uint4{~0u, ~0u, ~0u, ~0u};
}

template <class T>
__device__ __forceinline__ void add_element(T& x, T y, float open) {
    x = from_float<T>(to_float(x) + to_float(y) * open);
}

/// Strides in vectors; `gates` has its own.
template <class T>
__global__ void __launch_bounds__(threads_per_block)
    add_gated_rows(const uint4* x, int64_t x_stride, const uint4* y, int64_t y_stride, const T* gate,
                   int64_t gate_stride, uint4* result, int vectors) {
    allow_next_kernel();
    wait_for_previous_kernel();
    const int at = static_cast<int>(blockIdx.x) * threads_per_block + static_cast<int>(threadIdx.x);
    if (at >= vectors) return;
    const int64_t row = blockIdx.y;
    const float open = sigmoid(to_float(gate[row * gate_stride]));
    uint4 a = x[row * x_stride + at];
    const uint4 b = y[row * y_stride + at];
    auto* left = reinterpret_cast<T*>(&a);
    const auto* right = reinterpret_cast<const T*>(&b);
#pragma unroll
    for (int i = 0; i < vector_bytes / static_cast<int>(sizeof(T)); ++i) add_element(left[i], right[i], open);
    result[row * vectors + at] = a;
}

/// Any shape, one thread per number.
template <class T>
__global__ void __launch_bounds__(threads_per_block)
    add_gated_elements(MatrixView<const T> x, MatrixView<const T> y, MatrixView<const T> gate,
                       MatrixView<T> result) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * threads_per_block + threadIdx.x;
    if (i >= x.rows * x.columns) return;
    const int64_t r = i / x.columns, c = i % x.columns;
    result.at(r, c) = x.at(r, c);
    add_element(result.at(r, c), y.at(r, c), sigmoid(to_float(gate.at(r, 0))));
}

constexpr int64_t most_grid_rows = 65535;

}  // namespace

bool gather_vectors(const Tensor& table, const Tensor& indices, const Tensor& result, cudaStream_t stream) {
    if (table.dtype() != result.dtype() || !in_vectors(table) || !in_vectors(result)) return false;
    const int64_t rows = result.size(0), vectors = vector_stride(result);
    if (rows > most_grid_rows) return false;
    const dim3 grid(blocks_for(vectors), static_cast<unsigned>(rows));
    check(launch_early(copy_rows, {grid, dim3(threads_per_block)}, stream,
                       static_cast<const uint4*>(table.raw()), table.size(0), vector_stride(table),
                       static_cast<const int32_t*>(indices.data<int32_t>()),
                       static_cast<uint4*>(result.raw()), static_cast<int>(vectors)),
          "gather_rows");
    return true;
}

void add_gated(const Tensor& x, const Tensor& y, const Tensor& gate, const Tensor& result,
               cudaStream_t stream) {
    SHEAF_CHECK(x.dtype() == result.dtype() && y.dtype() == x.dtype() && gate.dtype() == x.dtype());
    if (x.elements() == 0) return;
    const bool vectors = in_vectors(x) && in_vectors(y) && in_vectors(result) && x.size(0) <= most_grid_rows;
    with_float(x.dtype(), [&](auto type) {
        using T = decltype(type);
        if (!vectors) {
            add_gated_elements<T><<<blocks_for(x.elements()), threads_per_block, 0, stream>>>(
                MatrixView<const T>(x), MatrixView<const T>(y), MatrixView<const T>(gate),
                MatrixView<T>(result));
            return;
        }
        const int64_t count = vector_stride(result);
        const dim3 grid(blocks_for(count), static_cast<unsigned>(x.size(0)));
        check(launch_early(add_gated_rows<T>, {grid, dim3(threads_per_block)}, stream,
                           static_cast<const uint4*>(x.raw()), vector_stride(x),
                           static_cast<const uint4*>(y.raw()), vector_stride(y),
                           static_cast<const T*>(gate.raw()), gate.row_stride(),
                           static_cast<uint4*>(result.raw()), static_cast<int>(count)),
              "add_gated");
    });
    check_launch("add_gated");
}

}  // namespace sheaf::cuda
