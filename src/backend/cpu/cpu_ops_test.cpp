#include <algorithm>
#include <numeric>

#include "backend/cpu/testing.h"

namespace sheaf::cpu {
namespace {

using namespace testing;

class CpuOpsTest : public EveryIsa {};

double largest_relative_error(const Tensor& got, const Tensor& x, double (*function)(double)) {
    double worst = 0;
    for (int64_t i = 0; i < x.elements(); ++i) {
        const double want = function(static_cast<double>(x.data<float>()[i]));
        const double error = std::abs(static_cast<double>(got.data<float>()[i]) - want);
        worst = std::max(worst, error / std::max(std::abs(want), 1e-30));
    }
    return worst;
}

TEST_P(CpuOpsTest, FunctionsAreExactToTheLastPlaces) {
    const auto cpu = machine();
    const auto ops = cpu->make_ops();
    const HostTensor x = random_tensor(DType::f32, Shape{101, 333}, 1, 30.0);
    struct Case {
        Unary function;
        double (*exact)(double);
        double tolerance;
    };
    const double ulp = 0x1p-23;
    const Case list[] = {
        {Unary::exp, [](double v) { return std::exp(v); }, 1.5 * ulp},
        {Unary::sigmoid, [](double v) { return 1.0 / (1.0 + std::exp(-v)); }, 3 * ulp},
        {Unary::silu, [](double v) { return v / (1.0 + std::exp(-v)); }, 3 * ulp},
        {Unary::negate, [](double v) { return -v; }, 0.0},
        {Unary::softplus, [](double v) { return std::log1p(std::exp(v)); }, 3 * ulp},
    };
    for (const Case& c : list)
        EXPECT_LE(largest_relative_error(ops->unary(c.function, x.view), x.view, c.exact), c.tolerance)
            << static_cast<int>(c.function);
    auto gelu_tanh = [](double v) {
        return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    };
    auto gelu_erf = [](double v) { return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0))); };
    std::vector<double> tanh_wanted, erf_wanted;
    for (const double v : as_doubles(x.view)) {
        tanh_wanted.push_back(gelu_tanh(v));
        erf_wanted.push_back(gelu_erf(v));
    }
    EXPECT_LT(relative_error(ops->unary(Unary::gelu_tanh, x.view), tanh_wanted), 2e-7);
    EXPECT_LT(relative_error(ops->unary(Unary::gelu_erf, x.view), erf_wanted), 2e-7);
}

TEST_P(CpuOpsTest, ExponentialAtItsEnds) {
    const auto cpu = machine();
    const auto ops = cpu->make_ops();
    const float inf = std::numeric_limits<float>::infinity();
    std::vector<float> values{0.0f, -0.0f, -inf, inf, 89.0f, 88.7f, -104.0f, -100.0f, -87.0f, NAN};
    const Tensor x = ops->upload(values.data(), DType::f32, Shape{1, std::ssize(values)});
    const auto y = floats_of(ops->unary(Unary::exp, x));
    EXPECT_EQ(y[0], 1.0f);
    EXPECT_EQ(y[1], 1.0f);
    EXPECT_EQ(y[2], 0.0f);
    EXPECT_EQ(y[3], inf);
    EXPECT_EQ(y[4], inf);
    EXPECT_NEAR(y[5] / std::exp(88.7f), 1.0, 3e-7);
    EXPECT_EQ(y[6], 0.0f);
    EXPECT_NEAR(y[7], std::exp(-100.0f), 2e-45);  // subnormal
    EXPECT_NEAR(y[8] / std::exp(-87.0f), 1.0, 3e-7);
    EXPECT_TRUE(std::isnan(y[9]));
}

