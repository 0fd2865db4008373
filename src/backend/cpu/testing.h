// What the tests of the CPU back end share: random tensors and weights, machines of every instruction set,
// and comparisons. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "backend/cpu/cpu_machine.h"
#include "base/counter_random.h"
#include "ops/ops.h"
#include "tensor/host_tensor.h"

namespace sheaf::cpu::testing {

inline double uniform(uint64_t key, int64_t i) {
    return 2.0 * counter_random_uniform(key, static_cast<uint64_t>(i)) - 1.0;
}

/// Uniform in (-scale, scale).
inline HostTensor random_tensor(DType dtype, Shape shape, uint64_t key, double scale = 1.0) {
    HostTensor result(dtype, shape);
    for (int64_t i = 0; i < shape.elements(); ++i) {
        const auto value = static_cast<float>(scale * uniform(key, i));
        if (dtype == DType::f32) result.view.data<float>()[i] = value;
        if (dtype == DType::bf16) result.view.data<bfloat16>()[i] = bfloat16(value);
        if (dtype == DType::f16) result.view.data<float16>()[i] = float16(value);
    }
    return result;
}

inline HostTensor integers(const std::vector<int32_t>& values) {
    HostTensor result(DType::i32, Shape{static_cast<int64_t>(values.size())});
    std::memcpy(result.view.raw(), values.data(), values.size() * sizeof(int32_t));
    return result;
}

inline HostLinear dense_linear(int64_t out, int64_t in, DType dtype, uint64_t key) {
    return {out, in, DenseWeight{random_tensor(dtype, Shape{out, in}, key, 0.5)}, {}};
}

struct Int4Options {
    int64_t group = 128;
    DType scales = DType::f16;
    enum { none, eight, random } zeros = none;
    bool shuffled = false;  // a random input order
};

inline HostLinear int4_linear(int64_t out, int64_t in, uint64_t key, Int4Options options = {}) {
    Int4Weight weight;
    const int64_t groups = (in + options.group - 1) / options.group;
    weight.codes = HostTensor(DType::i32, Shape{in / 8, out});
    for (int64_t i = 0; i < weight.codes.view.elements(); ++i)
        weight.codes.view.data<int32_t>()[i] =
            static_cast<int32_t>(counter_random_bits(key, static_cast<uint64_t>(i)));
    weight.scales = random_tensor(options.scales, Shape{groups, out}, key + 1, 0.1);
    weight.group_size = options.group;
    if (options.zeros != Int4Options::none) {
        weight.zeros = HostTensor(DType::u8, Shape{groups, out});
        for (int64_t i = 0; i < groups * out; ++i)
            weight.zeros.view.data<uint8_t>()[i] =
                options.zeros == Int4Options::eight
                    ? 8
                    : static_cast<uint8_t>(counter_random_bits(key + 2, static_cast<uint64_t>(i)) % 16);
    }
    if (options.shuffled) {
        std::vector<int32_t> order(static_cast<size_t>(in));
        for (int64_t i = 0; i < in; ++i) order[static_cast<size_t>(i)] = static_cast<int32_t>(i);
        for (int64_t i = in - 1; i > 0; --i)
            std::swap(
                order[static_cast<size_t>(i)],
                order[counter_random_bits(key + 3, static_cast<uint64_t>(i)) % static_cast<uint64_t>(i + 1)]);
        weight.input_order = integers(order);
    }
    return {out, in, weight, {}};
}

inline HostLinear fp8_linear(int64_t out, int64_t in, uint64_t key, int64_t block = 128) {
    Fp8Weight weight;
    weight.values = HostTensor(DType::f8_e4m3, Shape{out, in});
    auto* bytes = static_cast<uint8_t*>(weight.values.view.raw());
    for (int64_t i = 0; i < out * in; ++i) {
        bytes[i] = static_cast<uint8_t>(counter_random_bits(key, static_cast<uint64_t>(i)));
        if ((bytes[i] & 0x7fu) == 0x7fu) bytes[i] ^= 0x7eu;  // no NaN
    }
    weight.scales =
        random_tensor(DType::f32, Shape{(out + block - 1) / block, (in + block - 1) / block}, key + 1, 0.01);
    weight.block_rows = weight.block_columns = block;
    return {out, in, weight, {}};
}

/// x W^T + bias in double precision.
inline std::vector<double> exact_product(const Tensor& x, const HostLinear& linear) {
    const HostTensor w = dequantize(linear);
    std::vector<double> y;
    for (int64_t r = 0; r < x.size(0); ++r)
        for (int64_t n = 0; n < linear.out; ++n) {
            double sum = 0;
            for (int64_t k = 0; k < linear.in; ++k)
                sum += static_cast<double>(x.row<float>(r)[k]) * static_cast<double>(w.view.row<float>(n)[k]);
            if (linear.bias.defined()) sum += static_cast<double>(linear.bias.view.data<float>()[n]);
            y.push_back(sum);
        }
    return y;
}

/// Root mean square of the difference over that of `wanted`.
inline double relative_error(const Tensor& got, const std::vector<double>& wanted) {
    EXPECT_EQ(static_cast<size_t>(got.elements()), wanted.size());
    double difference = 0, size = 1e-300;
    const int64_t columns = got.elements() / std::max<int64_t>(1, got.size(0));
    for (int64_t r = 0; r < got.size(0); ++r)
        for (int64_t c = 0; c < columns; ++c) {
            const double want = wanted[static_cast<size_t>(r * columns + c)];
            const double error = static_cast<double>(got.row<float>(r)[c]) - want;
            difference += error * error;
            size += want * want;
        }
    const double ratio = std::sqrt(difference / size);
    return std::isnan(ratio) ? 1e30 : ratio;
}

inline std::vector<double> as_doubles(const Tensor& x) {
    std::vector<double> values;
    const int64_t columns = x.elements() / std::max<int64_t>(1, x.size(0));
    for (int64_t r = 0; r < x.size(0); ++r)
        for (int64_t c = 0; c < columns; ++c) values.push_back(static_cast<double>(x.row<float>(r)[c]));
    return values;
}

inline std::vector<float> floats_of(const Tensor& x) {
    std::vector<float> values;
    const int64_t columns = x.elements() / std::max<int64_t>(1, x.size(0));
    for (int64_t r = 0; r < x.size(0); ++r)
        values.insert(values.end(), x.row<float>(r), x.row<float>(r) + columns);
    return values;
}

inline ::testing::AssertionResult same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    if (a.size() != b.size())
        return ::testing::AssertionFailure() << a.size() << " and " << b.size() << " numbers";
    for (size_t i = 0; i < a.size(); ++i)
        if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0)
            return ::testing::AssertionFailure() << "at " << i << ": " << a[i] << " and " << b[i];
    return ::testing::AssertionSuccess();
}

