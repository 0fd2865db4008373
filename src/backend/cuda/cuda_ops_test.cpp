// Every operator on the GPU against the same call on the CPU (f32) and against its definition made of the
// GPU's own primitives, with both kinds of activations.
#include <functional>
#include <numeric>

#include "backend/cuda/testing/device_tensor.h"
#include "backend/cuda/testing/side.h"

namespace sheaf::cuda {
namespace {

using cpu::testing::integers;
using cpu::testing::random_tensor;
using testing::activations;
using testing::relative_error;
using testing::Side;
using Values = std::vector<std::vector<float>>;

class CudaOpsTest : public ::testing::TestWithParam<ComputeType> {
  protected:
    CudaOpsTest()
        : gpu(make_cuda_machine(0, GetParam())),
          cpu(cpu::make_cpu_machine(GetParam(), 2, cpu::available_isas().back())) {}

    /// Runs `work` on the GPU and on the CPU, and on the GPU by the defining bodies. Relative errors (root
    /// mean square) stay below `exact` in f32, and below that of a few bf16 roundings otherwise.
    void compare(const std::string& what, const std::function<Values(Side&)>& work, double exact = 2e-6,
                 double rounded = 8e-3, bool by_definition = true) {
        const double bar = GetParam() == ComputeType::f32 ? exact : rounded;
        gpu.ops->begin_step();
        cpu.ops->begin_step();
        const Values got = work(gpu), wanted = work(cpu);
        check(what + ", CPU", got, wanted, bar);
        if (!by_definition) return;
        gpu.definition = true;
        gpu.ops->begin_step();
        check(what + ", definition", got, work(gpu), bar);
        gpu.definition = false;
    }

    HostTensor random(Shape shape, uint64_t key, double scale = 1.0) const {
        return activations(GetParam(), shape, key, scale);
    }

    Side gpu, cpu;