TEST_P(CpuOpsTest, ConversionsEqualTheScalarTypes) {
    const auto cpu = machine();
    const auto ops = cpu->make_ops();
    HostTensor halves(DType::f16, Shape{1, 65536}), floats(DType::f32, Shape{1, 65537});
    for (int64_t i = 0; i < 65536; ++i) halves.view.data<float16>()[i].bits = static_cast<uint16_t>(i);
    const Tensor wide = ops->cast(halves.view, DType::f32);
    for (int64_t i = 0; i < 65536; ++i) {
        const auto want = static_cast<float>(halves.view.data<float16>()[i]);
        const float got = wide.data<float>()[i];
        ASSERT_TRUE(std::isnan(want) ? std::isnan(got)
                                     : std::bit_cast<uint32_t>(got) == std::bit_cast<uint32_t>(want))
            << i;
    }
    for (int64_t i = 0; i < 65537; ++i)
        floats.view.data<float>()[i] =
            std::bit_cast<float>(static_cast<uint32_t>(counter_random_bits(9, static_cast<uint64_t>(i))));
    const Tensor narrow = ops->cast(floats.view, DType::bf16);
    const Tensor back = ops->cast(narrow, DType::f32);
    for (int64_t i = 0; i < 65537; ++i) {
        const bfloat16 want(floats.view.data<float>()[i]);
        if (std::isnan(static_cast<float>(want))) {
            ASSERT_TRUE(std::isnan(back.data<float>()[i]));
        } else {
            ASSERT_EQ(narrow.data<bfloat16>()[i].bits, want.bits) << i;
            ASSERT_EQ(back.data<float>()[i], static_cast<float>(want));
        }
    }
    const Tensor direct = ops->cast(halves.view, DType::bf16);
    EXPECT_EQ(direct.data<bfloat16>()[1].bits,
              bfloat16(static_cast<float>(halves.view.data<float16>()[1])).bits);
    EXPECT_THROW(ops->cast(floats.view, DType::i32), Error);
}

TEST_P(CpuOpsTest, BinaryBroadcastsRowsAndColumns) {
    const auto cpu = machine();
    const auto ops = cpu->make_ops();
    const HostTensor x = random_tensor(DType::f32, Shape{5, 37}, 1),
                     same = random_tensor(DType::f32, Shape{5, 37}, 2),
                     row = random_tensor(DType::f32, Shape{1, 37}, 3),
                     column = random_tensor(DType::f32, Shape{5, 1}, 4);
    auto at = [](const HostTensor& t, int64_t r, int64_t c) {
        return t.view.row<float>(t.view.size(0) == 1 ? 0 : r)[t.view.size(1) == 1 ? 0 : c];
    };
    for (const HostTensor* b : {&same, &row, &column}) {
        const Tensor sum = ops->add(x.view, b->view), product = ops->multiply(x.view, b->view),
                     difference = ops->binary(Binary::subtract, x.view, b->view);
        for (int64_t r = 0; r < 5; ++r)
            for (int64_t c = 0; c < 37; ++c) {
                EXPECT_EQ(sum.row<float>(r)[c], at(x, r, c) + at(*b, r, c));
                EXPECT_EQ(difference.row<float>(r)[c], at(x, r, c) - at(*b, r, c));
                EXPECT_EQ(product.row<float>(r)[c], at(x, r, c) * at(*b, r, c));
            }
    }
    EXPECT_THROW(ops->add(x.view, x.view.columns(0, 36)), InternalError);
}

TEST_P(CpuOpsTest, MatricesAndRows) {
    const auto cpu = machine();
    const auto ops = cpu->make_ops();
    const HostTensor a = random_tensor(DType::f32, Shape{9, 50}, 1),
                     b = random_tensor(DType::f32, Shape{83, 50}, 2);
    std::vector<double> wanted = exact_product(a.view, {83, 50, DenseWeight{b}, {}});
    const Tensor product = ops->matmul(a.view, ops->transpose(b.view));
    EXPECT_LT(relative_error(product, wanted), 1e-6);
    std::vector<double> sums;
    for (int64_t r = 0; r < 9; ++r)
        sums.push_back(std::accumulate(a.view.row<float>(r), a.view.row<float>(r) + 50, 0.0));
    EXPECT_LT(relative_error(ops->sum_columns(a.view), sums), 1e-6);
    const Tensor joined =
        ops->concat_columns(std::vector<Tensor>{a.view.columns(3, 20), a.view.columns(0, 3)});
    EXPECT_EQ(joined.row<float>(4)[0], a.view.row<float>(4)[3]);
    EXPECT_EQ(joined.row<float>(4)[17], a.view.row<float>(4)[0]);

    const HostTensor places = integers({7, 0, 7});
    const HostTensor table = random_tensor(DType::bf16, Shape{8, 21}, 5);
    const Tensor rows = ops->gather_rows(table.view, places.view);
    EXPECT_EQ(rows.dtype(), DType::f32);
    EXPECT_EQ(rows.row<float>(2)[20], static_cast<float>(table.view.row<bfloat16>(7)[20]));
    const Tensor target = ops->make(DType::bf16, Shape{8, 21});
    std::fill_n(target.data<bfloat16>(), 8 * 21, bfloat16(0.0f));
    ops->scatter_rows(target, integers({5, 1, 2}).view, rows);
    EXPECT_EQ(target.row<bfloat16>(1)[3].bits, table.view.row<bfloat16>(0)[3].bits);
    EXPECT_THROW(ops->gather_rows(table.view, integers({8}).view), InternalError);
}

