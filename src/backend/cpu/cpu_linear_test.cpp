#include "backend/cpu/testing.h"

namespace sheaf::cpu {
namespace {

using namespace testing;

struct Case {
    std::string name;
    HostLinear weight;
};

/// Every format, with outputs that fill no tile, ragged groups, odd inputs, and every optional part.
std::vector<Case> cases() {
    std::vector<Case> all;
    auto add = [&](std::string name, HostLinear weight) {
        all.push_back({std::move(name), std::move(weight)});
    };
    add("f32", dense_linear(37, 301, DType::f32, 1));
    add("bf16", dense_linear(333, 257, DType::bf16, 2));
    add("bf16 even", dense_linear(64, 512, DType::bf16, 3));
    add("bf16 one output", dense_linear(1, 640, DType::bf16, 4));
    add("int4 f16", int4_linear(100, 512, 10));
    add("int4 bf16", int4_linear(160, 256, 20, {.scales = DType::bf16}));
    add("int4 f32 ragged", int4_linear(45, 192, 30, {.scales = DType::f32}));
    add("int4 one group", int4_linear(31, 328, 40, {.group = 328}));
    add("int4 long group", int4_linear(31, 72, 45, {.group = 128}));
    add("int4 small groups", int4_linear(33, 264, 50, {.group = 8}));
    add("int4 zeros", int4_linear(77, 384, 60, {.group = 32, .zeros = Int4Options::random}));
    add("int4 zeros of eight", int4_linear(77, 384, 70, {.zeros = Int4Options::eight}));
    add("int4 order", int4_linear(48, 256, 80, {.group = 64, .shuffled = true}));
    add("int4 order and zeros", int4_linear(50, 264, 90, {.zeros = Int4Options::random, .shuffled = true}));
    add("int4 odd groups", int4_linear(24, 48, 95, {.group = 12, .zeros = Int4Options::random}));
    add("fp8", fp8_linear(200, 300, 100));
    add("fp8 odd", fp8_linear(17, 130, 110));
    add("fp8 odd blocks", fp8_linear(40, 99, 120, 33));
    HostLinear biased = dense_linear(70, 96, DType::bf16, 130);
    biased.bias = random_tensor(DType::f32, Shape{70}, 131);
    add("bf16 bias", biased);
    HostLinear int4_biased = int4_linear(70, 96, 140);
    int4_biased.bias = random_tensor(DType::f32, Shape{70}, 141);
    add("int4 bias", int4_biased);
    return all;
}

class CpuLinearTest : public EveryIsa {};

TEST_P(CpuLinearTest, EveryFormatEqualsItsDefinition) {
    const auto cpu = machine();
    const auto ops = cpu->make_ops();
    for (const auto& [name, weight] : cases()) {
        const Linear linear = cpu->prepare(weight);
        EXPECT_GT(linear->bytes(), 0u);
        for (const int64_t rows : {1, 2, 3, 4, 5, 8, 13, 100, 205}) {
            const HostTensor x = activations(Shape{rows, weight.in}, 7);
            const Tensor y = ops->linear(x.view, linear);
            ASSERT_EQ(y.shape(), (Shape{rows, weight.out}));
            // amx is asked for bf16, which rounds the f32 weights
            const double bar = rounds_activations() && name == "f32" ? 2.5e-3 : 1e-6;
            EXPECT_LT(relative_error(y, exact_product(x.view, weight)), bar) << name << ", " << rows;
        }
    }
}

TEST_P(CpuLinearTest, ARowDoesNotDependOnTheBatch) {
    const auto cpu = machine(1);
    const auto ops = cpu->make_ops();
    for (const auto& [name, weight] : cases()) {
        const HostTensor x = random_tensor(DType::f32, Shape{101, weight.in}, 8);
        const Linear linear = cpu->prepare(weight);
        const std::vector<float> whole = floats_of(ops->linear(x.view, linear));
        for (const int64_t step : {1, 2, 7, 64}) {
            std::vector<float> parts;
            for (int64_t begin = 0; begin < 101; begin += step) {
                const Tensor rows = x.view.rows(begin, std::min<int64_t>(101, begin + step));
                const auto part = floats_of(ops->linear(rows, linear));
                parts.insert(parts.end(), part.begin(), part.end());
            }
            EXPECT_TRUE(same_bits(whole, parts)) << name << " in steps of " << step;
        }
    }
}

TEST_P(CpuLinearTest, TheNumberOfThreadsDoesNotMatter) {
    const auto one = machine(1), two = machine(2), three = machine(3);
    for (const auto& [name, weight] : cases())
        for (const int64_t rows : {1, 3, 205}) {
            const HostTensor x = random_tensor(DType::f32, Shape{rows, weight.in}, 8);
            auto result = [&](Machine& cpu) {
                const auto ops = cpu.make_ops();
                return floats_of(ops->linear(x.view, cpu.prepare(weight)));
            };
            const auto wanted = result(*one);
            EXPECT_TRUE(same_bits(wanted, result(*two))) << name;
            EXPECT_TRUE(same_bits(wanted, result(*three))) << name;
        }
}

TEST_P(CpuLinearTest, StridedRowsAreRead) {
    const auto cpu = machine();
    const auto ops = cpu->make_ops();
    const HostTensor wide = random_tensor(DType::f32, Shape{9, 700}, 3);
    const HostLinear weight = int4_linear(40, 256, 5);
    const Linear linear = cpu->prepare(weight);
    for (const int64_t rows : {1, 9}) {
        const Tensor x = wide.view.rows(0, rows).columns(13, 269);
        const Tensor copy = ops->cast(x, DType::f32);
        EXPECT_TRUE(same_bits(floats_of(ops->linear(x, linear)), floats_of(ops->linear(copy, linear))));
    }
}

TEST_P(CpuLinearTest, Bf16ComputeRoundsOnlyFloats) {
    const auto cpu = machine(1, ComputeType::bf16);
    const auto ops = cpu->make_ops();
    const HostTensor x = activations(Shape{2, 64}, 3);
    HostLinear f32 = dense_linear(16, 64, DType::f32, 5), rounded = f32;
    rounded.weight = DenseWeight{HostTensor(DType::bf16, Shape{16, 64})};
    auto& values = std::get<DenseWeight>(rounded.weight).values;
    for (int64_t i = 0; i < 16 * 64; ++i)
        values.view.data<bfloat16>()[i] =
            bfloat16(std::get<DenseWeight>(f32.weight).values.view.data<float>()[i]);
    EXPECT_EQ(cpu->prepare(f32)->bytes(), 16u * 64u * 2u);
    EXPECT_LT(relative_error(ops->linear(x.view, cpu->prepare(f32)), exact_product(x.view, rounded)), 1e-6);
    const HostLinear half = dense_linear(16, 64, DType::f16, 6);
    EXPECT_EQ(cpu->prepare(half)->bytes(), 16u * 64u * 2u);
    EXPECT_EQ(machine(2, ComputeType::f32)->prepare(half)->bytes(), 16u * 64u * 4u);
}

TEST_P(CpuLinearTest, Int4IsKeptPacked) {
    const HostLinear weight = int4_linear(512, 1024, 5);
    EXPECT_EQ(machine()->prepare(weight)->bytes(), 512u * 1024u / 2u + 512u * 8u * 2u);
}

TEST_P(CpuLinearTest, Fp8NotANumberIsRefused) {
    HostLinear weight = fp8_linear(16, 32, 5);
    static_cast<uint8_t*>(std::get<Fp8Weight>(weight.weight).values.view.raw())[40] = 0xff;
    try {
        machine()->prepare(weight);
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::corrupt_file);
    }
}

SHEAF_FOR_EVERY_ISA(CpuLinearTest);

TEST(CpuLinear, FusedInstructionSetsGiveEqualBits) {
    const auto isas = fused_isas();
    if (isas.size() < 2) GTEST_SKIP() << "one fused instruction set";
    for (const auto& [name, weight] : cases()) {
        const HostTensor x = random_tensor(DType::f32, Shape{21, weight.in}, 9);
        std::vector<std::vector<float>> results;
        for (const Isa isa : isas) {
            const auto cpu = make_cpu_machine(ComputeType::f32, 2, isa);
            const auto ops = cpu->make_ops();
            results.push_back(floats_of(ops->linear(x.view, cpu->prepare(weight))));
        }
        EXPECT_TRUE(same_bits(results[0], results[1])) << name;
    }
}

}  // namespace
}  // namespace sheaf::cpu
