// A Tensor as kernels take it, and the choice of a template by dtype. Included by .cu files of the CUDA back
// end alone. Must not know what is computed.
#pragma once

#include <cstdint>

#include "backend/cuda/device_math.cuh"
#include "tensor/tensor.h"

namespace sheaf::cuda {

/// A matrix; dimensions after the first are one.
template <class T>
struct MatrixView {
    T* data = nullptr;
    int64_t rows = 0, columns = 0, stride = 0;

    MatrixView() = default;
    explicit MatrixView(const Tensor& x)
        : data(static_cast<T*>(x.raw())),
          rows(x.rank() == 0 ? 1 : x.size(0)),
          columns(rows == 0 ? 0 : x.elements() / rows),
          stride(x.row_stride()) {}
    __device__ T& at(int64_t row, int64_t column) const { return data[row * stride + column]; }
};

/// Calls f(T{}) with the C++ type of a float dtype.
template <class F>
void with_float(DType dtype, const F& f) {
    switch (dtype) {
        case DType::f32:
            return f(float{});
        case DType::bf16:
            return f(__nv_bfloat16{});
        case DType::f16:
            return f(__half{});
        default:
            SHEAF_CHECK(false, "{} is no float type of the GPU's kernels", dtype_name(dtype));
    }
}

constexpr int threads_per_block = 256;

inline unsigned blocks_for(int64_t elements, int64_t per_block = threads_per_block) {
    return static_cast<unsigned>((elements + per_block - 1) / per_block);
}

}  // namespace sheaf::cuda