TEST_P(CpuOpsTest, SoftmaxAndTopK) {
    const auto cpu = machine();
    const auto ops = cpu->make_ops();
    const HostTensor x = random_tensor(DType::f32, Shape{4, 333}, 1, 8.0);
    const HostTensor valid = integers({333, 1, 100, 0});
    const Tensor p = ops->softmax(x.view, valid.view);
    for (int64_t r = 0; r < 4; ++r) {
        const int64_t count = valid.view.data<int32_t>()[r];
        double total = 0;
        for (int64_t c = 0; c < count; ++c) total += std::exp(static_cast<double>(x.view.row<float>(r)[c]));
        for (int64_t c = 0; c < 333; ++c)
            EXPECT_NEAR(p.row<float>(r)[c],
                        c < count ? std::exp(static_cast<double>(x.view.row<float>(r)[c])) / total : 0.0,
                        1e-7);
    }
    std::vector<float> ties{1, 3, 2, 3, 0, 3, 2};
    const Tensor row = ops->upload(ties.data(), DType::f32, Shape{1, 7});
    const Routing best = ops->top_k(row, 5);
    const std::vector<int32_t> ids(best.ids.data<int32_t>(), best.ids.data<int32_t>() + 5);
    EXPECT_EQ(ids, (std::vector<int32_t>{1, 3, 5, 2, 6}));
    EXPECT_EQ(floats_of(best.weights), (std::vector<float>{3, 3, 3, 2, 2}));
}

TEST_P(CpuOpsTest, FusedOperatorsEqualTheirDefinitions) {
    const auto cpu = machine();
    const auto ops = cpu->make_ops();
    Ops& o = *ops;
    const HostTensor x = random_tensor(DType::f32, Shape{11, 3 * 40}, 1, 3.0),
                     y = random_tensor(DType::f32, Shape{11, 3 * 40}, 2, 3.0);
    const HostTensor wide = random_tensor(DType::f32, Shape{120}, 3),
                     head = random_tensor(DType::f32, Shape{40}, 4);
    auto close = [](const Tensor& got, const Tensor& wanted) {
        EXPECT_EQ(got.shape(), wanted.shape());
        EXPECT_LT(relative_error(got, as_doubles(wanted)), 4e-7);
    };
    for (const Norm& norm : {Norm{wide.view, 1e-6f}, Norm{head.view, 1e-3f}}) {
        close(o.rms_norm(x.view, norm), o.Ops::rms_norm(x.view, norm));
        close(o.gated_rms_norm(x.view, y.view, norm), o.Ops::gated_rms_norm(x.view, y.view, norm));
        const auto fused = o.add_rms_norm(x.view, y.view, norm),
                   defined = o.Ops::add_rms_norm(x.view, y.view, norm);
        close(fused.first, defined.first);
        EXPECT_TRUE(same_bits(floats_of(fused.second), floats_of(defined.second)));
    }
    close(o.l2_norm(x.view, 40, 1e-6f), o.Ops::l2_norm(x.view, 40, 1e-6f));
    close(o.swiglu(x.view, y.view), o.Ops::swiglu(x.view, y.view));
    HostTensor positions(DType::i32, Shape{3, 11});
    for (int64_t i = 0; i < 33; ++i) positions.view.data<int32_t>()[i] = static_cast<int32_t>(i * i * 37);
    const HostTensor frequencies = random_tensor(DType::f32, Shape{7}, 5),
                     axes = integers({0, 1, 2, 0, 1, 2, 0});
    const Rotary rotary{frequencies.view, axes.view, 1.25f};
    close(o.rotate(x.view, 40, positions.view, rotary), o.Ops::rotate(x.view, 40, positions.view, rotary));
    const auto [cosine, sine] = o.rotary_angles(positions.view, rotary);
    const float angle =
        static_cast<float>(positions.view.row<int32_t>(1)[10]) * frequencies.view.data<float>()[4];
    EXPECT_FLOAT_EQ(cosine.row<float>(10)[4],
                    1.25f * static_cast<float>(std::cos(static_cast<double>(angle))));
    EXPECT_FLOAT_EQ(sine.row<float>(10)[4], 1.25f * static_cast<float>(std::sin(static_cast<double>(angle))));
}

