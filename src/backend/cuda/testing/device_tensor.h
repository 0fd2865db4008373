// What the tests of the CUDA back end share: tensors in device memory that own it, filled from and read to
// the host, and comparisons. Tests and benches only.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "backend/cuda/cuda_error.h"
#include "base/counter_random.h"
#include "tensor/tensor.h"

namespace sheaf::cuda::testing {

/// A tensor of its own device memory; copies to and from it wait.
class DeviceTensor {
  public:
    DeviceTensor() = default;
    /// Poisoned: every byte is 0xff, a NaN in every float type and -1 as an integer.
    DeviceTensor(DType dtype, Shape shape) {
        const size_t bytes = std::max<size_t>(static_cast<size_t>(shape.elements()) * dtype_size(dtype), 1);
        void* data = nullptr;
        check(cudaMalloc(&data, bytes), "memory of a test");
        check(cudaMemset(data, 0xff, bytes), "poison");
        view_ = Tensor(data, dtype, shape);
    }
    /// `values` converted to `dtype` (f32 or bf16).
    DeviceTensor(DType dtype, Shape shape, const std::vector<float>& values) : DeviceTensor(dtype, shape) {
        SHEAF_CHECK(static_cast<int64_t>(values.size()) == shape.elements());
        const std::vector<bfloat16> narrow(values.begin(), values.end());
        SHEAF_CHECK(dtype == DType::f32 || dtype == DType::bf16);
        copy_in(dtype == DType::f32 ? static_cast<const void*>(values.data()) : narrow.data());
    }
    DeviceTensor(Shape shape, const std::vector<int32_t>& values) : DeviceTensor(DType::i32, shape) {
        SHEAF_CHECK(static_cast<int64_t>(values.size()) == shape.elements());
        copy_in(values.data());
    }
    DeviceTensor(DeviceTensor&& other) noexcept : view_(std::exchange(other.view_, Tensor{})) {}
    DeviceTensor& operator=(DeviceTensor&& other) noexcept {
        std::swap(view_, other.view_);
        return *this;
    }
    ~DeviceTensor() { cudaFree(view_.raw()); }

    const Tensor& view() const { return view_; }
    operator const Tensor&() const { return view_; }

    void copy_in(const void* host) {
        check(cudaMemcpy(view_.raw(), host, view_.bytes(), cudaMemcpyHostToDevice), "copy to the GPU");
    }
    /// All values as float (from f32 or bf16).
    std::vector<float> floats() const { return floats_of(view_); }
    std::vector<int32_t> integers() const {
        std::vector<int32_t> values(static_cast<size_t>(view_.elements()));
        copy_out(view_, values.data());
        return values;
    }

    /// The numbers of any contiguous device tensor; waits for the work before it.
    static std::vector<float> floats_of(const Tensor& x) {
        SHEAF_CHECK(x.contiguous());
        std::vector<float> values(static_cast<size_t>(x.elements()));
        if (x.dtype() == DType::f32) {
            copy_out(x, values.data());
            return values;
        }
        SHEAF_CHECK(x.dtype() == DType::bf16);
        std::vector<bfloat16> narrow(values.size());
        copy_out(x, narrow.data());
        for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(narrow[i]);
        return values;
    }

  private:
    static void copy_out(const Tensor& x, void* host) {
        check(cudaDeviceSynchronize(), "work before a copy");
        check(cudaMemcpy(host, x.raw(), x.bytes(), cudaMemcpyDeviceToHost), "copy from the GPU");
    }
    Tensor view_;
};

/// Uniform in (-scale, scale), a function of (key, index).
inline std::vector<float> random_floats(int64_t count, uint64_t key, double scale = 1.0) {
    std::vector<float> values(static_cast<size_t>(count));
    for (size_t i = 0; i < values.size(); ++i)
        values[i] = static_cast<float>(scale * (2.0 * counter_random_uniform(key, i) - 1.0));
    return values;
}

/// The values as bf16 keeps them.
inline std::vector<float> rounded_to_bf16(std::vector<float> values) {
    for (float& value : values) value = static_cast<float>(bfloat16(value));
    return values;
}

/// Root mean square of the difference over that of `wanted`; huge when anything is not a number.
template <class Wanted>
double relative_error(const std::vector<float>& got, const std::vector<Wanted>& wanted) {
    if (got.size() != wanted.size()) return 1e30;
    double difference = 0, size = 1e-300;
    for (size_t i = 0; i < got.size(); ++i) {
        const double error = static_cast<double>(got[i]) - static_cast<double>(wanted[i]);
        difference += error * error;
        size += static_cast<double>(wanted[i]) * static_cast<double>(wanted[i]);
    }
    const double ratio = std::sqrt(difference / size);
    return std::isnan(ratio) ? 1e30 : ratio;
}

}  // namespace sheaf::cuda::testing
