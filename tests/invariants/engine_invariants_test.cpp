// Invariants of the whole engine on small checkpoints that need no golden data and hold bit for bit on the
// CPU: a request's tokens and log-probabilities do not depend on its company, on how its prompt was cut into
// chunks, on preemption or on the number of threads; and all memory comes back.
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "backend/cpu/cpu_machine.h"
#include "engine_runs.h"
#include "model/loader.h"
#include "model/memory.h"

namespace sheaf {
namespace {

std::filesystem::path checkpoint(const std::string& name) {
    return std::filesystem::path(SHEAF_SOURCE_DIR) / "tests/golden/models" / name;
}

Setup make_setup(const std::string& name, EngineOptions options, int threads = 2,
                 ComputeType type = ComputeType::bf16) {
    Setup setup;
    setup.machine = cpu::make_cpu_machine(type, threads);
    const auto source = open_checkpoint(checkpoint(name));
    setup.model = load_model(*source, load_model_config(checkpoint(name)), *setup.machine);
    setup.engine = Engine::create(setup.model, setup.machine, options);
    setup.base = setup.engine->stats();
    return setup;
}

struct EngineInvariants : testing::TestWithParam<const char*> {};

TEST_P(EngineInvariants, CompanyChunksThreadsAndPreemptionDoNotChangeABit) {
    constexpr int32_t max_tokens = 12;
    EngineOptions roomy;
    roomy.max_num_seqs = 8;
    auto whole = make_setup(GetParam(), roomy);
    const auto expected = run_alone(*whole.engine, max_tokens);
    for (const Result& result : expected) {
        ASSERT_EQ(result.error, "");
        ASSERT_EQ(result.tokens.size(), static_cast<size_t>(max_tokens));
    }
    EXPECT_EQ(run_together(*whole.engine, max_tokens), expected) << "batch = single";
    expect_memory_returned(whole);

    for (const int32_t budget : {7, 33}) {
        EngineOptions chunked = roomy;
        chunked.max_num_batched_tokens = budget;
        auto setup = make_setup(GetParam(), chunked, budget == 7 ? 1 : 3);
        EXPECT_EQ(run_together(*setup.engine, max_tokens), expected) << "chunked = whole, budget " << budget;
        expect_memory_returned(setup);
    }

    EngineOptions tight = roomy;
    tight.max_model_len = 112;
    const uint64_t page = kv_bytes_per_token(whole.model->config.text, ComputeType::bf16) * 16;
    if (page > 0) {
        tight.cache_bytes = state_bytes_per_sequence(whole.model->config.text) * 8 + page * 8;
        auto setup = make_setup(GetParam(), tight);
        EXPECT_EQ(run_together(*setup.engine, max_tokens), expected) << "preempted = undisturbed";
        expect_memory_returned(setup);
    }
}

/// A step behind the machine, the host sees the same.
TEST_P(EngineInvariants, AsynchronousSchedulingDoesNotChangeABit) {
    constexpr int32_t max_tokens = 40;
    EngineOptions options;
    options.max_num_seqs = 8;
    options.async_scheduling = false;
    auto setup = make_setup(GetParam(), options);
    const auto expected = run_alone(*setup.engine, max_tokens);
    for (const int32_t budget : {7, 512}) {
        options.async_scheduling = true;
        options.max_num_batched_tokens = budget;
        setup = make_setup(GetParam(), options);
        expect_same(run_alone(*setup.engine, max_tokens), expected,
                    "alone, budget " + std::to_string(budget));
        expect_same(run_together(*setup.engine, max_tokens), expected, "budget " + std::to_string(budget));
        expect_memory_returned(setup);
        EXPECT_EQ(setup.engine->stats().generation_tokens, 2 * std::size(prompt_sizes) * max_tokens);
    }
    options.max_model_len = 136;
    const uint64_t page = kv_bytes_per_token(setup.model->config.text, ComputeType::bf16) * 16;
    if (page == 0) return;
    options.cache_bytes = state_bytes_per_sequence(setup.model->config.text) * 8 + page * 9 + 64;
    setup = make_setup(GetParam(), options);
    expect_same(run_together(*setup.engine, max_tokens), expected, "preempted");
    expect_memory_returned(setup);
    EXPECT_GT(setup.engine->stats().preemptions, 0u);
}

TEST_P(EngineInvariants, PromptLogprobsDoNotDependOnChunks) {
    std::map<int32_t, std::vector<float>> found;
    for (const int32_t budget : {5, 512}) {
        EngineOptions options;
        options.max_num_seqs = 2;
        options.max_num_batched_tokens = budget;
        auto setup = make_setup(GetParam(), options);
        Collector collector;
        SamplingParams params;
        params.max_tokens = 0;
        params.prompt_logprobs = 1;
        const auto request =
            setup.engine->submit(prompt_of(80, 1, setup.engine->vocabulary_size()), params, collector.sink());
        const Result result = collector.wait();
        EXPECT_EQ(result.finish, FinishReason::length);
        EXPECT_EQ(result.prompt_logprobs.size(), 79u);
        found[budget] = result.prompt_logprobs;
    }
    EXPECT_EQ(found[5], found[512]);
}

INSTANTIATE_TEST_SUITE_P(Models, EngineInvariants,
                         testing::Values("moe13", "moe333", "dense_tied", "conv3", "all_full",
                                         "linear_only"));

/// With the host in step with the machine, and one step behind.
struct EngineLife : testing::TestWithParam<bool> {
    EngineOptions options() const {
        EngineOptions options;
        options.async_scheduling = GetParam();
        return options;
    }
};

TEST_P(EngineLife, CancellingFreesEverythingAtOnce) {
    EngineOptions options = this->options();
    options.max_num_seqs = 4;
    auto setup = make_setup("moe13", options);
    for (int round = 0; round < 5; ++round) {
        std::vector<std::unique_ptr<Collector>> collectors;
        std::vector<std::unique_ptr<Request>> requests;
        for (int i = 0; i < 8; ++i) {
            collectors.push_back(std::make_unique<Collector>());
            requests.push_back(setup.engine->submit(prompt_of(40 + i, i, setup.engine->vocabulary_size()),
                                                    params_of(2000, static_cast<uint64_t>(i)),
                                                    collectors.back()->sink()));
        }
        collectors[0]->wait_for_tokens(3);
        requests.clear();
    }
    expect_memory_returned(setup);
}

TEST_P(EngineLife, ARequestMayEndItselfFromItsSink) {
    auto setup = make_setup("moe13", options());
    std::unique_ptr<Request> request;
    std::mutex mutex;
    std::condition_variable done;
    int updates = 0;
    {
        std::unique_lock lock(mutex);
        request = setup.engine->submit(prompt_of(9, 1, setup.engine->vocabulary_size()), params_of(1000, 0),
                                       [&](RequestUpdate) {
                                           std::lock_guard inner(mutex);
                                           ++updates;
                                           request.reset();
                                           done.notify_all();
                                       });
        done.wait(lock, [&] { return updates > 0; });
    }
    expect_memory_returned(setup);
    EXPECT_EQ(updates, 1);
}

TEST_P(EngineLife, RefusesWhatItCannotRunAndGoesOn) {
    EngineOptions options = this->options();
    options.max_model_len = 64;
    options.max_num_seqs = 2;
    auto setup = make_setup("moe13", options);
    Engine& engine = *setup.engine;
    const int32_t vocabulary = engine.vocabulary_size();
    auto refused = [&](Prompt prompt, SamplingParams params, const char* words) {
        try {
            engine.submit(std::move(prompt), std::move(params), [](RequestUpdate) {});
            ADD_FAILURE() << "accepted; expected: " << words;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::invalid_input);
            EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
        }
    };
    refused({}, params_of(1, 0), "empty");
    refused(prompt_of(64, 0, vocabulary), params_of(1, 0), "maximum context length");
    Prompt bad;
    bad.token_ids = {0, vocabulary};
    refused(bad, params_of(1, 0), "vocabulary");
    bad.token_ids = {-1};
    refused(bad, params_of(1, 0), "vocabulary");
    SamplingParams params = params_of(1, 0);
    params.top_p = 0;
    refused(prompt_of(4, 0, vocabulary), params, "top_p");
    params = params_of(1, 0);
    params.temperature = -1;
    refused(prompt_of(4, 0, vocabulary), params, "temperature");
    params = params_of(1, 0);
    params.stop_token_ids = {vocabulary};
    refused(prompt_of(4, 0, vocabulary), params, "stop_token_ids");
    params = params_of(1, 0);
    params.logit_bias = {{3, 1e9f}};
    refused(prompt_of(4, 0, vocabulary), params, "logit_bias");

