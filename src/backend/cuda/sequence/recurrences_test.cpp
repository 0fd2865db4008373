// The short convolution and the gated delta rule against row-by-row definitions in double, sequence by
// sequence.
#include <gtest/gtest.h>

#include "backend/cuda/sequence/testing.h"

namespace sheaf::cuda {
namespace {

using namespace testing;

/// Rows [begin, begin + rows) of a matrix by rows.
template <class T>
std::vector<T> rows_of(const std::vector<T>& x, int64_t begin, int64_t rows, int64_t columns) {
    return {x.begin() + begin * columns, x.begin() + (begin + rows) * columns};
}

double error_of(const std::vector<float>& got, const std::vector<double>& want, int64_t begin, int64_t rows,
                int64_t columns) {
    return relative_error(rows_of(got, begin, rows, columns), rows_of(want, begin, rows, columns));
}

/// Untouched slots keep their bits, padding rows are zero.
void expect_rest_untouched(const TestBatch& batch, const std::vector<float>& before,
                           const std::vector<float>& after, const std::vector<float>& result) {
    const auto slots = batch.slot_count(), size = static_cast<int64_t>(before.size()) / slots;
    const auto columns = static_cast<int64_t>(result.size()) / batch.tokens;
    std::vector<bool> used(static_cast<size_t>(slots), false);
    for (size_t s = 0; s < batch.runs.size(); ++s) {
        if (batch.runs[s].count > 0)
            used[static_cast<size_t>(batch.slots[s])] = true;
        else
            for (const float x : rows_of(result, batch.begin[s], 1, columns)) ASSERT_EQ(x, 0.0f) << s;
    }
    for (int64_t slot = 0; slot < slots; ++slot) {
        if (used[static_cast<size_t>(slot)]) continue;
        EXPECT_EQ(rows_of(after, slot, 1, size), rows_of(before, slot, 1, size)) << slot;
    }
}

struct ConvolutionCase {
    int64_t channels, kernel;
};

void convolve(const TestBatch& batch, const ConvolutionCase& shape, const std::vector<float>& x,
              const std::vector<float>& weight, std::vector<double>& state, std::vector<double>& result) {
    const int64_t channels = shape.channels, past = shape.kernel - 1;
    for (size_t s = 0; s < batch.runs.size(); ++s)
        for (int64_t c = 0; c < channels; ++c) {
            const SequenceRun run = batch.runs[s];
            if (run.count == 0) continue;
            double* memory = state.data() + batch.slots[s] * past * channels + c;
            std::vector<double> inputs;
            for (int64_t i = 0; i < past; ++i) inputs.push_back(run.context ? memory[i * channels] : 0.0);
            for (int64_t i = 0; i < run.count; ++i)
                inputs.push_back(
                    static_cast<double>(x[static_cast<size_t>((batch.begin[s] + i) * channels + c)]));
            for (int64_t i = 0; i < run.count; ++i) {
                double sum = 0;
                for (int64_t tap = 0; tap <= past; ++tap)
                    sum += inputs[static_cast<size_t>(i + tap)] *
                           static_cast<double>(weight[static_cast<size_t>(c * shape.kernel + tap)]);
                result[static_cast<size_t>((batch.begin[s] + i) * channels + c)] =
                    sum / (1.0 + std::exp(-sum));
            }
            for (int64_t i = 0; i < past; ++i)
                memory[i * channels] = inputs[static_cast<size_t>(run.count + i)];
        }
}

TEST(CudaRecurrences, ConvolutionEqualsItsDefinition) {
    const ConvolutionCase cases[] = {{5, 2}, {333, 3}, {48, 4}, {1040, 4}, {130, 7}};
    const TestBatch batch(all_runs(), 16);
    for (const DType dtype : {DType::bf16, DType::f32})
        for (const ConvolutionCase& shape : cases) {
            const int64_t state_size = (shape.kernel - 1) * shape.channels;
            const Activations x(dtype, Shape{batch.tokens, shape.channels}, 1);
            const Activations weight(DType::f32, Shape{shape.channels, shape.kernel}, 2);
            const Activations conv(DType::f32, Shape{batch.slot_count(), shape.kernel - 1, shape.channels},
                                   3);
            const DeviceTensor result(dtype, Shape{batch.tokens, shape.channels});
            causal_conv1d(x.device, weight.device, {conv.device.view(), {}}, batch.host, result, nullptr);
            std::vector<double> state(conv.values.begin(), conv.values.end()), want(x.values.size(), 0.0);
            convolve(batch, shape, x.values, weight.values, state, want);
            const auto got = result.floats(), got_state = conv.device.floats();
            for (size_t s = 0; s < batch.runs.size(); ++s) {
                const int64_t rows = batch.runs[s].count;
                if (rows == 0) continue;
                EXPECT_LT(error_of(got, want, batch.begin[s], rows, shape.channels),
                          dtype == DType::bf16 ? 3e-3 : 3e-6)
                    << s << " kernel " << shape.kernel;
                EXPECT_LT(error_of(got_state, state, batch.slots[s], 1, state_size), 1e-7) << s;
            }
            expect_rest_untouched(batch, conv.values, got_state, got);
        }
}

struct DeltaCase {
    int64_t key_heads, value_heads, key_dim, value_dim;
    double gate_scale;  // of a: large ones make states that are forgotten at once, or never
};

/// Inputs of a delta rule, on both sides.
struct DeltaProblem {
    DeltaProblem(DType dtype, const DeltaCase& shape, int64_t tokens, int64_t slots, uint64_t key,
                 DType state_dtype = DType::f32)
        : qkv(dtype, Shape{tokens, columns(shape)}, key, 1.0),
          a(dtype, Shape{tokens, shape.value_heads}, key + 1, shape.gate_scale),
          b(dtype, Shape{tokens, shape.value_heads}, key + 2, 3.0),
          a_log(DType::f32, Shape{shape.value_heads}, key + 3, 2.0),
          dt_bias(DType::f32, Shape{shape.value_heads}, key + 4, 2.0),
          state(state_dtype, Shape{slots, shape.value_heads, shape.key_dim, shape.value_dim}, key + 5, 0.5) {
        const int64_t keys = shape.key_heads * shape.key_dim;
        const Tensor& all = qkv.device.view();
        input = {all.columns(0, keys),
                 all.columns(keys, 2 * keys),
                 all.columns(2 * keys, columns(shape)),
                 a.device.view(),
                 b.device.view(),
                 a_log.device.view(),
                 dt_bias.device.view(),
                 shape.key_heads,
                 shape.value_heads,
                 shape.key_dim,
                 shape.value_dim};
    }
    static int64_t columns(const DeltaCase& shape) {
        return 2 * shape.key_heads * shape.key_dim + shape.value_heads * shape.value_dim;
    }
    Activations qkv, a, b, a_log, dt_bias, state;
    DeltaRuleInput input;
};

/// One row of one head: S <- decay S; d = beta (v - S^T k); S <- S + k d^T; o = S^T q.
void delta_row(const DeltaCase& shape, const DeltaProblem& problem, int64_t row, int64_t head, double* state,
               double* output) {
    const int64_t kd = shape.key_dim, vd = shape.value_dim, keys = shape.key_heads * kd;
    const int64_t group = head / (shape.value_heads / shape.key_heads);
    const float* all = problem.qkv.values.data() + row * DeltaProblem::columns(shape);
    auto value = [](float x) { return static_cast<double>(x); };
    std::vector<double> q, k, d(static_cast<size_t>(vd), 0.0);
    double squares_q = 1e-6, squares_k = 1e-6;
    for (int64_t i = 0; i < kd; ++i) {
        q.push_back(value(all[group * kd + i])), k.push_back(value(all[keys + group * kd + i]));
        squares_q += q.back() * q.back(), squares_k += k.back() * k.back();
    }
    for (auto& x : q) x /= std::sqrt(squares_q) * std::sqrt(static_cast<double>(kd));
    for (auto& x : k) x /= std::sqrt(squares_k);
    const auto gate = static_cast<size_t>(row * shape.value_heads + head), h = static_cast<size_t>(head);
    const double x = value(problem.a.values[gate]) + value(problem.dt_bias.values[h]);
    const double decay =
        std::exp(-std::exp(value(problem.a_log.values[h])) * (x > 30 ? x : std::log1p(std::exp(x))));
    const double beta = 1.0 / (1.0 + std::exp(-value(problem.b.values[gate])));
    for (int64_t i = 0; i < kd; ++i)
        for (int64_t j = 0; j < vd; ++j) {
            state[i * vd + j] *= decay;
            d[static_cast<size_t>(j)] += state[i * vd + j] * k[static_cast<size_t>(i)];
        }
    for (int64_t j = 0; j < vd; ++j) {
        d[static_cast<size_t>(j)] = beta * (value(all[2 * keys + head * vd + j]) - d[static_cast<size_t>(j)]);
        output[j] = 0;
    }
    for (int64_t i = 0; i < kd; ++i)
        for (int64_t j = 0; j < vd; ++j) {
            state[i * vd + j] += k[static_cast<size_t>(i)] * d[static_cast<size_t>(j)];
            output[j] += state[i * vd + j] * q[static_cast<size_t>(i)];
        }
}

void expect_delta_rule(DType dtype, const DeltaCase& shape, const TestBatch& batch,
                       DType state_dtype = DType::f32) {
    const int64_t columns = shape.value_heads * shape.value_dim, state_size = columns * shape.key_dim;
    const DeltaProblem problem(dtype, shape, batch.tokens, batch.slot_count(), 10, state_dtype);
    const DeviceTensor result(dtype, Shape{batch.tokens, columns});
    const DeviceTensor scratch = scratch_of(gated_delta_rule_scratch_bytes(problem.input, batch.host));
    gated_delta_rule(problem.input, {{}, problem.state.device.view()}, batch.host, result, scratch, nullptr);
    const auto got = result.floats(), got_state = problem.state.device.floats();
    std::vector<double> state(problem.state.values.begin(), problem.state.values.end());
    std::vector<double> want(got.size(), 0.0);
    const double bound = dtype == DType::bf16 ? 1e-2 : 1e-5;
    const double state_bound = bound + (state_dtype == DType::bf16 ? 2e-3 : 0.0);  // of the final rounding
    for (size_t s = 0; s < batch.runs.size(); ++s) {
        const SequenceRun run = batch.runs[s];
        if (run.count == 0) continue;
        double* memory = state.data() + batch.slots[s] * state_size;
        if (run.context == 0) std::fill_n(memory, state_size, 0.0);
        for (int64_t row = batch.begin[s]; row < batch.begin[s] + run.count; ++row)
            for (int64_t head = 0; head < shape.value_heads; ++head)
                delta_row(shape, problem, row, head, memory + head * shape.key_dim * shape.value_dim,
                          want.data() + row * columns + head * shape.value_dim);
        EXPECT_LT(error_of(got, want, batch.begin[s], run.count, columns), bound)
            << "count " << run.count << " context " << run.context;
        EXPECT_LT(error_of(got_state, state, batch.slots[s], 1, state_size), state_bound)
            << "state, count " << run.count << " context " << run.context;
    }
    expect_rest_untouched(batch, problem.state.values, got_state, got);
}

TEST(CudaRecurrences, DeltaRuleEqualsItsDefinition) {
    const DeltaCase cases[] = {{2, 4, 128, 128, 3.0}, {1, 2, 128, 128, 40.0}, {1, 3, 16, 8, 3.0},
                               {2, 2, 40, 24, 3.0},   {1, 2, 200, 36, 3.0},   {1, 1, 128, 6, 3.0}};
    for (const DType dtype : {DType::bf16, DType::f32})
        for (const DeltaCase& shape : cases) expect_delta_rule(dtype, shape, TestBatch(all_runs(), 16));
}

/// State kept in bf16: read as it is, sums in fp32, rounded once at the end.
TEST(CudaRecurrences, DeltaRuleWithStateInBf16) {
    for (const DType dtype : {DType::bf16, DType::f32})
        for (const DeltaCase& shape : {DeltaCase{2, 4, 128, 128, 3.0}, DeltaCase{1, 2, 200, 36, 3.0},
                                       DeltaCase{1, 1, 128, 6, 3.0}, DeltaCase{2, 2, 40, 24, 3.0}})
            expect_delta_rule(dtype, shape, TestBatch(all_runs(), 16), DType::bf16);
    std::vector<SequenceRun> runs;
    for (int32_t i = 0; i < 40; ++i) runs.push_back({i % 5 ? 1 : 0, i});
    expect_delta_rule(DType::bf16, {16, 32, 128, 128, 3.0}, TestBatch(runs, 16), DType::bf16);
}

TEST(CudaRecurrences, DeltaRuleOfManySequences) {
    std::vector<SequenceRun> runs;
    for (int32_t i = 0; i < 40; ++i) runs.push_back({i * 37 % 200, i % 3 ? i : 0});
    for (const DType dtype : {DType::bf16, DType::f32})
        expect_delta_rule(dtype, {1, 2, 128, 128, 3.0}, TestBatch(runs, 16));
}

TEST(CudaRecurrences, StepInOneLaunchEqualsItsParts) {
    constexpr int64_t dim = 128;
    std::vector<SequenceRun> runs;
    for (int32_t i = 0; i < 40; ++i) runs.push_back({i % 7 == 3 || i % 11 > 8 ? 0 : 1, i % 5 ? 10 * i : 0});
    struct Case {
        int64_t key_heads, value_heads;
        size_t sequences;
        DType state;
    };
    std::vector<Case> cases;
    for (const size_t sequences : {1, 3, 9, 40})
        for (const auto& [key_heads, value_heads] :
             {std::pair{2, 4}, std::pair{3, 3}, std::pair{1, 4}, std::pair{1, 8}, std::pair{16, 64}})
            for (const DType state : {DType::f32, DType::bf16})
                if (sequences < 40 || value_heads < 64)
                    cases.push_back({key_heads, value_heads, sequences, state});
    for (const auto& [key_heads, value_heads, sequences, state_dtype] : cases) {
        const TestBatch batch({runs.begin(), runs.begin() + static_cast<int64_t>(sequences)}, 16);
        SCOPED_TRACE(fmt::format("{} sequences, {} heads of {}", sequences, value_heads, key_heads));
        const int64_t values = value_heads * dim, channels = 2 * key_heads * dim + values,
                      keys = key_heads * dim;
        const DeltaCase shape{key_heads, value_heads, dim, dim, 3.0};
        const DeltaProblem problem(DType::bf16, shape, batch.tokens, batch.slot_count(), 50, state_dtype);
        const Activations conv(DType::f32, Shape{channels, 4}, 61),
            gate(DType::bf16, Shape{batch.tokens, values}, 62), weight(DType::f32, Shape{dim}, 63),
            past(DType::f32, Shape{batch.slot_count(), 3, channels}, 64),
            same_past(DType::f32, Shape{batch.slot_count(), 3, channels}, 64),
            same_state(state_dtype, problem.state.device.view().shape(), 55, 0.5);
        const Norm norm{weight.device.view(), 1e-6f};
        const DeviceTensor convolved(DType::bf16, Shape{batch.tokens, channels}),
            attended(DType::bf16, Shape{batch.tokens, values}),
            want(DType::bf16, Shape{batch.tokens, values}), got(DType::bf16, Shape{batch.tokens, values});
        const StateLayer mine{past.device.view(), problem.state.device.view()},
            other{same_past.device.view(), same_state.device.view()};
        ASSERT_EQ(problem.state.values, same_state.values);
        causal_conv1d(problem.qkv.device, conv.device, other, batch.host, convolved, nullptr);
        DeltaRuleInput rule = problem.input;
        rule.query = convolved.view().columns(0, keys), rule.key = convolved.view().columns(keys, 2 * keys);
        rule.value = convolved.view().columns(2 * keys, channels);
        gated_delta_rule(rule, other, batch.host, attended, DeviceTensor(DType::u8, Shape{1}), nullptr);
        gated_rms_norm(attended, gate.device, norm, want, nullptr);
        const DeltaNetInput input{problem.qkv.device.view(), conv.device.view(), gate.device.view(),
                                  problem.input, norm};
        if (!delta_net_step_fits(input, batch.host))
            GTEST_SKIP() << "the one-launch step needs clusters of blocks: sm_90 or later";
        delta_net_step(input, mine, batch.host, got, nullptr);
        EXPECT_LT(relative_error(got.floats(), want.floats()), 1e-3);
        EXPECT_LT(relative_error(problem.state.device.floats(), same_state.device.floats()),
                  state_dtype == DType::bf16 ? 2e-4 : 1e-5);  // bf16: some numbers fall to the other side
        EXPECT_EQ(past.device.floats(), same_past.device.floats());
    }
}

}  // namespace
}  // namespace sheaf::cuda
