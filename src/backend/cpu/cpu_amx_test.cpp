// The arithmetic of amx, held bit for bit against a scalar definition: as the processor's tiles do it where
// there are any, and as emulated wherever AVX-512 is.
#include "backend/cpu/testing.h"

namespace sheaf::cpu {
namespace {

using namespace testing;

float flushed(float x) {
    return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x;
}

float fma_flushed(float a, float b, float c) {
    return flushed(std::fma(flushed(a), flushed(b), flushed(c)));
}

float add_flushed(float a, float b) {
    return flushed(flushed(a) + flushed(b));
}

float rounded(float x) {
    return static_cast<float>(bfloat16(x));
}

/// Inputs [begin, end) of one group: k-blocks of 32, of each the even and the odd inputs in a chain of their
/// own.
template <class Weight>
float group_product(const float* x, int64_t begin, int64_t end, const Weight& weight) {
    float sum = 0;
    for (int64_t block = begin; block < end; block += 32) {
        float even = 0, odd = 0;
        for (int64_t k = block; k < std::min(end, block + 32); k += 2) {
            even = fma_flushed(rounded(x[k]), weight(k), even);
            if (k + 1 < end) odd = fma_flushed(rounded(x[k + 1]), weight(k + 1), odd);
        }
        sum = add_flushed(sum, add_flushed(even, odd));
    }
    return sum;
}

float scale_at(const Tensor& scales, int64_t g, int64_t n) {
    const int64_t i = g * scales.row_stride() + n;
    if (scales.dtype() == DType::f32) return scales.data<float>()[i];
    if (scales.dtype() == DType::bf16) return static_cast<float>(scales.data<bfloat16>()[i]);
    return static_cast<float>(scales.data<float16>()[i]);
}

/// What amx must give for bf16 and int4 weights; inputs in the weight's own order.
std::vector<float> defined_product(const Tensor& x, const HostLinear& linear) {
    std::vector<float> y;
    const auto* int4 = std::get_if<Int4Weight>(&linear.weight);
    for (int64_t r = 0; r < x.size(0); ++r) {
        std::vector<float> row(x.row<float>(r), x.row<float>(r) + linear.in);
        if (int4 && int4->input_order.defined())
            for (int64_t k = 0; k < linear.in; ++k)
                row[static_cast<size_t>(k)] = x.row<float>(r)[int4->input_order.view.data<int32_t>()[k]];
        for (int64_t n = 0; n < linear.out; ++n) {
            float total = 0;
            if (!int4) {
                const Tensor& values = std::get<DenseWeight>(linear.weight).values.view;
                total = group_product(row.data(), 0, linear.in, [&](int64_t k) {
                    return values.dtype() == DType::bf16 ? static_cast<float>(values.row<bfloat16>(n)[k])
                                                         : rounded(values.row<float>(n)[k]);
                });
            } else {
                for (int64_t g = 0; g * int4->group_size < linear.in; ++g) {
                    const int zero = int4->zeros.defined() ? int4->zeros.view.row<uint8_t>(g)[n] : 8;
                    const int64_t begin = g * int4->group_size;
                    const float part = group_product(
                        row.data(), begin, std::min(linear.in, begin + int4->group_size), [&](int64_t k) {
                            const auto word = static_cast<uint32_t>(int4->codes.view.row<int32_t>(k / 8)[n]);
                            return static_cast<float>(static_cast<int>(word >> (k % 8 * 4) & 15u) - zero);
                        });
                    total = fma_flushed(scale_at(int4->scales.view, g, n), part, total);
                }
            }
            y.push_back(linear.bias.defined() ? total + linear.bias.view.data<float>()[n] : total);
        }
    }
    return y;
}

class CpuAmxTest : public ::testing::TestWithParam<Isa> {
  protected:
    std::vector<float> product(const Tensor& x, const HostLinear& weight, int threads = 2) const {
        const auto cpu = make_cpu_machine(ComputeType::bf16, threads, GetParam());
        const auto ops = cpu->make_ops();
        return floats_of(ops->linear(x, cpu->prepare(weight)));
    }
};

std::vector<Isa> amx_isas() {
    std::vector<Isa> isas;
    for (const Isa isa : tested_isas())
        if (isa == Isa::amx || isa == Isa::amx_emulated) isas.push_back(isa);
    return isas;
}

struct Case {
    std::string name;
    HostLinear weight;
};

std::vector<Case> cases() {
    HostLinear biased = int4_linear(70, 96, 140);
    biased.bias = random_tensor(DType::f32, Shape{70}, 141);
    return {
        {"bf16", dense_linear(80, 512, DType::bf16, 1)},
        {"bf16 long", dense_linear(33, 1600, DType::bf16, 2)},
        {"bf16 ragged", dense_linear(130, 301, DType::bf16, 3)},
        {"bf16 short", dense_linear(7, 6, DType::bf16, 4)},
        {"f32", dense_linear(40, 70, DType::f32, 5)},
        {"int4", int4_linear(100, 512, 10)},
        {"int4 one tile", int4_linear(16, 256, 15, {.group = 64, .scales = DType::bf16})},
        {"int4 ragged", int4_linear(45, 192, 30, {.scales = DType::f32})},
        {"int4 one group", int4_linear(50, 1064, 40, {.group = 1064})},
        {"int4 small groups", int4_linear(33, 264, 50, {.group = 8})},
        {"int4 groups of 48", int4_linear(66, 240, 55, {.group = 48, .zeros = Int4Options::random})},
        {"int4 zeros", int4_linear(77, 384, 60, {.group = 32, .zeros = Int4Options::random})},
        {"int4 order and zeros", int4_linear(150, 264, 90, {.zeros = Int4Options::random, .shuffled = true})},
        {"int4 bias", biased},
    };
}

TEST_P(CpuAmxTest, ProductsEqualTheDefinitionBitForBit) {
    for (const auto& [name, weight] : cases())
        for (const int64_t rows : {1, 2, 3, 15, 16, 17, 32, 35, 70, 205}) {
            const HostTensor x = random_tensor(DType::f32, Shape{rows, weight.in}, 7, 3.0);
            EXPECT_TRUE(same_bits(product(x.view, weight), defined_product(x.view, weight)))
                << name << ", " << rows;
        }
}

/// Against the product of activations that nobody rounded.
TEST_P(CpuAmxTest, RoundingActivationsErrsLittle) {
    for (const HostLinear& weight : {dense_linear(256, 512, DType::bf16, 1), int4_linear(256, 512, 2)}) {
        const HostTensor x = random_tensor(DType::f32, Shape{64, 512}, 3);
        const auto cpu = make_cpu_machine(ComputeType::bf16, 2, GetParam());
        const auto ops = cpu->make_ops();
        const double error =
            relative_error(ops->linear(x.view, cpu->prepare(weight)), exact_product(x.view, weight));
        EXPECT_LT(error, 2e-3);  // a number errs by 2^-9 at most
        EXPECT_GT(error, 1e-4);  // and all of this would be in vain if it did not
    }
}

/// Numbers of all sizes, denormal ones too: products that vanish, sums that cancel.
TEST_P(CpuAmxTest, DenormalNumbersAreZeros) {
    for (const double scale : {1e-38, 1e-30, 1e-19, 1e-18}) {
        HostLinear weight = dense_linear(48, 256, DType::bf16, 1);
        weight.weight = DenseWeight{random_tensor(DType::bf16, Shape{48, 256}, 9, scale)};
        for (const int64_t rows : {1, 20}) {
            HostTensor x = random_tensor(DType::f32, Shape{rows, 256}, 11);
            for (int64_t i = 0; i < rows * 256; ++i)
                x.view.data<float>()[i] =
                    std::ldexp(x.view.data<float>()[i],
                               -static_cast<int>(counter_random_bits(13, static_cast<uint64_t>(i)) % 100));
            EXPECT_TRUE(same_bits(product(x.view, weight), defined_product(x.view, weight))) << scale;
            const HostLinear int4 = int4_linear(48, 256, 5, {.scales = DType::f32});
            for (int64_t i = 0; i < rows * 256; ++i)
                x.view.data<float>()[i] *= static_cast<float>(scale) * 1e-2f;
            EXPECT_TRUE(same_bits(product(x.view, int4), defined_product(x.view, int4))) << scale;
        }
    }
}

/// Numbers far apart show the order of the sums.
TEST_P(CpuAmxTest, NumbersOfAllSizes) {
    const HostLinear weight = dense_linear(64, 640, DType::bf16, 21);
    for (const int64_t rows : {1, 16, 40}) {
        HostTensor x = random_tensor(DType::f32, Shape{rows, 640}, 22);
        for (int64_t i = 0; i < rows * 640; ++i)
            x.view.data<float>()[i] =
                std::ldexp(x.view.data<float>()[i],
                           static_cast<int>(counter_random_bits(23, static_cast<uint64_t>(i)) % 40));
        EXPECT_TRUE(same_bits(product(x.view, weight), defined_product(x.view, weight))) << rows;
    }
}

TEST_P(CpuAmxTest, InfinitiesAndNotANumberComeThrough) {
    const HostLinear weight = dense_linear(20, 64, DType::bf16, 21);
    for (const int64_t rows : {1, 5}) {
        HostTensor x = random_tensor(DType::f32, Shape{rows, 64}, 22);
        x.view.row<float>(rows - 1)[3] = std::numeric_limits<float>::infinity();
        for (const float y : product(x.view.rows(rows - 1, rows), weight)) EXPECT_TRUE(std::isinf(y));
        const auto all = product(x.view, weight);
        for (size_t i = all.size() - 20; i < all.size(); ++i) EXPECT_TRUE(std::isinf(all[i]));
        for (size_t i = 0; i < all.size() - 20; ++i) EXPECT_TRUE(std::isfinite(all[i]));
        x.view.row<float>(rows - 1)[5] = std::numeric_limits<float>::quiet_NaN();
        for (const float y : product(x.view.rows(rows - 1, rows), weight)) EXPECT_TRUE(std::isnan(y));
    }
}

/// fp8 and odd int4 groups stay with the kernels of AVX-512; float32 does altogether.
TEST_P(CpuAmxTest, WhatHasNoTilesHasTheBitsOfAvx512) {
    auto results = [&](ComputeType compute, Isa isa, const HostLinear& weight) {
        const auto cpu = make_cpu_machine(compute, 2, isa);
        const auto ops = cpu->make_ops();
        const HostTensor x = random_tensor(DType::f32, Shape{19, weight.in}, 3);
        return floats_of(ops->linear(x.view, cpu->prepare(weight)));
    };
    for (const HostLinear& weight : {fp8_linear(200, 300, 100), int4_linear(24, 48, 95, {.group = 12})})
        EXPECT_TRUE(same_bits(results(ComputeType::bf16, GetParam(), weight),
                              results(ComputeType::bf16, Isa::avx512, weight)));
    for (const auto& [name, weight] : cases())
        EXPECT_TRUE(same_bits(results(ComputeType::f32, GetParam(), weight),
                              results(ComputeType::f32, Isa::avx512, weight)))
            << name;
}

/// The router keeps f32 activations.
TEST_P(CpuAmxTest, RoutingHasTheBitsOfAvx512) {
    const HostTensor x = random_tensor(DType::f32, Shape{20, 64}, 6);
    std::vector<std::vector<float>> weights;
    for (const Isa isa : {GetParam(), Isa::avx512}) {
        const auto cpu = make_cpu_machine(ComputeType::bf16, 2, isa);
        const auto ops = cpu->make_ops();
        weights.push_back(
            floats_of(ops->route(x.view, cpu->prepare(dense_linear(13, 64, DType::bf16, 5)), 4).weights));
    }
    EXPECT_TRUE(same_bits(weights[0], weights[1]));
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CpuAmxTest);
INSTANTIATE_TEST_SUITE_P(Isas, CpuAmxTest, ::testing::ValuesIn(amx_isas()), name_of);

TEST(CpuAmx, TheEmulationIsNeverChosen) {
    for (const Isa isa : available_isas()) EXPECT_NE(isa, Isa::amx_emulated);
}

}  // namespace
}  // namespace sheaf::cpu
