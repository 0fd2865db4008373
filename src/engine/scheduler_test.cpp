#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <numeric>

#include "ops/testing/null_machine.h"

namespace sheaf {
namespace {

TextConfig small_config() {
    TextConfig config;
    config.layer_types = {LayerKind::full_attention, LayerKind::linear_attention};
    config.num_key_value_heads = 1;
    config.head_dim = 2;
    config.linear_num_key_heads = config.linear_num_value_heads = 1;
    config.linear_key_head_dim = config.linear_value_head_dim = 2;
    config.linear_conv_kernel_dim = 4;
    return config;
}

struct SchedulerTest : testing::Test {
    NullMachine machine;
    CachePool pool{small_config(), machine, /*slots=*/3, /*blocks=*/8, /*block_size=*/4};
    Scheduler scheduler{pool, /*max_num_seqs=*/3, /*max_num_batched_tokens=*/10};

    Sequence* add(int32_t tokens, int32_t prompt_logprobs = -1) {
        auto sequence = std::make_unique<Sequence>();
        sequence->ticket = std::make_shared<Ticket>();
        sequence->tokens.resize(static_cast<size_t>(tokens));
        sequence->prompt_size = tokens;
        sequence->params.prompt_logprobs = prompt_logprobs;
        Sequence* raw = sequence.get();
        scheduler.add(std::move(sequence));
        return raw;
    }
    /// What the engine does after a step.
    static void advance(const std::vector<Slice>& slices) {
        for (const Slice& slice : slices) {
            const bool completes = slice.completes();
            slice.sequence->cached += slice.count;
            if (completes) slice.sequence->tokens.push_back(0);
        }
    }
};

TEST_F(SchedulerTest, PrefillsInChunksUnderTheBudget) {
    Sequence* a = add(14);
    auto slices = scheduler.plan();
    ASSERT_EQ(slices.size(), 1u);
    EXPECT_EQ(slices[0].sequence, a);
    EXPECT_EQ(slices[0].count, 10);
    EXPECT_FALSE(slices[0].completes());
    advance(slices);
    slices = scheduler.plan();
    ASSERT_EQ(slices.size(), 1u);
    EXPECT_EQ(slices[0].count, 4);
    EXPECT_TRUE(slices[0].completes());
}

TEST_F(SchedulerTest, DecodesComeBeforePromptChunks) {
    Sequence* a = add(3);
    advance(scheduler.plan());
    Sequence* b = add(20);
    const auto slices = scheduler.plan();
    ASSERT_EQ(slices.size(), 2u);
    EXPECT_EQ(slices[0].sequence, a);
    EXPECT_EQ(slices[0].count, 1);
    EXPECT_EQ(slices[1].sequence, b);
    EXPECT_EQ(slices[1].count, 9);
}

TEST_F(SchedulerTest, APromptThatDoesNotFitWaits) {
    add(20);  // 5 of 8 blocks
    Sequence* b = add(16);
    scheduler.plan();
    EXPECT_EQ(scheduler.running().size(), 1u);
    ASSERT_EQ(scheduler.waiting().size(), 1u);
    EXPECT_EQ(scheduler.waiting().front().get(), b);
}

TEST_F(SchedulerTest, TheYoungestGivesWayWhenPagesRunOut) {
    Sequence* a = add(15);  // 4 blocks
    Sequence* b = add(11);  // 3 blocks, one left
    for (int i = 0; i < 3; ++i) advance(scheduler.plan());
    while (b->memory && a->memory) advance(scheduler.plan());
    EXPECT_TRUE(a->memory.has_value());
    EXPECT_FALSE(b->memory.has_value());
    EXPECT_EQ(b->cached, 0);
    EXPECT_EQ(scheduler.waiting().front().get(), b);
    EXPECT_EQ(scheduler.preemptions(), 1u);
    EXPECT_EQ(pool.slots_free(), 2);
}

TEST_F(SchedulerTest, RemovingReturnsAllMemory) {
    Sequence* a = add(5);
    Sequence* b = add(6);
    advance(scheduler.plan());
    EXPECT_LT(pool.blocks_free(), 8);
    scheduler.remove(a);
    scheduler.remove(b);
    EXPECT_EQ(pool.blocks_free(), 8);
    EXPECT_EQ(pool.slots_free(), 3);
    EXPECT_TRUE(scheduler.plan().empty());
}

TEST_F(SchedulerTest, ASuspectRunsAlone) {
    Sequence* a = add(3);
    a->alone = true;
    Sequence* b = add(3);
    auto slices = scheduler.plan();
    ASSERT_EQ(slices.size(), 1u);
    EXPECT_EQ(slices[0].sequence, a);
    scheduler.remove(a);
    slices = scheduler.plan();
    ASSERT_EQ(slices.size(), 1u);
    EXPECT_EQ(slices[0].sequence, b);
}

TEST_F(SchedulerTest, PromptLogprobsBoundTheChunk) {
    Scheduler wide(pool, 3, 1000);
    auto sequence = std::make_unique<Sequence>();
    sequence->ticket = std::make_shared<Ticket>();
    sequence->tokens.resize(30);
    sequence->prompt_size = 30;
    sequence->params.prompt_logprobs = 0;
    wide.add(std::move(sequence));
    const auto slices = wide.plan();
    ASSERT_EQ(slices.size(), 1u);
    EXPECT_LE(slices[0].count, Scheduler::prompt_logprobs_chunk);
}

TEST_F(SchedulerTest, CutsPromptsWhereTheMachineWantsIt) {
    Scheduler cutting(pool, /*max_num_seqs=*/3, /*max_num_batched_tokens=*/2, /*prompt_cut=*/4);
    auto owned = std::make_unique<Sequence>();
    Sequence* sequence = owned.get();
    sequence->ticket = std::make_shared<Ticket>();
    sequence->tokens.resize(21);  // of which 3 were generated before it was preempted
    sequence->prompt_size = 18;
    cutting.add(std::move(owned));
    std::vector<int32_t> counts;
    while (sequence->pending() > 0) {
        const auto slices = cutting.plan();
        ASSERT_EQ(slices.size(), 1u);
        counts.push_back(slices[0].count);
        sequence->cached += slices[0].count;
    }
    EXPECT_EQ(counts, (std::vector<int32_t>{8, 10, 1, 1, 1}));
    cutting.remove(sequence);
}

TEST_F(SchedulerTest, RandomLifeKeepsTheLedger) {
    uint64_t state = 1;
    auto random = [&](uint64_t n) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        return (state >> 33) % n;
    };
    std::vector<Sequence*> alive;
    for (int round = 0; round < 3000; ++round) {
        if (random(3) == 0 && alive.size() < 6) alive.push_back(add(static_cast<int32_t>(1 + random(24))));
        if (random(7) == 0 && !alive.empty()) {
            const size_t i = random(alive.size());
            scheduler.remove(alive[i]);
            alive.erase(alive.begin() + static_cast<std::ptrdiff_t>(i));
        }
        const auto slices = scheduler.plan();
        int32_t tokens = 0;
        for (const Slice& slice : slices) {
            tokens += slice.count;
            ASSERT_TRUE(slice.sequence->memory.has_value());
            ASSERT_GE(static_cast<int32_t>(slice.sequence->memory->blocks().size()) * 4,
                      slice.sequence->cached + slice.count);
        }
        ASSERT_LE(tokens, 10);
        ASSERT_EQ(slices.empty(), alive.empty());
        advance(slices);
        for (size_t i = alive.size(); i-- > 0;) {
            if (alive[i]->tokens.size() < 30) continue;
            scheduler.remove(alive[i]);
            alive.erase(alive.begin() + static_cast<std::ptrdiff_t>(i));
        }
    }
    for (Sequence* sequence : alive) scheduler.remove(sequence);
    EXPECT_EQ(pool.blocks_free(), 8);
    EXPECT_EQ(pool.slots_free(), 3);
}

}  // namespace
}  // namespace sheaf
