// From Tensor to the plain terms of kernels.h, with the checks that all functions of this folder make. Used
// by its .cpp files. Must not know kernels.
#pragma once

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/sequence/kernels.h"
#include "ops/ops.h"

namespace sheaf::cuda {

inline Element element_of(DType dtype) {
    SHEAF_CHECK(dtype == DType::bf16 || dtype == DType::f32, "activations are {}", dtype_name(dtype));
    return dtype == DType::bf16 ? Element::bf16 : Element::f32;
}

/// A matrix of (rows, columns) of the element type.
inline Rows rows_of(const Tensor& x, DType dtype, int64_t rows, int64_t columns) {
    SHEAF_CHECK(x.dtype() == dtype && x.rank() == 2 && x.size(0) == rows && x.size(1) == columns,
                "{} {}, wanted {} ({}, {})", dtype_name(x.dtype()), x.shape().to_string(), dtype_name(dtype),
                rows, columns);
    return {x.raw(), x.row_stride()};
}

/// A contiguous f32 vector or matrix.
inline const float* floats_of(const Tensor& x, int64_t elements) {
    SHEAF_CHECK(x.dtype() == DType::f32 && x.elements() == elements && x.contiguous(),
                "{} {}, wanted {} floats", dtype_name(x.dtype()), x.shape().to_string(), elements);
    return x.data<float>();
}

/// Whether rows start at 16 bytes and hold whole 16-byte vectors of 8 (bf16) or 2 x 4 (f32) elements.
inline bool fits_vectors(Element element, const Rows& x) {
    const int64_t bytes = element == Element::bf16 ? 2 : 4;
    return reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && x.stride * bytes % 16 == 0;
}

/// A property of the current GPU.
inline int32_t gpu(cudaDeviceAttr attribute) {
    int device = 0, value = 0;
    check(cudaGetDevice(&device), "current GPU");
    check(cudaDeviceGetAttribute(&value, attribute, device), "property of the GPU");
    return value;
}

/// Whether a block must do with 99 KiB of shared memory (consumer GPUs) instead of at least 200.
inline bool has_small_blocks() {
    return gpu(cudaDevAttrMaxSharedMemoryPerBlockOptin) < 210 * 1024;
}

inline Angles angles_of(const Tensor& positions, const Rotary& rotary, int64_t tokens) {
    const int64_t count = rotary.frequencies.size(0);
    SHEAF_CHECK(positions.dtype() == DType::i32 && positions.size(0) == 3 && positions.size(1) == tokens);
    SHEAF_CHECK(rotary.axes.dtype() == DType::i32 && rotary.axes.elements() == count);
    return {positions.data<int32_t>(),   positions.row_stride(),      floats_of(rotary.frequencies, count),
            rotary.axes.data<int32_t>(), static_cast<int32_t>(count), rotary.scale};
}

}  // namespace sheaf::cuda