    Collector collector;
    const auto request = engine.submit(prompt_of(60, 0, vocabulary), params_of(100, 0), collector.sink());
    const Result result = collector.wait();
    EXPECT_EQ(result.tokens.size(), 4u) << "max_tokens is cut to the context";
    EXPECT_EQ(result.finish, FinishReason::length);
}

TEST_P(EngineLife, StopTokensAndMinTokens) {
    auto setup = make_setup("moe13", options());
    const auto prompt = prompt_of(12, 3, setup.engine->vocabulary_size());
    Collector free;
    const auto first = setup.engine->submit(prompt, params_of(20, 0), free.sink());
    const Result all = free.wait();
    SamplingParams params = params_of(20, 0);
    params.stop_token_ids = {all.tokens[5]};
    const auto at = std::find(all.tokens.begin(), all.tokens.end(), all.tokens[5]) - all.tokens.begin();
    Collector stopped;
    const auto second = setup.engine->submit(prompt, params, stopped.sink());
    const Result some = stopped.wait();
    EXPECT_EQ(some.finish, FinishReason::stop);
    EXPECT_EQ(some.tokens.size(), static_cast<size_t>(at) + 1);
    params.min_tokens = 15;
    Collector later;
    const auto third = setup.engine->submit(prompt, params, later.sink());
    EXPECT_GE(later.wait().tokens.size(), 15u);
}

TEST_P(EngineLife, NaNEndsItsSequenceAlone) {
    auto setup = make_setup("moe13", options());
    const int32_t token = unused_token(setup.engine->vocabulary_size());
    const Tensor row = setup.model->text.embed_tokens.rows(token, token + 1);
    std::memset(row.raw(), 0xff, row.bytes());
    expect_one_spoiled(setup, token);
}

TEST_P(EngineLife, AFullQueueIsAnAnswerNotAnError) {
    EngineOptions options = this->options();
    options.max_num_seqs = 1;
    options.max_waiting = 2;
    auto setup = make_setup("moe13", options);
    std::vector<std::unique_ptr<Request>> requests;
    int accepted = 0;
    for (int i = 0; i < 20; ++i) {
        auto request = setup.engine->submit(prompt_of(8, i, setup.engine->vocabulary_size()),
                                            params_of(3000, 0), [](RequestUpdate) {});
        accepted += request != nullptr;
        if (request) requests.push_back(std::move(request));
    }
    EXPECT_LT(accepted, 20);
    EXPECT_GE(accepted, 2);
    requests.clear();
    expect_memory_returned(setup);
}

INSTANTIATE_TEST_SUITE_P(Scheduling, EngineLife, testing::Values(false, true),
                         [](const auto& which) { return std::string(which.param ? "ahead" : "in_step"); });

}  // namespace
}  // namespace sheaf
