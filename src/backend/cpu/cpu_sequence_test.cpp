#include <algorithm>
#include <numeric>

#include "backend/cpu/testing.h"

namespace sheaf::cpu {
namespace {

using namespace testing;

/// A sequence's tokens [context, context + count) at rows from `begin`.
struct Run {
    int32_t begin, count, context, slot;
};

/// Pages and states of a few sequences, and batches over them.
struct Caches {
    static constexpr int64_t block_size = 16;
    HostTensor keys, values, conv, recurrent;
    std::vector<std::vector<int32_t>> blocks;  // by slot, scattered over the pages

    Caches(DType dtype, int64_t slots, int64_t pages_each, int64_t kv_heads, int64_t dim)
        : keys(random_tensor(dtype, Shape{slots * pages_each, block_size, kv_heads, dim}, 91)),
          values(random_tensor(dtype, Shape{slots * pages_each, block_size, kv_heads, dim}, 92)) {
        for (int64_t slot = 0; slot < slots; ++slot) {
            blocks.emplace_back();
            for (int64_t i = 0; i < pages_each; ++i)
                blocks.back().push_back(static_cast<int32_t>((pages_each - 1 - i) * slots + slot));
        }
    }
    KvLayer kv() const { return {keys.view, values.view}; }

    std::vector<SequenceSpan> spans(const std::vector<Run>& runs) const {
        std::vector<SequenceSpan> result;
        for (const Run& run : runs)
            result.push_back({run.begin, run.count, run.context, run.slot,
                              run.slot < std::ssize(blocks) ? blocks[static_cast<size_t>(run.slot)]
                                                            : std::span<const int32_t>{}});
        return result;
    }
};

class CpuSequenceTest : public EveryIsa {};

struct HeadShape {
    int64_t heads, kv_heads, dim;
};
const std::vector<HeadShape> head_shapes = {{4, 2, 32}, {16, 1, 40}, {6, 1, 24}, {20, 1, 8}, {3, 3, 7}};

TEST_P(CpuSequenceTest, AttentionEqualsItsDefinition) {
    const auto cpu = machine();
    const auto ops = cpu->make_ops();
    for (const DType dtype : {DType::f32, DType::bf16})
        for (const auto& [heads, kv_heads, dim] : head_shapes) {
            const Caches caches(dtype, 3, 10, kv_heads, dim);
            const auto spans = caches.spans({{0, 5, 0, 0}, {5, 1, 130, 1}, {6, 30, 100, 2}});
            Batch batch;
            batch.sequences = spans;
            const HostTensor query = random_tensor(DType::f32, Shape{36, heads * dim}, 8, 2.0);
            const Tensor got = ops->attention(query.view, caches.kv(), batch, heads);
            const Tensor wanted = ops->Ops::attention(query.view, caches.kv(), batch, heads);
            EXPECT_LT(relative_error(got, as_doubles(wanted)), 1e-6) << heads << " " << dim;
        }
}

TEST_P(CpuSequenceTest, AttentionOverManySpansIsTheSameForAnyDivision) {
    constexpr int64_t heads = 4, kv_heads = 2, dim = 16, length = 2500;
    const Caches caches(DType::bf16, 1, 160, kv_heads, dim);
    const HostTensor query = random_tensor(DType::f32, Shape{length, heads * dim}, 8, 2.0);
    const auto one = machine(1), three = machine(3);
    const auto serial = one->make_ops(), parallel = three->make_ops();
    auto attend = [&](Ops& ops, int32_t begin, int32_t count) {
        const auto spans = caches.spans({{0, count, begin, 0}});
        Batch batch;
        batch.sequences = spans;
        return ops.attention(query.view.rows(begin, begin + count), caches.kv(), batch, heads);
    };
    const Tensor whole = attend(*serial, 0, length);
    const auto last = caches.spans({{0, 40, length - 40, 0}});
    Batch batch;
    batch.sequences = last;
    const Tensor wanted =
        serial->Ops::attention(query.view.rows(length - 40, length), caches.kv(), batch, heads);
    const auto got = floats_of(whole.rows(length - 40, length)), exact = floats_of(wanted);
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], exact[i], 2e-7);  // values are below 1
    for (const int32_t begin : {0, 1, 63, 64, 1023, 1024, 1025, 2048, 2499})
        for (Ops* ops : {serial.get(), parallel.get()}) {
            const Tensor alone = attend(*ops, begin, 1);
            EXPECT_TRUE(same_bits(floats_of(alone), floats_of(whole.rows(begin, begin + 1)))) << begin;
        }
    const Tensor chunk = attend(*parallel, 1000, 77);
    EXPECT_TRUE(same_bits(floats_of(chunk), floats_of(whole.rows(1000, 1077))));
}