TEST_P(CpuOpsTest, RoutingEqualsItsDefinition) {
    const auto cpu = machine(2, ComputeType::f32);
    const auto ops = cpu->make_ops();
    for (const int64_t experts : {13, 333}) {
        const Linear router = cpu->prepare(dense_linear(experts, 64, DType::bf16, 5));
        const HostTensor x = random_tensor(DType::f32, Shape{20, 64}, 6);
        const Routing fused = ops->route(x.view, router, 10), defined = ops->Ops::route(x.view, router, 10);
        EXPECT_LT(relative_error(fused.weights, as_doubles(defined.weights)), 1e-6);
        for (int64_t i = 0; i < 200; ++i)
            EXPECT_EQ(fused.ids.data<int32_t>()[i], defined.ids.data<int32_t>()[i]);
        for (int64_t t = 0; t < 20; ++t) {
            const float* w = fused.weights.row<float>(t);
            EXPECT_NEAR(std::accumulate(w, w + 10, 0.0), 1.0, 1e-6);
        }
    }
}

TEST_P(CpuOpsTest, EmptyBatchesAreFine) {
    const auto cpu = machine();
    const auto ops = cpu->make_ops();
    const Tensor none = ops->make(DType::f32, Shape{0, 64});
    EXPECT_EQ(ops->linear(none, cpu->prepare(dense_linear(8, 64, DType::f32, 1))).size(0), 0);
    EXPECT_EQ(ops->unary(Unary::silu, none).size(0), 0);
}

SHEAF_FOR_EVERY_ISA(CpuOpsTest);

TEST(CpuOps, FusedInstructionSetsGiveEqualBits) {
    std::vector<std::vector<float>> results;
    for (const Isa isa : fused_isas()) {
        const auto cpu = make_cpu_machine(ComputeType::f32, 2, isa);
        const auto ops = cpu->make_ops();
        const HostTensor x = random_tensor(DType::f32, Shape{7, 333}, 1, 20.0);
        const HostTensor weight = random_tensor(DType::f32, Shape{333}, 4);
        std::vector<float> all;
        auto keep = [&](const Tensor& t) {
            const auto values = floats_of(t);
            all.insert(all.end(), values.begin(), values.end());
        };
        for (const Unary f : {Unary::exp, Unary::silu, Unary::sigmoid, Unary::gelu_tanh, Unary::softplus})
            keep(ops->unary(f, x.view));
        keep(ops->rms_norm(x.view, {weight.view, 1e-6f}));
        keep(ops->gated_rms_norm(x.view, x.view, {weight.view, 1e-6f}));
        keep(ops->l2_norm(x.view, 37, 1e-6f));
        keep(ops->softmax(x.view, Tensor{}));
        keep(ops->sum_columns(x.view));
        keep(ops->matmul(x.view, ops->transpose(x.view)));
        results.push_back(all);
    }
    for (const auto& result : results) EXPECT_TRUE(same_bits(results[0], result));
}

TEST(CpuMachineTest, SaysWhatItIs) {
    const auto cpu = make_cpu_machine(ComputeType::bf16, 3, Isa::baseline);
    EXPECT_EQ(cpu->name(), "cpu (baseline, 3 threads)");
    EXPECT_EQ(cpu->compute_type(), ComputeType::bf16);
    EXPECT_GT(cpu->available_memory(), size_t{64} << 20);
    EXPECT_LE(cpu->available_memory(), cpu->total_memory());
    const HostTensor x = random_tensor(DType::f32, Shape{4, 10}, 1);
    const Buffer copy = cpu->upload(x.view.columns(2, 7), DType::bf16);
    const Tensor narrow = copy.tensor(DType::bf16, Shape{4, 5});
    EXPECT_EQ(narrow.row<bfloat16>(3)[4].bits, bfloat16(x.view.row<float>(3)[6]).bits);
}

}  // namespace
}  // namespace sheaf::cpu