  private:
    static void check(const std::string& what, const Values& got, const Values& wanted, double bar) {
        ASSERT_EQ(got.size(), wanted.size()) << what;
        for (size_t i = 0; i < got.size(); ++i)
            EXPECT_LT(relative_error(got[i], wanted[i]), bar) << what << ", result " << i;
    }
};

const std::vector<int64_t> row_counts = {1, 2, 3, 7, 8, 9, 16, 33, 64, 127, 128, 129, 1000};

TEST_P(CudaOpsTest, Elementwise) {
    for (const int64_t rows : row_counts) {
        const HostTensor wide = random(Shape{rows, 91}, 1, 8.0), same = random(Shape{rows, 77}, 2),
                         row = random(Shape{1, 77}, 3), column = random(Shape{rows, 1}, 4);
        compare(
            fmt::format("elementwise, {} rows", rows),
            [&](Side& s) {
                const Tensor x = s.act(wide).columns(3, 80);  // strided
                Values values;
                for (const Unary f : {Unary::silu, Unary::sigmoid, Unary::softplus, Unary::exp, Unary::negate,
                                      Unary::gelu_tanh, Unary::gelu_erf})
                    values.push_back(s.get(s.ops->unary(f, s.ops->cast(x, s.ops->activation_dtype()))));
                for (const HostTensor* b : {&same, &row, &column}) {
                    const Tensor other = s.act(*b);
                    for (const Binary f : {Binary::add, Binary::subtract, Binary::multiply})
                        values.push_back(s.get(s.ops->binary(f, x, other)));
                }
                values.push_back(s.get(s.ops->scale(x, 0.37f)));
                values.push_back(s.get(s.ops->transpose(x)));
                values.push_back(s.get(s.ops->sum_columns(x)));
                values.push_back(s.get(s.ops->rsqrt(s.ops->multiply(x, x), 0.1f)));
                values.push_back(
                    s.get(s.ops->concat_columns(std::vector<Tensor>{x.columns(3, 20), x.columns(0, 3)})));
                return values;
            },
            2e-6, 4e-3, false);
    }
}

TEST_P(CudaOpsTest, RowsAndProducts) {
    const HostTensor table = random_tensor(DType::bf16, Shape{40, 21}, 5), a = random(Shape{9, 50}, 6),
                     b = random(Shape{50, 83}, 7), rows = random(Shape{3, 21}, 8);
    const HostTensor places = integers({7, 0, 39}), targets = integers({5, 1, 2});
    compare(
        "rows",
        [&](Side& s) {
            const Tensor place = s.put(places), destination = s.put(table);
            Values values{s.get(s.ops->gather_rows(s.put(table), place)),
                          s.get(s.ops->matmul(s.act(a), s.act(b)))};
            s.ops->scatter_rows(destination, s.put(targets), s.act(rows));
            values.push_back(s.get(destination));
            return values;
        },
        2e-6, 4e-3, false);
    // A row that is not there shows.
    const auto lost = gpu.get(gpu.ops->gather_rows(gpu.put(table), gpu.put(integers({40, -1, 3}))));
    EXPECT_TRUE(std::isnan(lost[0]) && std::isnan(lost[21]) && !std::isnan(lost[42]));
}

TEST_P(CudaOpsTest, RowsInVectors) {
    for (const int64_t columns : {8, 64, 2048, 4096, 4104})
        for (const int64_t rows : {1, 9, 333}) {
            const HostTensor table = random_tensor(DType::bf16, Shape{700, columns}, 5),
                             wide = random(Shape{rows, columns + 8}, 6), gate = random(Shape{rows, 3}, 7);
            HostTensor places(DType::i32, Shape{rows});
            for (int64_t i = 0; i < rows; ++i)
                places.view.data<int32_t>()[i] = static_cast<int32_t>(i * 7 % 700);
            compare(
                fmt::format("vectors, {} x {}", rows, columns),
                [&](Side& s) {
                    const Tensor all = s.act(wide), open = s.act(gate).columns(1, 2);
                    Values values;
                    for (const int64_t first : {0, 4, 8}) {  // 4: not at 16 bytes
                        const Tensor x = all.columns(first, first + columns), y = all.columns(8, 8 + columns);
                        values.push_back(s.get(s.definition ? s.ops->Ops::add_gated(x, y, open)
                                                            : s.ops->add_gated(x, y, open)));
                        values.push_back(s.get(
                            s.ops->gather_rows(x, s.put(integers({0, static_cast<int32_t>(rows - 1)})))));
                    }
                    values.push_back(s.get(s.ops->gather_rows(s.put(table), s.put(places))));
                    return values;
                },
                2e-6, 8e-3);
        }
    const HostTensor table = random_tensor(DType::bf16, Shape{4, 64}, 5);
    const auto lost = gpu.get(gpu.ops->gather_rows(gpu.put(table), gpu.put(integers({4, -1, 3}))));
    EXPECT_TRUE(std::isnan(lost[0]) && std::isnan(lost[127]) && !std::isnan(lost[128]));
}

TEST_P(CudaOpsTest, SoftmaxAndTopK) {
    const HostTensor x = random(Shape{5, 333}, 1, 8.0), valid = integers({333, 1, 100, 7, 200});
    HostTensor ties(DType::f32, Shape{1, 7});
    const std::vector<float> tied{1, 3, 2, 3, 0, 3, 2};
    std::copy(tied.begin(), tied.end(), ties.view.data<float>());
    compare(
        "softmax",
        [&](Side& s) {
            const Tensor p = s.ops->softmax(s.act(x), s.put(valid));
            const Routing best = s.ops->top_k(p, 10), equal = s.ops->top_k(s.put(ties), 5);
            return Values{s.get(p), s.get(best.weights), s.get(best.ids), s.get(equal.ids)};
        },
        2e-6, 2e-6, false);
}

TEST_P(CudaOpsTest, LargestOfAVocabulary) {
    for (const auto& [rows, columns] :
         {std::pair<int64_t, int64_t>{1, 248320}, {3, 151936}, {9, 8193}, {2, 5000}}) {
        HostTensor x = random_tensor(DType::f32, Shape{rows, columns}, 5, 9.0);
        for (int64_t r = 0; r < rows; ++r)  // equal ones, in different pieces
            for (const int64_t c : {columns - 1, columns / 2, int64_t{17}}) x.view.row<float>(r)[c] = 9.5f;
        for (const int64_t k : {1, 2, 20, 64})
            compare(
                fmt::format("top {} of {}", k, columns),
                [&](Side& s) {
                    const Routing best = s.ops->top_k(s.put(x).columns(0, columns - 3), k);
                    const Routing whole = s.ops->top_k(s.put(x), k);
                    return Values{s.get(best.ids), s.get(best.weights), s.get(whole.ids),
                                  s.get(whole.weights)};
                },
                1e-9, 1e-9, false);
        x.view.row<float>(rows - 1)[columns / 3] = NAN;
        const auto weights = gpu.get(gpu.ops->top_k(gpu.put(x), 3).weights);
        EXPECT_TRUE(std::isnan(weights[static_cast<size_t>(3 * rows - 3)]));
        if (rows > 1) {
            EXPECT_FALSE(std::isnan(weights[0]));
        }
    }
}

TEST_P(CudaOpsTest, NormsAndRotation) {
    const HostTensor wide = random_tensor(DType::f32, Shape{120}, 3),
                     head = random_tensor(DType::f32, Shape{40}, 4),
                     frequencies = random_tensor(DType::f32, Shape{7}, 5);
    const HostTensor axes = integers({0, 1, 2, 0, 1, 2, 0});
    for (const int64_t rows : row_counts) {
        const HostTensor x = random(Shape{rows, 120}, 1, 3.0), y = random(Shape{rows, 120}, 2, 3.0);
        HostTensor positions(DType::i32, Shape{3, rows});
        for (int64_t i = 0; i < 3 * rows; ++i)
            positions.view.data<int32_t>()[i] = static_cast<int32_t>(i * 37 % 5000);
        compare(fmt::format("norms, {} rows", rows), [&](Side& s) {
            Ops& o = *s.ops;
            const Tensor a = s.act(x), b = s.act(y);
            const Rotary rotary{s.put(frequencies), s.put(axes), 1.25f};
            const Tensor at = s.put(positions);
            Values values;
            for (const Norm& norm : {Norm{s.put(wide), 1e-6f}, Norm{s.put(head), 1e-3f}}) {
                const auto [normal, sum] =
                    s.definition ? o.Ops::add_rms_norm(a, b, norm) : o.add_rms_norm(a, b, norm);
                for (const Tensor& t :
                     {s.definition ? o.Ops::rms_norm(a, norm) : o.rms_norm(a, norm),
                      s.definition ? o.Ops::gated_rms_norm(a, b, norm) : o.gated_rms_norm(a, b, norm), normal,
                      sum})
                    values.push_back(s.get(t));
            }
            values.push_back(s.get(s.definition ? o.Ops::l2_norm(a, 40, 1e-6f) : o.l2_norm(a, 40, 1e-6f)));
            values.push_back(s.get(s.definition ? o.Ops::swiglu(a, b) : o.swiglu(a, b)));
            values.push_back(
                s.get(s.definition ? o.Ops::rotate(a, 40, at, rotary) : o.rotate(a, 40, at, rotary)));
            return values;
        });
    }
}

TEST_P(CudaOpsTest, GatedAttention) {
    constexpr int64_t heads = 6, kv_heads = 2, dim = 32, tokens = 36, page = 16;
    const HostTensor projected = random(Shape{tokens, (2 * heads + 2 * kv_heads) * dim}, 4, 2.0);
    const HostTensor q_norm = random_tensor(DType::f32, Shape{dim}, 5),
                     k_norm = random_tensor(DType::f32, Shape{dim}, 6),
                     frequencies = random_tensor(DType::f32, Shape{5}, 7), axes = integers({0, 1, 2, 0, 1});
    const HostTensor keys = random(Shape{30, page, kv_heads, dim}, 91),
                     values = random(Shape{30, page, kv_heads, dim}, 92);
    HostTensor positions(DType::i32, Shape{3, tokens});
    for (int64_t i = 0; i < 3 * tokens; ++i) positions.view.data<int32_t>()[i] = static_cast<int32_t>(i % 29);
    std::vector<std::vector<int32_t>> blocks(3);
    for (int32_t i = 29; i >= 0; --i) blocks[static_cast<size_t>(i % 3)].push_back(i);
    const std::vector<SequenceSpan> spans{
        {0, 5, 0, 0, blocks[0]}, {5, 1, 130, 1, blocks[1]}, {6, 30, 100, 2, blocks[2]}};
    compare(
        "gated attention",
        [&](Side& s) {
            const Tensor x = s.act(projected);
            GatedAttentionInput input;
            input.query_and_gate = x.columns(0, 2 * heads * dim);
            input.key = x.columns(2 * heads * dim, (2 * heads + kv_heads) * dim);
            input.value = x.columns((2 * heads + kv_heads) * dim, (2 * heads + 2 * kv_heads) * dim);
            input.q_norm = {s.put(q_norm), 1e-6f};
            input.k_norm = {s.put(k_norm), 1e-6f};
            input.heads = heads, input.kv_heads = kv_heads, input.head_dim = dim;
            const Rotary rotary{s.put(frequencies), s.put(axes), 1.0f};
            const KvLayer cache{s.pages(keys), s.pages(values)};
            Batch batch;
            batch.positions = s.put(positions);
            batch.sequences = spans;
            const Tensor got = s.definition ? s.ops->Ops::gated_attention(input, rotary, cache, batch)
                                            : s.ops->gated_attention(input, rotary, cache, batch);
            return Values{s.get(got), s.get(cache.keys), s.get(cache.values)};
        },
        1e-5, 1e-2);
}

TEST_P(CudaOpsTest, ConvolutionAndDeltaRule) {
    constexpr int64_t kernel = 4, key_heads = 2, value_heads = 4, kd = 32, vd = 48;
    constexpr int64_t channels = 2 * key_heads * kd + value_heads * vd, tokens = 20;
    const HostTensor weight = random_tensor(DType::f32, Shape{channels, kernel}, 1),
                     conv = random_tensor(DType::f32, Shape{3, kernel - 1, channels}, 2),
                     recurrent = random_tensor(DType::f32, Shape{3, value_heads, kd, vd}, 6),
                     a_log = random_tensor(DType::f32, Shape{value_heads}, 3, 2.0),
                     dt_bias = random_tensor(DType::f32, Shape{value_heads}, 4, 2.0);
    const HostTensor x = random(Shape{tokens, channels}, 7),
                     ab = random(Shape{tokens, 2 * value_heads}, 8, 3.0);
    const std::vector<SequenceSpan> spans{{0, 12, 0, 2, {}}, {12, 7, 5, 0, {}}, {19, 1, 9, 1, {}}};
    compare(
        "recurrences",
        [&](Side& s) {
            Ops& o = *s.ops;
            const StateLayer state{s.put(conv), s.put(recurrent)};
            Batch batch;
            batch.sequences = spans;
            const Tensor qkv = s.definition ? o.Ops::causal_conv1d(s.act(x), s.put(weight), state, batch)
                                            : o.causal_conv1d(s.act(x), s.put(weight), state, batch);
            const Tensor gates = s.act(ab);
            DeltaRuleInput input;
            input.query = qkv.columns(0, key_heads * kd);
            input.key = qkv.columns(key_heads * kd, 2 * key_heads * kd);
            input.value = qkv.columns(2 * key_heads * kd, channels);
            input.a = gates.columns(0, value_heads), input.b = gates.columns(value_heads, 2 * value_heads);
            input.a_log = s.put(a_log), input.dt_bias = s.put(dt_bias);
            input.key_heads = key_heads, input.value_heads = value_heads, input.key_dim = kd,
            input.value_dim = vd;
            const Tensor y = s.definition ? o.Ops::gated_delta_rule(input, state, batch)
                                          : o.gated_delta_rule(input, state, batch);
            return Values{s.get(qkv), s.get(y), s.get(state.conv), s.get(state.recurrent)};
        },
        1e-5, 1e-2);
}

TEST_P(CudaOpsTest, DeltaNetLayerInOneOperator) {
    constexpr int64_t kernel = 4, key_heads = 2, value_heads = 4, dim = 128,
                      channels = (2 * key_heads + value_heads) * dim;
    const HostTensor taps = random_tensor(DType::f32, Shape{channels, kernel}, 1),
                     conv = random_tensor(DType::f32, Shape{5, kernel - 1, channels}, 2),
                     recurrent = random_tensor(DType::f32, Shape{5, value_heads, dim, dim}, 6),
                     a_log = random_tensor(DType::f32, Shape{value_heads}, 3, 2.0),
                     dt_bias = random_tensor(DType::f32, Shape{value_heads}, 4, 2.0),
                     norm = random_tensor(DType::f32, Shape{dim}, 5);
    // Decode of three sequences; a batch with a prompt.
    const std::vector<std::vector<SequenceSpan>> batches{
        {{0, 1, 9, 4, {}}, {1, 1, 0, 0, {}}, {2, 1, 70, 2, {}}}, {{0, 1, 9, 3, {}}, {1, 90, 0, 1, {}}}};
    for (const auto& spans : batches) {
        const int64_t tokens = spans.back().begin + spans.back().count;
        // All projections side by side, as a joined product gives them.
        const HostTensor all = random(Shape{tokens, channels + value_heads * dim + 2 * value_heads}, 7);
        compare(
            fmt::format("DeltaNet, {} tokens", tokens),
            [&](Side& s) {
                const Tensor x = s.act(all);
                const StateLayer state{s.put(conv), s.put(recurrent)};
                const int64_t gate = channels, b = gate + value_heads * dim, a = b + value_heads;
                GatedDeltaNetInput input{
                    x.columns(0, channels), s.put(taps), x.columns(gate, b), {}, {s.put(norm), 1e-6f}};
                input.rule.b = x.columns(b, a), input.rule.a = x.columns(a, a + value_heads);
                input.rule.a_log = s.put(a_log), input.rule.dt_bias = s.put(dt_bias);
                input.rule.key_heads = key_heads, input.rule.value_heads = value_heads;
                input.rule.key_dim = input.rule.value_dim = dim;
                Batch batch;
                batch.sequences = spans;
                const Tensor y = s.definition ? s.ops->Ops::gated_delta_net(input, state, batch)
                                              : s.ops->gated_delta_net(input, state, batch);
                return Values{s.get(y), s.get(state.conv), s.get(state.recurrent)};
            },
            1e-5, 1.5e-2);
    }
}

TEST_P(CudaOpsTest, LinearAndExperts) {
    constexpr int64_t hidden = 128, intermediate = 64, experts = 13, k = 4;
    using cpu::testing::dense_linear;
    using cpu::testing::fp8_linear;
    using cpu::testing::int4_linear;
    auto expert = [&](int64_t i) {
        const auto key = static_cast<uint64_t>(1000 + 100 * i);
        return HostExpert{int4_linear(intermediate, hidden, key), int4_linear(intermediate, hidden, key + 10),
                          int4_linear(hidden, intermediate, key + 20, {.group = 64})};
    };
    const std::vector<HostLinear> weights{
        int4_linear(96, hidden, 1), dense_linear(96, hidden, DType::bf16, 2), fp8_linear(96, hidden, 3, 32)};
    const HostLinear router = dense_linear(experts, hidden, DType::bf16, 5);
    for (const int64_t tokens : row_counts) {
        const HostTensor x = random(Shape{tokens, hidden}, 6);
        compare(
            fmt::format("products, {} tokens", tokens),
            [&](Side& s) {
                Ops& o = *s.ops;
                const Tensor a = s.act(x);
                Values values;
                for (const HostLinear& weight : weights)
                    values.push_back(s.get(o.linear(a, s.machine->prepare(weight))));
                values.push_back(s.get(o.linear_f32(a, s.machine->prepare(router))));
                const Linear gate = s.machine->prepare(router);
                const Routing routing = s.definition ? o.Ops::route(a, gate, k) : o.route(a, gate, k);
                const Experts all = s.machine->prepare_experts(experts, hidden, intermediate, expert);
                values.push_back(s.get(o.expert(a, all, 5)));
                // The routing of one side for both: a tie that rounding breaks must not send a token
                // elsewhere.
                HostTensor ids(DType::i32, Shape{tokens, k});
                const HostTensor shares = random_tensor(DType::f32, Shape{tokens, k}, 9);
                for (int64_t i = 0; i < tokens * k; ++i)
                    ids.view.data<int32_t>()[i] = static_cast<int32_t>((i / k * 5 + i % k * 3) % experts);
                const Routing fixed{s.put(ids), s.put(shares)};
                values.push_back(s.get(s.definition ? o.Ops::moe(a, fixed, all) : o.moe(a, fixed, all)));
                values.push_back(s.get(o.sum_columns(routing.weights)));
                return values;
            },
            1e-5, 1e-2, tokens <= 33);
    }
}

TEST_P(CudaOpsTest, SharedExpertLiesBesideTheOthers) {
    constexpr int64_t hidden = 256, intermediate = 128, experts = 13, k = 4;
    using cpu::testing::dense_linear;
    using cpu::testing::int4_linear;
    auto expert = [&](int64_t i) {
        const auto key = static_cast<uint64_t>(1000 + 100 * i);
        return HostExpert{int4_linear(intermediate, hidden, key), int4_linear(intermediate, hidden, key + 10),
                          int4_linear(hidden, intermediate, key + 20)};
    };
    for (const int64_t tokens : row_counts) {
        const HostTensor x = random(Shape{tokens, hidden}, 6), gate = random(Shape{tokens, 1}, 7);
        HostTensor ids(DType::i32, Shape{tokens, k});
        const HostTensor shares = random_tensor(DType::f32, Shape{tokens, k}, 9);
        for (int64_t i = 0; i < tokens * k; ++i)
            ids.view.data<int32_t>()[i] = static_cast<int32_t>((i / k * 5 + i % k * 3) % experts);
        compare(
            fmt::format("{} tokens", tokens),
            [&](Side& s) {
                Ops& o = *s.ops;
                const Experts all = s.machine->prepare_experts(experts, hidden, intermediate, expert);
                Experts shared =
                    s.machine->prepare_experts(1, hidden, intermediate, [&](int64_t) { return expert(77); });
                const PreparedExperts* before = shared.get();
                s.machine->join_shared(all, shared);
                EXPECT_EQ(shared.get() != before, &s == &gpu) << "joined on the GPU alone";
                Linear router = s.machine->prepare(dense_linear(experts, hidden, DType::bf16, 5)),
                       shared_gate = s.machine->prepare(dense_linear(1, hidden, DType::bf16, 8));
                s.machine->join(std::array{&router, &shared_gate});
                const Routing fixed{s.put(ids), s.put(shares)};
                const Tensor a = s.act(x), g = s.act(gate);
                const auto [routing, own_gate] = s.definition
                                                     ? o.Ops::route_with_shared(a, router, shared_gate, k)
                                                     : o.route_with_shared(a, router, shared_gate, k);
                return Values{s.get(own_gate),
                              s.get(o.sum_columns(routing.weights)),
                              s.get(o.linear(a, shared_gate)),
                              s.get(o.linear_f32(a, router)),
                              s.get(s.definition ? o.Ops::moe_with_shared(a, fixed, all, shared, g)
                                                 : o.moe_with_shared(a, fixed, all, shared, g)),
                              s.get(o.expert(a, shared, 0)),
                              s.get(o.expert(a, all, experts - 1))};
            },
            1e-5, 1e-2, tokens <= 33);
    }
}

TEST_P(CudaOpsTest, JoinedProductsAreTheSameNumbers) {
    constexpr int64_t hidden = 256;
    using cpu::testing::int4_linear;
    const std::vector<HostLinear> weights{int4_linear(64, hidden, 1), int4_linear(16, hidden, 2),
                                          int4_linear(96, hidden, 3)};
    for (const int64_t tokens : row_counts) {
        const HostTensor x = random(Shape{tokens, hidden}, 6), gate = random(Shape{tokens, 1}, 7);
        compare(
            fmt::format("joined, {} tokens", tokens),
            [&](Side& s) {
                std::vector<Linear> parts;
                for (const HostLinear& weight : weights) parts.push_back(s.machine->prepare(weight));
                std::vector<Linear*> slots;
                for (Linear& part : parts) slots.push_back(&part);
                s.machine->join(slots);
                const Tensor a = s.act(x);
                Values values;
                for (const Tensor& y :
                     s.definition ? s.ops->Ops::linears(a, parts) : s.ops->linears(a, parts))
                    values.push_back(s.get(y));
                for (const Linear& part : parts) values.push_back(s.get(s.ops->linear(a, part)));
                const Tensor open = s.act(gate);
                values.push_back(
                    s.get(s.definition ? s.ops->Ops::add_gated(a, a, open) : s.ops->add_gated(a, a, open)));
                return values;
            },
            1e-5, 1e-2);
    }
    // Formats that differ stay apart.
    Linear one = gpu.machine->prepare(weights[0]),
           other = gpu.machine->prepare(cpu::testing::dense_linear(64, hidden, DType::bf16, 4));
    const Linear before = one;
    Linear* slots[] = {&one, &other};
    gpu.machine->join(slots);
    EXPECT_EQ(one, before);
}

/// A step of a few operators over fixed addresses, done and recorded.
TEST_P(CudaOpsTest, RecordedStepRepeatsItself) {
    const HostTensor conv = random_tensor(DType::f32, Shape{4, 3, 64}, 2),
                     weight = random_tensor(DType::f32, Shape{64, 4}, 1),
                     norm = random_tensor(DType::f32, Shape{64}, 3);
    Side eager(make_cuda_machine(0, GetParam()));
    std::vector<Tensor> states{gpu.put(conv), eager.put(conv)}, taps{gpu.put(weight), eager.put(weight)},
        norms{gpu.put(norm), eager.put(norm)};
    std::unique_ptr<Recording> recording;
    Tensor recorded_result;
    for (int step = 0; step < 5; ++step) {
        const HostTensor x = random(Shape{4, 64}, static_cast<uint64_t>(10 + step));
        std::vector<SequenceSpan> spans;
        for (int32_t i = 0; i < 4; ++i)  // the last one is padding; slots change from step to step
            spans.push_back({i, i < 3 ? 1 : 0, 7 + step, i < 3 ? (i + step) % 4 : 0, {}});
        std::vector<std::vector<float>> results;
        for (Side* side : {&gpu, &eager}) {
            const size_t which = side == &gpu ? 0 : 1;
            Ops& o = *side->ops;
            o.begin_step();
            const std::vector<bfloat16> narrow(x.view.data<float>(), x.view.data<float>() + 256);
            const bool wide = GetParam() == ComputeType::f32;
            const Tensor input = o.upload(wide ? x.view.raw() : static_cast<const void*>(narrow.data()),
                                          wide ? DType::f32 : DType::bf16, Shape{4, 64});
            Batch batch;
            batch.token_ids = o.upload(std::vector<int32_t>(4, 0).data(), DType::i32, Shape{4});
            batch.sequences = spans;
            batch.length_bound = 64;
            o.stage(batch);
            Tensor result;
            auto body = [&] {
                o.begin_layer(0);
                const StateLayer state{states[which], {}};
                const Tensor y = o.causal_conv1d(input, taps[which], state, batch);
                o.begin_layer(1);
                result = o.add(o.rms_norm(y, {norms[which], 1e-6f}), input);
            };
            if (side == &gpu && step > 0) {
                if (!recording) {
                    recording = o.record(body);
                    ASSERT_NE(recording, nullptr);
                    recorded_result = result;
                }
                recording->replay();
                result = recorded_result;
            } else {
                body();
            }
            results.push_back(side->get(result.rows(0, 3)));
            results.push_back(side->get(states[which]));
        }
        EXPECT_TRUE(cpu::testing::same_bits(results[0], results[2])) << step;
        EXPECT_TRUE(cpu::testing::same_bits(results[1], results[3])) << step;
    }
}

TEST_P(CudaOpsTest, RefusesToRecordWhatWaits) {
    const HostTensor x = random(Shape{2, 8}, 1);
    const Tensor a = gpu.act(x);
    EXPECT_THROW(gpu.ops->record([&] {
        gpu.ops->upload(x.view.raw(), DType::f32, Shape{2, 8});
    }),
                 InternalError);
    std::vector<float> host(16);
    EXPECT_THROW(gpu.ops->record([&] { gpu.ops->download(a, host.data()); }), InternalError);
    EXPECT_EQ(gpu.get(gpu.ops->scale(a, 2.0f)), gpu.get(gpu.ops->add(a, a)));  // and goes on
}

TEST_P(CudaOpsTest, UploadsConvertAndArrive) {
    // More than the pieces of the pinned buffers, rows that are not whole pieces, strided sources.
    for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{1, 7}, {300, 70001}, {3, 1}}) {
        for (const DType from : {DType::f32, DType::bf16, DType::f16})
            for (const DType to : {DType::f32, DType::bf16}) {
                const HostTensor wide = random_tensor(from, Shape{rows, columns + 5}, 3);
                const HostTensor part = wide.columns(2, 2 + columns);
                const Tensor got = gpu.put(part, to), wanted = cpu.put(part, to);
                const auto a = gpu.get(got), b = cpu.get(wanted);
                EXPECT_TRUE(cpu::testing::same_bits(a, b)) << rows << " x " << columns;
            }
    }
    std::vector<int32_t> many(300001);
    std::iota(many.begin(), many.end(), 0);
    const Tensor numbers = gpu.ops->upload(many.data(), DType::i32, Shape{1, 300001});
    std::vector<int32_t> back(many.size());
    gpu.ops->download(numbers, back.data());
    EXPECT_EQ(many, back);
}