TEST_P(CpuSequenceTest, GatedAttentionEqualsItsDefinition) {
    constexpr int64_t heads = 6, kv_heads = 2, dim = 32, tokens = 21;
    const auto cpu = machine();
    const auto ops = cpu->make_ops();
    for (const DType dtype : {DType::f32, DType::bf16}) {
        const Caches mine(dtype, 2, 6, kv_heads, dim), other(dtype, 2, 6, kv_heads, dim);
        const HostTensor projected =
            random_tensor(DType::f32, Shape{tokens, (2 * heads + 2 * kv_heads) * dim}, 4, 2.0);
        const HostTensor q_norm = random_tensor(DType::f32, Shape{dim}, 5),
                         k_norm = random_tensor(DType::f32, Shape{dim}, 6);
        const HostTensor frequencies = random_tensor(DType::f32, Shape{5}, 7),
                         axes = integers({0, 1, 2, 0, 1});
        HostTensor positions(DType::i32, Shape{3, tokens});
        for (int64_t i = 0; i < 3 * tokens; ++i)
            positions.view.data<int32_t>()[i] = static_cast<int32_t>(i % 29);
        GatedAttentionInput input;
        input.query_and_gate = projected.view.columns(0, 2 * heads * dim);
        input.key = projected.view.columns(2 * heads * dim, (2 * heads + kv_heads) * dim);
        input.value = projected.view.columns((2 * heads + kv_heads) * dim, (2 * heads + 2 * kv_heads) * dim);
        input.q_norm = {q_norm.view, 1e-6f};
        input.k_norm = {k_norm.view, 1e-6f};
        input.heads = heads;
        input.kv_heads = kv_heads;
        input.head_dim = dim;
        const Rotary rotary{frequencies.view, axes.view, 1.0f};
        const auto spans = mine.spans({{0, 20, 31, 1}, {20, 1, 50, 0}});
        Batch batch;
        batch.positions = positions.view;
        batch.sequences = spans;
        const Tensor got = ops->gated_attention(input, rotary, mine.kv(), batch);
        const Tensor wanted = ops->Ops::gated_attention(input, rotary, other.kv(), batch);
        // A key may round to the neighbouring bf16 where the two differ in the last place of f32.
        EXPECT_LT(relative_error(got, as_doubles(wanted)), dtype == DType::f32 ? 1e-6 : 1e-4);
        const int64_t rows = mine.keys.view.size(0) * Caches::block_size;
        auto pages = [&](const HostTensor& t) {
            return ops->cast(t.view.view(Shape{rows, kv_heads * dim}), DType::f32);
        };
        EXPECT_LT(relative_error(pages(mine.keys), as_doubles(pages(other.keys))),
                  dtype == DType::f32 ? 1e-6 : 1e-4);
        EXPECT_TRUE(same_bits(floats_of(pages(mine.values)), floats_of(pages(other.values))));
    }
}

StateLayer states(const HostTensor& conv, const HostTensor& recurrent) {
    return {conv.view, recurrent.view};
}

