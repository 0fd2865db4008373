// What the tests of the matrix kernels share: weights prepared on the device, and products in double
// precision. Tests and benches only.
#pragma once

#include "backend/cpu/testing.h"
#include "backend/cuda/matrix/matrix.h"
#include "backend/cuda/matrix/prepare.h"
#include "backend/cuda/testing/device_tensor.h"

namespace sheaf::cuda::testing {

inline Buffer allocate(size_t bytes) {
    void* data = nullptr;
    check(cudaMalloc(&data, std::max<size_t>(bytes, 1)), "memory of a test");
    check(cudaMemset(data, 0xff, bytes), "poison");
    check(cudaDeviceSynchronize(), "poison");
    return Buffer(data, bytes, [](void* p) { cudaFree(p); });
}

inline Tensor scratch_of(const Buffer& buffer) {
    return buffer.bytes() ? buffer.tensor(DType::u8, Shape{static_cast<int64_t>(buffer.bytes())}) : Tensor{};
}

inline Stager& stager() {
    static Stager instance(3, size_t{1} << 20);  // small: larger weights go through it in parts
    return instance;
}

/// W in double precision, as bf16 keeps it where `rounded`.
inline std::vector<double> exact_weight(const HostLinear& linear, bool rounded = false) {
    const HostTensor w = dequantize(linear);
    std::vector<double> values(static_cast<size_t>(linear.out * linear.in));
    for (size_t i = 0; i < values.size(); ++i) {
        const float value = w.view.data<float>()[i];
        values[i] = static_cast<double>(rounded ? static_cast<float>(bfloat16(value)) : value);
    }
    return values;
}

/// x (rows, in) times W (out, in) transposed.
template <class X>
std::vector<double> exact_product(const std::vector<X>& x, const std::vector<double>& w, int64_t in) {
    const size_t k = static_cast<size_t>(in), rows = x.size() / k, out = w.size() / k;
    std::vector<double> y(rows * out);
    for (size_t r = 0; r < rows; ++r)
        for (size_t n = 0; n < out; ++n) {
            double sum = 0;
            for (size_t i = 0; i < k; ++i) sum += static_cast<double>(x[r * k + i]) * w[n * k + i];
            y[r * out + n] = sum;
        }
    return y;
}

inline const std::vector<int64_t>& token_counts() {
    static const std::vector<int64_t> counts{1, 2, 3, 7, 8, 9, 16, 33, 64, 127, 128, 129, 1000};
    return counts;
}

}  // namespace sheaf::cuda::testing
