// Sampling on the CPU against its defining body, and what becomes of tokens that stay on the machine.
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "backend/cpu/cpu_machine.h"
#include "base/counter_random.h"
#include "ops/ops.h"

namespace sheaf::cpu {
namespace {

struct Downloaded {
    std::vector<SampledRow> rows;
    std::vector<int32_t> best_ids, chosen;
    std::vector<float> best_logprobs;
};

constexpr int64_t rows = 9, vocabulary = 1003, best = 4, slots = 5;

struct SamplingTest : testing::Test {
    std::unique_ptr<Machine> machine = make_cpu_machine(ComputeType::bf16, 2);
    std::unique_ptr<Ops> ops = machine->make_ops();
    std::vector<float> logits;
    SamplingRecords records;

    SamplingTest() {
        for (uint64_t i = 0; i < rows * vocabulary; ++i)
            logits.push_back(static_cast<float>(8 * counter_random_uniform(3, i)));
        logits[3 * vocabulary + 17] = std::numeric_limits<float>::quiet_NaN();
        for (int32_t i = 0; i < rows; ++i) {
            RowSampling row;
            row.uniform = counter_random_uniform(4, static_cast<uint64_t>(i));
            row.temperature = static_cast<float>(i % 3);
            row.top_k = i % 4 * 10;
            row.top_p = i % 2 == 0 ? 0.9f : 1.0f;
            row.repetition_penalty = 1.5f;
            row.first_edit = static_cast<int32_t>(records.edits.size());
            row.edits = i;
            for (int32_t e = 0; e < i; ++e) records.edits.push_back({7 * e + i, 4.0f, 0.5f, e % 3});
            row.mask = i == 5 ? 0 : -1;
            row.limit = i == 6 ? 500 : 0;
            row.slot = i == 8 ? 1 : i % 2 == 0 ? -1 : i / 2;
            records.rows.push_back(row);
        }
        for (int64_t word = 0; word < (vocabulary + 31) / 32; ++word)
            records.masks.push_back(
                static_cast<uint32_t>(counter_random_bits(5, static_cast<uint64_t>(word))));
        records.logprobs = best;
    }

    template <class T>
    std::vector<T> get(const Tensor& x) {
        std::vector<T> values(x.bytes() / sizeof(T));
        ops->download(x, values.data());
        return values;
    }
    template <class T>
    Tensor put(const std::vector<T>& values) {
        return ops->upload(values.data(), DType::u8,
                           Shape{std::ssize(values), static_cast<int64_t>(sizeof(T))});
    }

    Downloaded run(bool definition) {
        ops->begin_step();
        const std::vector<int32_t> nothing(slots, -1);
        const SamplingBatch batch{
            .rows = put(records.rows),
            .edits = put(records.edits),
            .masks = ops->upload(records.masks.data(), DType::i32, Shape{1, std::ssize(records.masks)}),
            .chosen = ops->upload(nothing.data(), DType::i32, Shape{slots}),
            .logprobs = records.logprobs};
        const Tensor values = ops->upload(logits.data(), DType::f32, Shape{rows, vocabulary});
        const Sampled sampled = definition ? ops->Ops::sample(values, batch) : ops->sample(values, batch);
        return {get<SampledRow>(sampled.rows), get<int32_t>(sampled.best_ids), get<int32_t>(batch.chosen),
                get<float>(sampled.best_logprobs)};
    }
};

TEST_F(SamplingTest, DoesWhatTheDefinitionSays) {
    const Downloaded wanted = run(true), got = run(false);
    for (size_t i = 0; i < rows; ++i) {
        EXPECT_EQ(got.rows[i].token, wanted.rows[i].token) << i;
        EXPECT_EQ(got.rows[i].status, wanted.rows[i].status) << i;
        EXPECT_EQ(got.rows[i].logprob, wanted.rows[i].logprob) << i;
        EXPECT_EQ(got.rows[i].rank, wanted.rows[i].rank) << i;
        EXPECT_EQ(got.rows[i].status, i == 3 ? SamplingStatus::not_finite : SamplingStatus::chosen) << i;
    }
    EXPECT_EQ(got.best_ids, wanted.best_ids);
    EXPECT_EQ(got.best_logprobs, wanted.best_logprobs);
    EXPECT_EQ(got.chosen, wanted.chosen);
    EXPECT_EQ(got.chosen[1], got.rows[8].token) << "the later row counts";
    EXPECT_EQ(got.chosen[4], -1) << "a slot that nobody named";
}

TEST_F(SamplingTest, TokensChosenBeforeAreKnown) {
    const std::vector<int32_t> kept{70, 71, 72}, tokens{5, -1, 0, -3, -2};
    ops->begin_step();
    const Tensor chosen = ops->upload(kept.data(), DType::i32, Shape{3}),
                 ids = ops->upload(tokens.data(), DType::i32, Shape{5});
    const std::vector<int32_t> wanted{5, 70, 0, 72, 71};
    EXPECT_EQ(get<int32_t>(ops->known_tokens(ids, chosen)), wanted);
    EXPECT_EQ(get<int32_t>(ops->Ops::known_tokens(ids, chosen)), wanted);
}

TEST_F(SamplingTest, AReadingOutlivesItsStep) {
    ops->begin_step();
    const std::vector<int32_t> values{1, 2, 3};
    const auto reading = ops->read_later(ops->upload(values.data(), DType::i32, Shape{3}));
    ops->begin_step();
    const std::vector<int32_t> others{7, 8, 9};
    ops->upload(others.data(), DType::i32, Shape{3});
    const auto bytes = reading->wait();
    ASSERT_EQ(bytes.size(), sizeof(int32_t) * values.size());
    EXPECT_EQ(std::memcmp(bytes.data(), values.data(), bytes.size()), 0);
}

}  // namespace
}  // namespace sheaf::cpu