TEST_P(CpuSequenceTest, ConvolutionEqualsItsDefinition) {
    const auto cpu = machine();
    const auto ops = cpu->make_ops();
    for (const int64_t kernel : {2, 3, 4, 7})
        for (const int64_t channels : {5, 48, 333}) {
            const HostTensor weight = random_tensor(DType::f32, Shape{channels, kernel}, 1);
            const HostTensor mine = random_tensor(DType::f32, Shape{3, kernel - 1, channels}, 2),
                             other = random_tensor(DType::f32, Shape{3, kernel - 1, channels}, 2);
            const HostTensor wide = random_tensor(DType::f32, Shape{20, channels + 9}, 3);
            const Tensor x = wide.view.columns(4, 4 + channels);
            std::vector<SequenceSpan> spans{{0, 12, 0, 2, {}}, {12, 7, 5, 0, {}}, {19, 1, 9, 1, {}}};
            Batch batch;
            batch.sequences = spans;
            const Tensor got = ops->causal_conv1d(x, weight.view, states(mine, {}), batch);
            const Tensor wanted = ops->Ops::causal_conv1d(x, weight.view, states(other, {}), batch);
            EXPECT_LT(relative_error(got, as_doubles(wanted)), 1e-6) << kernel << " " << channels;
            EXPECT_TRUE(same_bits(floats_of(mine.view), floats_of(other.view))) << kernel << " " << channels;
        }
}

struct DeltaCase {
    int64_t key_heads, value_heads, key_dim, value_dim;
};

/// The tensors of a DeltaRuleInput; q, k, v are columns of one projection.
struct DeltaData {
    HostTensor qkv, ab, a_log, dt_bias;
    DeltaRuleInput input;

    DeltaData(const DeltaCase& c, int64_t tokens)
        : qkv(random_tensor(DType::f32,
                            Shape{tokens, 2 * c.key_heads * c.key_dim + c.value_heads * c.value_dim}, 1)),
          ab(random_tensor(DType::f32, Shape{tokens, 2 * c.value_heads}, 2, 3.0)),
          a_log(random_tensor(DType::f32, Shape{c.value_heads}, 3, 2.0)),
          dt_bias(random_tensor(DType::f32, Shape{c.value_heads}, 4, 2.0)) {
        const int64_t k = c.key_heads * c.key_dim;
        input.query = qkv.view.columns(0, k);
        input.key = qkv.view.columns(k, 2 * k);
        input.value = qkv.view.columns(2 * k, qkv.view.size(1));
        input.a = ab.view.columns(0, c.value_heads);
        input.b = ab.view.columns(c.value_heads, 2 * c.value_heads);
        input.a_log = a_log.view;
        input.dt_bias = dt_bias.view;
        input.key_heads = c.key_heads;
        input.value_heads = c.value_heads;
        input.key_dim = c.key_dim;
        input.value_dim = c.value_dim;
    }
    DeltaRuleInput rows(int64_t begin, int64_t end) const {
        DeltaRuleInput part = input;
        for (Tensor* t : {&part.query, &part.key, &part.value, &part.a, &part.b}) *t = t->rows(begin, end);
        return part;
    }
};

TEST_P(CpuSequenceTest, DeltaRuleEqualsItsDefinition) {
    const auto cpu = machine();
    const auto ops = cpu->make_ops();
    for (const DType kept : {DType::f32, DType::bf16})
        for (const DeltaCase& c :
             {DeltaCase{2, 4, 128, 128}, DeltaCase{1, 3, 16, 24}, DeltaCase{2, 2, 33, 90}}) {
            const DeltaData data(c, 20);
            const Shape shape{3, c.value_heads, c.key_dim, c.value_dim};
            const HostTensor mine = random_tensor(kept, shape, 6), other = random_tensor(kept, shape, 6);
            std::vector<SequenceSpan> spans{{0, 12, 0, 2, {}}, {12, 7, 5, 0, {}}, {19, 1, 9, 1, {}}};
            Batch batch;
            batch.sequences = spans;
            const Tensor got = ops->gated_delta_rule(data.input, states({}, mine), batch);
            const Tensor wanted = ops->Ops::gated_delta_rule(data.input, states({}, other), batch);
            EXPECT_LT(relative_error(got, as_doubles(wanted)), 2e-6);
            // In bf16 a few numbers fall to the other side.
            const Shape rows{3 * c.value_heads * c.key_dim, c.value_dim};
            auto floats = [&](const HostTensor& x) { return ops->cast(x.view.view(rows), DType::f32); };
            EXPECT_LT(relative_error(floats(mine), as_doubles(floats(other))),
                      kept == DType::bf16 ? 1e-4 : 2e-6);
        }
}

