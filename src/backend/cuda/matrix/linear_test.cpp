#include <gtest/gtest.h>

#include "backend/cuda/matrix/dispatch.h"
#include "backend/cuda/matrix/plain.h"
#include "backend/cuda/matrix/testing.h"

namespace sheaf::cuda {
namespace {

using namespace testing;
using cpu::testing::dense_linear;
using cpu::testing::fp8_linear;
using cpu::testing::int4_linear;
using cpu::testing::Int4Options;

struct Case {
    std::string name;
    HostLinear weight;
    bool rounded = false;  // kept in bf16 where the machine computes in it
};

std::vector<Case> cases() {
    std::vector<Case> all;
    all.push_back({"f32", dense_linear(37, 301, DType::f32, 1), true});
    all.push_back({"f16", dense_linear(40, 64, DType::f16, 2), true});
    all.push_back({"bf16 odd", dense_linear(333, 257, DType::bf16, 3)});
    all.push_back({"bf16", dense_linear(80, 512, DType::bf16, 4)});
    all.push_back({"bf16 one output", dense_linear(1, 640, DType::bf16, 5)});
    all.push_back({"int4 f16", int4_linear(100, 512, 10)});
    all.push_back({"int4 bf16", int4_linear(160, 256, 20, {.scales = DType::bf16})});
    all.push_back({"int4 f32 ragged", int4_linear(45, 192, 30, {.scales = DType::f32})});
    all.push_back({"int4 one group", int4_linear(31, 328, 40, {.group = 328})});
    all.push_back({"int4 long group", int4_linear(31, 72, 45, {.group = 128})});
    all.push_back({"int4 groups of 64", int4_linear(48, 320, 46, {.group = 64})});
    all.push_back({"int4 groups of 32", int4_linear(333, 384, 47, {.group = 32})});
    all.push_back({"int4 groups of 256", int4_linear(64, 1024, 48, {.group = 256})});
    all.push_back({"int4 zeros", int4_linear(77, 384, 60, {.group = 32, .zeros = Int4Options::random})});
    all.push_back({"int4 zeros 128", int4_linear(64, 512, 61, {.zeros = Int4Options::random})});
    all.push_back({"int4 zeros of eight", int4_linear(77, 384, 70, {.zeros = Int4Options::eight})});
    all.push_back({"int4 small groups", int4_linear(33, 264, 50, {.group = 8}), true});
    all.push_back(
        {"int4 odd groups", int4_linear(24, 48, 95, {.group = 12, .zeros = Int4Options::random}), true});
    all.push_back({"int4 order", int4_linear(48, 256, 80, {.group = 64, .shuffled = true}), true});
    all.push_back({"fp8", fp8_linear(200, 300, 100), true});
    all.push_back({"fp8 odd blocks", fp8_linear(40, 99, 120, 33), true});
    all.push_back({"int4 many inputs", int4_linear(32, 9216, 150)});
    all.push_back({"int4 wide", int4_linear(400, 2048, 151)});
    HostLinear biased = dense_linear(70, 96, DType::bf16, 130);
    biased.bias = cpu::testing::random_tensor(DType::f32, Shape{70}, 131);
    all.push_back({"bf16 bias", biased});
    HostLinear int4_biased = int4_linear(70, 96, 140);
    int4_biased.bias = cpu::testing::random_tensor(DType::bf16, Shape{70}, 141);
    all.push_back({"int4 bias", int4_biased});
    return all;
}

void add_bias(std::vector<double>& y, const HostLinear& linear) {
    if (!linear.bias.defined()) return;
    const Tensor& bias = linear.bias.view;
    for (size_t i = 0; i < y.size(); ++i) {
        const auto n = static_cast<int64_t>(i) % linear.out;
        y[i] +=
            static_cast<double>(bias.dtype() == DType::f32 ? bias.data<float>()[n]
                                                           : static_cast<float>(bias.data<bfloat16>()[n]));
    }
}

std::vector<float> run(const Tensor& x, const CudaLinear& weight, DType out) {
    const DeviceTensor y(out, Shape{x.size(0), weight.out});
    const Buffer scratch = allocate(linear_scratch_bytes(weight, x.size(0)));
    linear(x, weight, y, scratch_of(scratch), nullptr);
    return y.floats();
}

void check_case(const Case& one, ComputeType compute) {
    const bool narrow = compute == ComputeType::bf16;
    const auto weight = prepare_linear(one.weight, compute, stager(), allocate);
    const int64_t in = one.weight.in, out = one.weight.out, most = out * in > 500000 ? 129 : 1000;
    auto values = random_floats(most * in, 7);
    if (narrow) values = rounded_to_bf16(values);
    auto wanted = exact_product(values, exact_weight(one.weight, one.rounded && narrow), in);
    add_bias(wanted, one.weight);
    const DeviceTensor x(narrow ? DType::bf16 : DType::f32, Shape{most, in}, values);
    for (const int64_t tokens : token_counts()) {
        if (tokens > most) continue;
        const std::vector<double> rows(wanted.begin(), wanted.begin() + tokens * out);
        const Tensor part = x.view().rows(0, tokens);
        EXPECT_LT(relative_error(run(part, *weight, DType::f32), rows), narrow ? 2e-5 : 2e-6)
            << one.name << ", " << tokens;
        if (narrow) {
            EXPECT_LT(relative_error(run(part, *weight, DType::bf16), rows), 2.5e-3)
                << one.name << ", " << tokens;
        }
    }
}

TEST(CudaLinear, EveryFormatEqualsItsDefinitionInBf16) {
    for (const Case& one : cases()) check_case(one, ComputeType::bf16);
}

TEST(CudaLinear, EveryPathEqualsTheDefinition) {
    for (const LinearPath path :
         {LinearPath::plain, LinearPath::stream, LinearPath::tiles, LinearPath::library}) {
        SCOPED_TRACE(static_cast<int>(path));
        force_paths({path, {}, {}});
        for (const Case& one : cases()) check_case(one, ComputeType::bf16);
    }
    force_paths({});
}

TEST(CudaLinear, EveryFillEqualsTheDefinition) {
    for (const Fill fill : {Fill::bulk, Fill::lanes}) {
        SCOPED_TRACE(static_cast<int>(fill));
        force_paths({LinearPath::stream, {}, fill});
        for (const Case& one : cases()) check_case(one, ComputeType::bf16);
    }
    force_paths({});
}

TEST(CudaLinear, TilesOfMmaEqualTheDefinition) {
    force_paths({LinearPath::tiles, {}, {}, TileEngine::mma});
    for (const Case& one : cases()) check_case(one, ComputeType::bf16);
    force_paths({});
}

TEST(CudaLinear, EveryFormatEqualsItsDefinitionInF32) {
    for (const Case& one : cases()) check_case(one, ComputeType::f32);
}

TEST(CudaLinear, StridedRowsAreRead) {
    const HostLinear host = int4_linear(40, 256, 5);
    const auto weight = prepare_linear(host, ComputeType::bf16, stager(), allocate);
    const auto values = rounded_to_bf16(random_floats(129 * 700, 3));
    const DeviceTensor wide(DType::bf16, Shape{129, 700}, values);
    for (const int64_t offset : {13, 16, 64})
        for (const int64_t tokens : {1, 9, 64, 129}) {
            std::vector<float> copy;
            for (int64_t r = 0; r < tokens; ++r)
                copy.insert(copy.end(), values.begin() + r * 700 + offset,
                            values.begin() + r * 700 + offset + 256);
            const Tensor x = wide.view().rows(0, tokens).columns(offset, offset + 256);
            EXPECT_LT(
                relative_error(run(x, *weight, DType::f32), exact_product(copy, exact_weight(host), 256)),
                2e-5)
                << offset << ", " << tokens;
        }
}

/// Real sizes, against the plain kernel.
TEST(CudaLinear, LargeShapesEqualThePlainKernel) {
    struct Size {
        int64_t out, in, group;
    };
    for (const auto& [out, in, group] : {Size{12288, 4096, 128}, Size{4096, 8192, 128}, Size{2048, 512, 128},
                                         Size{64, 4096, 128}, Size{3072, 2048, 64}, Size{5008, 4096, 0}}) {
        const auto weight = random_linear(out, in, group, 77, allocate, nullptr);
        const int64_t most = 1000;
        const DeviceTensor x(DType::bf16, Shape{most, in}, random_floats(most * in, 8));
        const DeviceTensor wanted(DType::f32, Shape{most, out});
        launch_plain_linear(x, weight->matrix(), wanted, nullptr);
        for (const int64_t tokens : token_counts())
            for (const auto& engine : {std::optional<TileEngine>{}, std::optional(TileEngine::mma)}) {
                force_paths({{}, {}, {}, engine});
                const auto rows = DeviceTensor::floats_of(wanted.view().rows(0, tokens));
                const auto got = run(x.view().rows(0, tokens), *weight, DType::f32);
                EXPECT_LT(relative_error(got, rows), 2e-5) << out << ", " << in << ", " << tokens;
            }
        force_paths({});
    }
}

TEST(CudaLinear, ARowDoesNotDependOnTheBatch) {
    force_paths(batch_invariant_paths);
    for (const int64_t group : {0, 128}) {
        const auto weight = random_linear(500, 1024, group, 77, allocate, nullptr);
        const DeviceTensor x(DType::bf16, Shape{40, 1024}, random_floats(40 * 1024, 8));
        const auto whole = run(x, *weight, DType::f32);
        for (const int64_t row : {0, 7, 8, 39})
            EXPECT_EQ(run(x.view().rows(row, row + 1), *weight, DType::f32),
                      std::vector<float>(whole.begin() + row * 500, whole.begin() + (row + 1) * 500));
    }
    force_paths({});
}

TEST(CudaLinear, Int4IsKeptPacked) {
    const HostLinear weight = int4_linear(512, 1024, 5);
    EXPECT_EQ(prepare_linear(weight, ComputeType::bf16, stager(), allocate)->bytes(),
              512u * 1024u / 2u + 512u * 8u * 2u);
}

TEST(CudaLinear, Fp8NotANumberIsRefused) {
    HostLinear weight = fp8_linear(16, 32, 5);
    static_cast<uint8_t*>(std::get<Fp8Weight>(weight.weight).values.view.raw())[40] = 0xff;
    try {
        prepare_linear(weight, ComputeType::bf16, stager(), allocate);
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::corrupt_file);
    }
    prepare_linear(fp8_linear(16, 32, 5), ComputeType::bf16, stager(), allocate);  // the next one is fine
}

TEST(CudaLinear, RandomWeightsKeepTheVariance) {
    for (const int64_t group : {0, 32, 64, 128}) {
        const auto weight = random_linear(1000, 1504, group, 5, allocate, nullptr);
        const DeviceTensor x(DType::bf16, Shape{4, 1504}, random_floats(4 * 1504, 8, std::sqrt(3.0)));
        const DeviceTensor y(DType::f32, Shape{4, 1000});
        launch_plain_linear(x, weight->matrix(), y, nullptr);
        double squares = 0;
        for (const float value : y.floats())
            squares += static_cast<double>(value) * static_cast<double>(value);
        EXPECT_NEAR(squares / 4000, 1.0, 0.25) << group;
    }
}

}  // namespace
}  // namespace sheaf::cuda