/// The sets of this processor, and amx's arithmetic where it can be emulated.
inline std::vector<Isa> tested_isas() {
    std::vector<Isa> isas = available_isas();
    if (std::find(isas.begin(), isas.end(), Isa::avx512) != isas.end()) isas.push_back(Isa::amx_emulated);
    return isas;
}

/// A fixture run once per instruction set of this processor.
class EveryIsa : public ::testing::TestWithParam<Isa> {
  protected:
    bool rounds_activations() const { return GetParam() == Isa::amx || GetParam() == Isa::amx_emulated; }

    /// Computes in f32, but amx in bf16, where it has products of its own.
    std::unique_ptr<Machine> machine(int threads = 2) const {
        return machine(threads, rounds_activations() ? ComputeType::bf16 : ComputeType::f32);
    }
    std::unique_ptr<Machine> machine(int threads, ComputeType compute) const {
        return make_cpu_machine(compute, threads, GetParam());
    }

    /// Random activations in (-1, 1) that no unit has to round, so that all of them are held to the same
    /// error.
    HostTensor activations(Shape shape, uint64_t key) const {
        HostTensor x = random_tensor(DType::f32, shape, key);
        if (rounds_activations())
            for (int64_t i = 0; i < shape.elements(); ++i)
                x.view.data<float>()[i] = static_cast<float>(bfloat16(x.view.data<float>()[i]));
        return x;
    }
};

inline std::string name_of(const ::testing::TestParamInfo<Isa>& test) {
    return std::string(isa_name(test.param));
}
#define SHEAF_FOR_EVERY_ISA(fixture) \
    INSTANTIATE_TEST_SUITE_P(Isas, fixture, ::testing::ValuesIn(tested_isas()), name_of)

/// The fused sets: results must agree bit for bit.
inline std::vector<Isa> fused_isas() {
    std::vector<Isa> isas;
    for (const Isa isa : available_isas())
        if (isa != Isa::baseline) isas.push_back(isa);
    return isas;
}

}  // namespace sheaf::cpu::testing