TEST_P(CpuSequenceTest, RecurrencesGiveTheSameBitsForAnyChunks) {
    const DeltaCase c{2, 4, 64, 48};
    constexpr int64_t tokens = 40, channels = 100;
    const DeltaData data(c, tokens);
    const HostTensor x = random_tensor(DType::f32, Shape{tokens, channels}, 9),
                     weight = random_tensor(DType::f32, Shape{channels, 4}, 10);
    std::vector<std::vector<float>> all;
    for (const int threads : {1, 3})
        for (const int64_t step : {40, 1, 2, 13}) {
            const auto cpu = machine(threads);
            const auto ops = cpu->make_ops();
            const HostTensor recurrent = random_tensor(DType::f32,
                                                       Shape{1, c.value_heads, c.key_dim, c.value_dim}, 6),
                             conv = random_tensor(DType::f32, Shape{1, 3, channels}, 7);
            std::vector<float> result;
            auto keep = [&](const Tensor& t) {
                const auto values = floats_of(t);
                result.insert(result.end(), values.begin(), values.end());
            };
            std::vector<float> convolved;
            for (int64_t begin = 0; begin < tokens; begin += step) {
                const int64_t end = std::min<int64_t>(tokens, begin + step);
                std::vector<SequenceSpan> spans{
                    {0, static_cast<int32_t>(end - begin), static_cast<int32_t>(begin), 0, {}}};
                Batch batch;
                batch.sequences = spans;
                keep(ops->gated_delta_rule(data.rows(begin, end), states(conv, recurrent), batch));
                const auto part = floats_of(
                    ops->causal_conv1d(x.view.rows(begin, end), weight.view, states(conv, recurrent), batch));
                convolved.insert(convolved.end(), part.begin(), part.end());
            }
            result.insert(result.end(), convolved.begin(), convolved.end());
            keep(recurrent.view);
            keep(conv.view);
            all.push_back(result);
        }
    for (const auto& result : all) EXPECT_TRUE(same_bits(all[0], result));
}

SHEAF_FOR_EVERY_ISA(CpuSequenceTest);

TEST(CpuSequence, FusedInstructionSetsGiveEqualBits) {
    std::vector<std::vector<float>> results;
    for (const Isa isa : fused_isas()) {
        const auto cpu = make_cpu_machine(ComputeType::f32, 2, isa);
        const auto ops = cpu->make_ops();
        std::vector<float> all;
        auto keep = [&](const Tensor& t) {
            const auto values = floats_of(t);
            all.insert(all.end(), values.begin(), values.end());
        };
        const DeltaCase c{2, 4, 33, 90};
        const DeltaData data(c, 9);
        const HostTensor recurrent(DType::f32, Shape{1, c.value_heads, c.key_dim, c.value_dim}),
            conv(DType::f32, Shape{1, 3, 45});
        std::vector<SequenceSpan> spans{{0, 9, 0, 0, {}}};
        Batch batch;
        batch.sequences = spans;
        keep(ops->gated_delta_rule(data.input, states(conv, recurrent), batch));
        keep(recurrent.view);
        const HostTensor x = random_tensor(DType::f32, Shape{9, 45}, 9),
                         weight = random_tensor(DType::f32, Shape{45, 4}, 10);
        keep(ops->causal_conv1d(x.view, weight.view, states(conv, recurrent), batch));
        for (const auto& [heads, kv_heads, dim] : head_shapes) {
            const Caches caches(DType::bf16, 1, 80, kv_heads, dim);
            const auto runs = caches.spans({{0, 9, 1200, 0}});
            batch.sequences = runs;
            const HostTensor query = random_tensor(DType::f32, Shape{9, heads * dim}, 8, 2.0);
            keep(ops->attention(query.view, caches.kv(), batch, heads));
        }
        results.push_back(all);
    }
    for (const auto& result : results) EXPECT_TRUE(same_bits(results[0], result));
}

}  // namespace
}  // namespace sheaf::cpu
