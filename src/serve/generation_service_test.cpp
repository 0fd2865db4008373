// The service without HTTP, as `sheaf generate` uses it.
#include "serve/generation_service.h"

#include <gtest/gtest.h>

#include "serve/generation_result.h"
#include "serve/request_reader.h"
#include "serve/testing/test_server.h"

namespace sheaf::testing {
namespace {

using Json = nlohmann::ordered_json;

struct Fixture {
    Fixture() {
        auto model = std::make_shared<ServedModel>();
        model->names = {"test"};
        model->tokenizer = small_tokenizer();
        model->chat_template = std::make_shared<const ChatTemplate>(chat_template_text);
        model->engine = engine;
        service = std::make_unique<GenerationService>(model);
    }
    std::pair<std::unique_ptr<Generation>, std::shared_ptr<ResultCollector>> start(const Json& line) {
        auto collector = std::make_shared<ResultCollector>();
        auto generation =
            service->start([this, line] { return read_line_request(line, service->context()); }, collector);
        return {std::move(generation), collector};
    }
    Json run(const Json& line) {
        const auto [generation, collector] = start(line);
        collector->wait();
        return line_result(line.value("id", Json(1)), *collector, *small_tokenizer());
    }

    std::string answer = "thought\n</think>\n\nHi";
    std::shared_ptr<FakeEngine> engine = std::make_shared<FakeEngine>(
        small_tokenizer()->vocabulary_size(), *small_tokenizer()->token_to_id("<|im_end|>"),
        [this](const Prompt&, const SamplingParams&) { return small_tokenizer()->encode(answer); });
    std::unique_ptr<GenerationService> service;
};

TEST(GenerationService, LinesOfGenerate) {
    Fixture test;
    const Json line = test.run({{"id", "a"},
                                {"messages", Json::array({{{"role", "user"}, {"content", "x"}}})},
                                {"enable_thinking", true},
                                {"logprobs", true}});
    EXPECT_EQ(line["id"], "a");
    EXPECT_EQ(line["content"], "Hi") << line;
    EXPECT_EQ(line["text"], test.answer);
    EXPECT_EQ(line["finish_reason"], "stop");
    EXPECT_EQ(line["prompt_token_ids"].size(), test.engine->prompts.at(0).size());
    EXPECT_EQ(line["token_ids"].size(), line["usage"]["completion_tokens"]);
    EXPECT_EQ(line["logprobs"]["content"].size(), line["token_ids"].size());
    const Json raw = test.run({{"id", 2}, {"prompt", "x"}});
    EXPECT_EQ(raw["text"], test.answer);
    const Json bad = test.run({{"id", 3}, {"prompt", "x"}, {"temperature", "hot"}});
    EXPECT_EQ(bad["id"], 3);
    EXPECT_TRUE(bad["error"].is_string());
    EXPECT_EQ(test.run({{"token_ids", {1, 2, 3}}})["prompt_token_ids"], Json({1, 2, 3}));
}

TEST(GenerationService, DroppingCancelsInAnyState) {
    Fixture test;
    test.engine->paused = true;
    { const auto dropped = test.start({{"prompt", "x"}}); }  // perhaps not even read
    for (int i = 0; i < 20; ++i) {
        const auto dropped = test.start({{"prompt", "x"}, {"n", 2}});
        if (i % 2 == 0) test.engine->wait_live(2, std::chrono::milliseconds(20));
    }
    EXPECT_TRUE(test.engine->wait_live(0));
    test.engine->paused = false;
    EXPECT_EQ(test.run({{"prompt", "x"}})["finish_reason"], "stop");
}

TEST(GenerationService, AbortFailsTheRequestOnce) {
    Fixture test;
    test.engine->paused = true;
    const auto [generation, collector] = test.start({{"prompt", "x"}});
    ASSERT_TRUE(test.engine->wait_live(1));
    generation->abort({Failure::Kind::shutting_down, "enough", {}});
    generation->abort({Failure::Kind::internal, "again", {}});
    collector->wait();
    ASSERT_TRUE(collector->failure);
    EXPECT_EQ(collector->failure->message, "enough");
    EXPECT_TRUE(test.engine->wait_live(0));
}

TEST(GenerationService, EveryPromptLengthUpToTheContext) {
    Fixture test;
    test.engine->options_.max_model_len = 40;
    test.answer = std::string(200, 'x');
    for (int size = 0; size <= 42; ++size) {
        const Json line = test.run({{"token_ids", std::vector<int>(static_cast<size_t>(size), 7)}});
        if (size >= 1 && size < 40)
            EXPECT_TRUE(line["finish_reason"] == "length" || line["finish_reason"] == "stop") << size << line;
        else
            EXPECT_TRUE(line["error"].is_string()) << size;
        const Json none =
            test.run({{"token_ids", std::vector<int>(static_cast<size_t>(size), 7)}, {"max_tokens", 0}});
        EXPECT_EQ(none.contains("error"), size < 1 || size > 40) << size;
    }
}

}  // namespace
}  // namespace sheaf::testing
