#include "backend/cpu/testing.h"

namespace sheaf::cpu {
namespace {

using namespace testing;

constexpr int64_t hidden = 72, intermediate = 40;

/// Expert i of a layer whose experts are of different formats, with and without input orders and zero points.
HostExpert mixed_expert(int64_t i) {
    const auto key = static_cast<uint64_t>(1000 + 100 * i);
    auto linear = [&](int64_t out, int64_t in, uint64_t offset) {
        switch ((static_cast<uint64_t>(i) + offset) % 6) {
            case 0:
                return dense_linear(out, in, DType::bf16, key + offset);
            case 1:
                return int4_linear(out, in, key + offset, {.group = 32, .zeros = Int4Options::random});
            case 2:
                return int4_linear(out, in, key + offset, {.group = 16, .shuffled = true});
            case 3:
                return fp8_linear(out, in, key + offset, 16);
            case 4:
                return dense_linear(out, in, DType::f32, key + offset);
            default:
                return int4_linear(out, in, key + offset);
        }
    };
    return {linear(intermediate, hidden, 0), linear(intermediate, hidden, 10),
            linear(hidden, intermediate, 20)};
}

/// The usual kind: gate and up are the halves of one matrix.
HostExpert fused_expert(int64_t i) {
    const auto key = static_cast<uint64_t>(5000 + 100 * i);
    const HostLinear gate_up = int4_linear(2 * intermediate, hidden, key);
    return {gate_up.output_slice(0, intermediate), gate_up.output_slice(intermediate, 2 * intermediate),
            int4_linear(hidden, intermediate, key + 10)};
}

Experts prepare(Machine& cpu, int64_t count, const std::function<HostExpert(int64_t)>& load) {
    return cpu.prepare_experts(count, hidden, intermediate, load);
}

/// Distinct experts for every token, some never used.
std::pair<HostTensor, HostTensor> random_routing(int64_t tokens, int64_t k, int64_t experts) {
    HostTensor ids(DType::i32, Shape{tokens, k});
    const HostTensor weights = random_tensor(DType::f32, Shape{tokens, k}, 77);
    for (int64_t t = 0; t < tokens; ++t)
        for (int64_t j = 0; j < k; ++j)
            ids.view.row<int32_t>(t)[j] = static_cast<int32_t>(
                (counter_random_bits(5, static_cast<uint64_t>(t)) + static_cast<uint64_t>(j * j + j)) %
                static_cast<uint64_t>(experts));
    return {ids, weights};
}

double silu(double x) {
    return x / (1.0 + std::exp(-x));
}

/// weight * expert(x), summed over choices, in double precision.
std::vector<double> exact_mixture(const Tensor& x, const Routing& routing,
                                  const std::function<HostExpert(int64_t)>& load) {
    std::vector<double> result;
    for (int64_t t = 0; t < x.size(0); ++t) {
        std::vector<double> sum(hidden, 0.0);
        for (int64_t j = 0; j < routing.ids.size(1); ++j) {
            const HostExpert expert = load(routing.ids.row<int32_t>(t)[j]);
            const auto gate = exact_product(x.rows(t, t + 1), expert.gate);
            const auto up = exact_product(x.rows(t, t + 1), expert.up);
            const HostTensor down = dequantize(expert.down);
            for (int64_t n = 0; n < hidden; ++n)
                for (size_t i = 0; i < gate.size(); ++i)
                    sum[static_cast<size_t>(n)] += static_cast<double>(routing.weights.row<float>(t)[j]) *
                                                   static_cast<double>(down.view.row<float>(n)[i]) *
                                                   silu(gate[i]) * up[i];
        }
        result.insert(result.end(), sum.begin(), sum.end());
    }
    return result;
}

class CpuMoeTest : public EveryIsa {
  protected:
    /// amx rounds to bf16 what goes from the first products to the second, and f32 weights, by 2^-9 at most.
    double error_bar() const { return rounds_activations() ? 4e-3 : 2e-6; }
};

TEST_P(CpuMoeTest, EqualsTheSumOverExperts) {
    const auto cpu = machine();
    const auto ops = cpu->make_ops();
    for (const int64_t count : {13, 333})
        for (const auto& load : {mixed_expert, fused_expert}) {
            const Experts experts = prepare(*cpu, count, load);
            EXPECT_EQ(experts->count, count);
            for (const int64_t tokens : {1, 3, 50}) {
                const HostTensor x = activations(Shape{tokens, hidden}, 6);
                const auto [ids, weights] = random_routing(tokens, 4, count);
                const Routing routing{ids.view, weights.view};
                const Tensor y = ops->moe(x.view, routing, experts);
                EXPECT_LT(relative_error(y, exact_mixture(x.view, routing, load)), error_bar());
                const Tensor defined = ops->Ops::moe(x.view, routing, experts);
                EXPECT_LT(relative_error(y, as_doubles(defined)), 1e-6);
            }
        }
}

TEST_P(CpuMoeTest, ATokenDoesNotDependOnTheBatchOrTheThreads) {
    std::vector<float> wanted;
    for (const int threads : {1, 2, 3}) {
        const auto cpu = machine(threads);
        const auto ops = cpu->make_ops();
        const Experts experts = prepare(*cpu, 13, mixed_expert);
        const HostTensor x = random_tensor(DType::f32, Shape{61, hidden}, 6);
        const auto [ids, weights] = random_routing(61, 4, 13);
        const auto whole = floats_of(ops->moe(x.view, {ids.view, weights.view}, experts));
        if (wanted.empty()) wanted = whole;
        EXPECT_TRUE(same_bits(wanted, whole)) << threads;
        for (const int64_t step : {1, 5, 32}) {
            std::vector<float> parts;
            for (int64_t begin = 0; begin < 61; begin += step) {
                const int64_t end = std::min<int64_t>(61, begin + step);
                const Routing routing{ids.view.rows(begin, end), weights.view.rows(begin, end)};
                const auto part = floats_of(ops->moe(x.view.rows(begin, end), routing, experts));
                parts.insert(parts.end(), part.begin(), part.end());
            }
            EXPECT_TRUE(same_bits(wanted, parts)) << step;
        }
    }
}

TEST_P(CpuMoeTest, ExpertIsOneOfThem) {
    const auto cpu = machine();
    const auto ops = cpu->make_ops();
    const Experts experts = prepare(*cpu, 6, mixed_expert);
    const HostTensor x = activations(Shape{7, hidden}, 6);
    for (int64_t index = 0; index < 6; ++index) {
        HostTensor ids(DType::i32, Shape{7, 1}), weights(DType::f32, Shape{7, 1});
        for (int64_t t = 0; t < 7; ++t) {
            ids.view.data<int32_t>()[t] = static_cast<int32_t>(index);
            weights.view.data<float>()[t] = 1.0f;
        }
        const auto wanted = exact_mixture(x.view, {ids.view, weights.view}, mixed_expert);
        EXPECT_LT(relative_error(ops->expert(x.view, experts, index), wanted), error_bar()) << index;
    }
}

TEST_P(CpuMoeTest, AnErrorWhileLoadingComesThrough) {
    const auto cpu = machine();
    auto load = [](int64_t i) -> HostExpert {
        if (i == 3) fail(ErrorKind::corrupt_file, "expert 3 is broken");
        return fused_expert(i);
    };
    EXPECT_THROW(prepare(*cpu, 8, load), Error);
}

SHEAF_FOR_EVERY_ISA(CpuMoeTest);

TEST(CpuMoe, FusedInstructionSetsGiveEqualBits) {
    std::vector<std::vector<float>> results;
    for (const Isa isa : fused_isas()) {
        const auto cpu = make_cpu_machine(ComputeType::f32, 2, isa);
        const auto ops = cpu->make_ops();
        const Experts experts = prepare(*cpu, 13, mixed_expert);
        const HostTensor x = random_tensor(DType::f32, Shape{33, hidden}, 6);
        const auto [ids, weights] = random_routing(33, 4, 13);
        results.push_back(floats_of(ops->moe(x.view, {ids.view, weights.view}, experts)));
    }
    for (const auto& result : results) EXPECT_TRUE(same_bits(results[0], result));
}

}  // namespace
}  // namespace sheaf::cpu
