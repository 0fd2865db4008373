// The server's API over real sockets, with a FakeEngine behind it.
#include "serve/server.h"

#include <gtest/gtest.h>

#include <thread>

#include "serve/testing/test_server.h"

namespace sheaf::testing {
namespace {

using Json = nlohmann::json;

Json chat(const std::string& text = "Hi") {
    return {{"model", "test"}, {"messages", {{{"role", "user"}, {"content", text}}}}};
}

TEST(Server, AnswersAChat) {
    TestServer test;
    HttpClient client = test.client();
    const ClientResponse response = client.post("/v1/chat/completions", chat());
    ASSERT_EQ(response.status, 200) << response.body;
    EXPECT_EQ(response.headers.at("content-type"), "application/json");
    const Json body = response.json();
    EXPECT_TRUE(body["id"].get<std::string>().starts_with("chatcmpl-"));
    EXPECT_EQ(body["object"], "chat.completion");
    EXPECT_EQ(body["model"], "test");
    EXPECT_GT(body["created"], 1'700'000'000);
    ASSERT_EQ(body["choices"].size(), 1u);
    const Json& choice = body["choices"][0];
    EXPECT_EQ(choice["index"], 0);
    EXPECT_EQ(choice["message"]["role"], "assistant");
    EXPECT_EQ(choice["message"]["content"], "Hello, world!");
    EXPECT_EQ(choice["finish_reason"], "stop");
    EXPECT_TRUE(choice["stop_reason"].is_null());
    const auto generated = test.tokenizer->encode(test.answer).size() + 1;  // and the end token
    EXPECT_EQ(body["usage"]["completion_tokens"], generated);
    EXPECT_EQ(body["usage"]["prompt_tokens"], test.engine->prompts.at(0).size());
    EXPECT_EQ(body["usage"]["total_tokens"], generated + test.engine->prompts.at(0).size());
    EXPECT_EQ(body["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    EXPECT_EQ(body["usage"]["completion_tokens_details"]["reasoning_tokens"], 0);
    EXPECT_EQ(test.tokenizer->decode(test.engine->prompts.at(0)),
              "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    EXPECT_TRUE(test.engine->wait_live(0));
}

TEST(Server, StreamsAChat) {
    TestServer test;
    HttpClient client = test.client();
    Json body = chat();
    body["stream"] = true;
    body["stream_options"] = {{"include_usage", true}};
    client.send(HttpClient::request("POST", "/v1/chat/completions", body.dump()));
    const ClientResponse head = client.read_head();
    ASSERT_EQ(head.status, 200);
    EXPECT_EQ(head.headers.at("content-type"), "text/event-stream; charset=utf-8");
    std::vector<Json> events;
    std::string last;
    while (auto event = client.read_event()) {
        last = *event;
        if (last != "[DONE]") events.push_back(Json::parse(*event));
    }
    EXPECT_EQ(last, "[DONE]");
    EXPECT_TRUE(client.complete());
    ASSERT_GE(events.size(), 4u);
    EXPECT_EQ(events[0]["choices"][0]["delta"], Json({{"role", "assistant"}, {"content", ""}}));
    std::string text;
    int finishes = 0;
    for (const Json& event : events) {
        EXPECT_EQ(event["object"], "chat.completion.chunk");
        EXPECT_EQ(event["id"], events[0]["id"]);
        for (const Json& choice : event["choices"]) {
            text += choice["delta"].value("content", "");
            if (!choice["finish_reason"].is_null()) {
                EXPECT_EQ(choice["finish_reason"], "stop");
                ++finishes;
            }
        }
    }
    EXPECT_EQ(text, "Hello, world!");
    EXPECT_EQ(finishes, 1);
    EXPECT_TRUE(events.back()["choices"].empty());
    EXPECT_EQ(events.back()["usage"]["completion_tokens"], test.tokenizer->encode(test.answer).size() + 1);
    // The connection serves the next request.
    EXPECT_EQ(client.get("/v1/models").status, 200);
}

TEST(Server, SplitsReasoningFromContent) {
    TestServer test;
    test.answer = "It greets.\n</think>\n\nHello!";
    HttpClient client = test.client();
    Json body = chat();
    body["chat_template_kwargs"] = {{"enable_thinking", true}};
    const Json answer = client.post("/v1/chat/completions", body).json();
    const Json& message = answer["choices"][0]["message"];
    EXPECT_EQ(message["content"], "Hello!") << answer;
    EXPECT_EQ(message["reasoning"], message["reasoning_content"]);
    EXPECT_NE(message["reasoning"].get<std::string>().find("It greets."), std::string::npos);
    EXPECT_GT(answer["usage"]["completion_tokens_details"]["reasoning_tokens"], 2);
    EXPECT_LT(answer["usage"]["completion_tokens_details"]["reasoning_tokens"],
              answer["usage"]["completion_tokens"]);
}

TEST(Server, HealthTellsLoadingReadyAndDraining) {
    TestServer test({}, false);
    test.server.set_loading({"weights", 10, 40, 1.5});
    HttpClient client = test.client();
    ClientResponse health = client.get("/health");
    EXPECT_EQ(health.status, 503);
    EXPECT_EQ(health.json(), Json({{"status", "loading"},
                                   {"phase", "weights"},
                                   {"bytes_done", 10},
                                   {"bytes_total", 40},
                                   {"eta_s", 1.5}}));
    EXPECT_EQ(client.get("/health/live").status, 200);
    EXPECT_EQ(client.get("/health/ready").status, 503);
    EXPECT_EQ(client.post("/v1/chat/completions", chat()).status, 503);
    HttpClient second = test.client();
    EXPECT_EQ(second.get("/v1/models").status, 503);
    test.server.set_ready(test.model());
    EXPECT_EQ(second.get("/health").status, 200);
    EXPECT_EQ(second.get("/health/ready").status, 200);
    EXPECT_EQ(second.get("/ping").status, 200);
    test.server.drain(1);
    HttpClient third = test.client();
    EXPECT_EQ(third.get("/health").status, 503);
}

}  // namespace
}  // namespace sheaf::testing
