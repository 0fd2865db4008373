// Streams under stress: clients that leave, read slowly or come in numbers, and the end of the server.
#include <gtest/gtest.h>

#include <thread>

#include "serve/testing/test_server.h"

namespace sheaf::testing {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;

std::string long_text(int words) {
    std::string text;
    for (int i = 0; i < words; ++i) text += "word ";
    return text;
}

Json chat(bool stream) {
    return {{"messages", {{{"role", "user"}, {"content", "Hi"}}}}, {"stream", stream}};
}

std::string post(const Json& body) {
    return HttpClient::request("POST", "/v1/chat/completions", body.dump());
}

TEST(Streams, AClientThatLeavesFreesTheEngine) {
    TestServer test;
    test.answer = long_text(400);
    test.engine->microseconds_per_step = 20'000;
    for (const bool stream : {true, false}) {
        HttpClient client = test.client();
        client.send(post(chat(stream)));
        if (stream) {
            client.read_head();
            ASSERT_TRUE(client.read_event());
        }
        ASSERT_TRUE(test.engine->wait_live(1)) << stream;
        const auto before = std::chrono::steady_clock::now();
        client.close();
        EXPECT_TRUE(test.engine->wait_live(0)) << stream;
        EXPECT_LT(std::chrono::steady_clock::now() - before, 1000ms) << stream;
    }
}

TEST(Streams, AClientThatLeavesIsSeenBehindBytesSentAhead) {
    TestServer test;
    test.answer = long_text(400);
    test.engine->microseconds_per_step = 20'000;
    HttpClient client = test.client();
    client.send(post(chat(false)) + HttpClient::request("GET", "/health"));
    ASSERT_TRUE(test.engine->wait_live(1));
    std::this_thread::sleep_for(50ms);
    client.close();
    EXPECT_TRUE(test.engine->wait_live(0));
}

TEST(Streams, AClientThatLeavesWhileQueuedFreesTheEngine) {
    TestServer test;
    test.engine->paused = true;  // no token ever comes
    std::vector<std::unique_ptr<HttpClient>> clients;
    for (int i = 0; i < 8; ++i) {
        clients.push_back(std::make_unique<HttpClient>(test.server.port()));
        Json body = chat(i % 2 == 0);
        body["n"] = 2;
        clients.back()->send(post(body));
    }
    ASSERT_TRUE(test.engine->wait_live(16));
    clients.clear();
    EXPECT_TRUE(test.engine->wait_live(0));
    test.engine->paused = false;
    EXPECT_EQ(test.client().post("/v1/chat/completions", chat(false)).status, 200);
}

TEST(Streams, PingsWhileNothingComes) {
    ServerOptions options;
    options.limits.ping = 50ms;
    TestServer test(options);
    test.engine->paused = true;
    HttpClient client = test.client();
    client.send(post(chat(true)));
    EXPECT_EQ(client.read_head().status, 200);
    EXPECT_EQ(client.read_event(), ": ping");
    EXPECT_EQ(client.read_event(), ": ping");
    test.engine->paused = false;
    std::string last;
    while (auto event = client.read_event()) last = *event;
    EXPECT_EQ(last, "[DONE]");
}

TEST(Streams, AStalledReaderIsClosedAndOthersGoOn) {
    ServerOptions options;
    options.limits.write_progress = 400ms;
    options.limits.stream_bytes = 64 << 10;
    TestServer test(options);
    test.engine->options_.max_model_len = 200'000;
    test.answer = long_text(6'000);
    HttpClient stalled(test.server.port(), 4096);
    Json body = chat(true);
    body["logprobs"] = true;
    body["top_logprobs"] = 20;  // some kilobytes a token
    stalled.send(post(body));
    ASSERT_TRUE(test.engine->wait_live(1));
    test.answer = "short";
    for (int i = 0; i < 5; ++i)
        EXPECT_EQ(test.client().post("/v1/chat/completions", chat(false)).status, 200);
    EXPECT_TRUE(test.engine->wait_live(0, 20'000ms));
}

TEST(Streams, ASlowReaderGetsEverything) {
    ServerOptions options;
    options.limits.stream_bytes = 16 << 10;
    TestServer test(options);
    test.engine->options_.max_model_len = 50'000;
    test.answer = long_text(4'000);
    HttpClient client(test.server.port(), 4096);
    Json body = chat(true);
    body["logprobs"] = true;
    body["top_logprobs"] = 20;  // in all some megabytes, more than the sockets hold
    client.send(post(body));
    client.read_head();
    std::this_thread::sleep_for(300ms);  // the server must hold back, then go on
    std::string text, last;
    while (auto event = client.read_event()) {
        last = *event;
        if (last == "[DONE]") break;
        const Json parsed = Json::parse(last);
        text += parsed["choices"][0]["delta"].value("content", "");
    }
    EXPECT_EQ(last, "[DONE]");
    EXPECT_EQ(text, test.answer);
}

TEST(Streams, SixtyFourAtOnce) {
    TestServer test;
    test.answer = long_text(60);
    test.engine->microseconds_per_step = 500;
    std::atomic<int> right{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 64; ++i) {
        threads.emplace_back([&] {
            HttpClient client = test.client();
            client.send(post(chat(true)));
            client.read_head();
            std::string text, last;
            while (auto event = client.read_event()) {
                last = *event;
                if (last != "[DONE]") text += Json::parse(last)["choices"][0]["delta"].value("content", "");
            }
            if (text == test.answer && last == "[DONE]" && client.complete()) ++right;
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(right, 64);
    EXPECT_TRUE(test.engine->wait_live(0));
}

TEST(Streams, DrainLetsRunningAnswersFinish) {
    TestServer test;
    test.answer = long_text(40);
    test.engine->microseconds_per_step = 5'000;
    HttpClient running = test.client(), idle = test.client();
    idle.get("/health");
    running.send(post(chat(true)));
    running.read_head();
    ASSERT_TRUE(running.read_event());
    bool drained = false;
    std::thread drain([&] { drained = test.server.drain(20); });
    while (test.client().get("/health").status == 200) std::this_thread::sleep_for(1ms);
    ClientResponse health = test.client().get("/health");
    EXPECT_EQ(health.status, 503);
    EXPECT_EQ(health.headers["connection"], "close");
    EXPECT_EQ(health.json().value("status", ""), "draining");
    EXPECT_EQ(test.client().post("/v1/chat/completions", chat(false)).status, 503);
    EXPECT_TRUE(idle.at_end());
    std::string last, text;
    while (auto event = running.read_event()) {
        last = *event;
        if (last != "[DONE]") text += Json::parse(last)["choices"][0]["delta"].value("content", "");
    }
    EXPECT_EQ(last, "[DONE]");
    EXPECT_EQ(text, test.answer);
    drain.join();
    EXPECT_TRUE(drained);
}

TEST(Streams, DrainEndsWhatTakesTooLong) {
    TestServer test;
    test.answer = long_text(400);
    test.engine->microseconds_per_step = 50'000;
    HttpClient stream = test.client(), whole = test.client();
    stream.send(post(chat(true)));
    whole.send(post(chat(false)));
    stream.read_head();
    ASSERT_TRUE(test.engine->wait_live(2));
    EXPECT_FALSE(test.server.drain(0.1));
    EXPECT_TRUE(test.engine->wait_live(0));
    std::string last, before;
    while (auto event = stream.read_event()) before = std::exchange(last, *event);
    EXPECT_EQ(last, "[DONE]");
    EXPECT_EQ(Json::parse(before)["error"]["code"], 503);
    EXPECT_EQ(whole.read().status, 503);
}

TEST(Streams, StopCutsWhatRuns) {
    TestServer test;
    test.engine->paused = true;
    HttpClient client = test.client();
    client.send(post(chat(true)));
    ASSERT_TRUE(test.engine->wait_live(1));
    test.server.stop();
    client.read_head();
    EXPECT_FALSE(client.read_event());
    EXPECT_FALSE(client.complete());  // visibly broken off
    EXPECT_EQ(test.engine->live(), 0u);
}

TEST(Streams, Http10ClientsGetAPlainStream) {
    const TestServer test;
    HttpClient client = test.client();
    const std::string body = chat(true).dump();
    client.send("POST /v1/chat/completions HTTP/1.0\r\nContent-Length: " + std::to_string(body.size()) +
                "\r\n\r\n" + body);
    const ClientResponse response = client.read();
    EXPECT_EQ(response.status, 200);
    EXPECT_FALSE(response.headers.contains("transfer-encoding"));
    EXPECT_TRUE(response.body.ends_with("data: [DONE]\n\n"));
}

}  // namespace
}  // namespace sheaf::testing