INSTANTIATE_TEST_SUITE_P(Types, CudaOpsTest, ::testing::Values(ComputeType::f32, ComputeType::bf16),
                         [](const auto& test) { return test.param == ComputeType::f32 ? "f32" : "bf16"; });

TEST(CudaMachineTest, SaysWhatItIsAndRefusesTooMuch) {
    const auto machine = make_cuda_machine(0, ComputeType::bf16);
    EXPECT_EQ(machine->name().substr(0, 8), "cuda:0 (");
    EXPECT_LE(machine->available_memory(), machine->total_memory());
    try {
        machine->allocate(size_t{1} << 46);
        ADD_FAILURE() << "64 TiB were given";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::out_of_memory);
        EXPECT_NE(std::string(error.what()).find("65536.00 GiB"), std::string::npos) << error.what();
    }
    const Buffer zeroed = machine->allocate(1000);  // and goes on
    std::vector<uint8_t> bytes(1000, 1);
    machine->download(zeroed.tensor(DType::u8, Shape{1000}), bytes.data());
    EXPECT_EQ(bytes, std::vector<uint8_t>(1000, 0));
    const MachinePeaks peaks = machine->measure_peaks();
    EXPECT_GT(peaks.read_bytes_per_second, 1e11);
    EXPECT_GT(peaks.flops_per_second, 1e12);
    RecordProperty("copy_GB_per_s", std::to_string(peaks.read_bytes_per_second / 1e9));
    RecordProperty("bf16_TFLOP_per_s", std::to_string(peaks.flops_per_second / 1e12));
}

}  // namespace
}  // namespace sheaf::cuda
