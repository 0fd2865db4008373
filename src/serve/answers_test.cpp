// Shapes of answers: choices, stops, log-probabilities, tools, completions, tokens, metrics, errors.
#include <gtest/gtest.h>

#include "serve/testing/test_server.h"

namespace sheaf::testing {
namespace {

using Json = nlohmann::json;

Json chat(Json more = Json::object()) {
    Json body = {{"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
    body.update(more);
    return body;
}

Json completion(Json more = Json::object()) {
    Json body = {{"prompt", "Once upon"}};
    body.update(more);
    return body;
}

/// The events of a streamed answer, [DONE] checked and left out.
std::vector<Json> stream(const TestServer& test, const std::string& path, Json body) {
    body["stream"] = true;
    HttpClient client = test.client();
    client.send(HttpClient::request("POST", path, body.dump()));
    std::vector<Json> events;
    const ClientResponse head = client.read_head();
    EXPECT_EQ(head.status, 200);
    bool done = false;
    while (auto event = client.read_event()) {
        EXPECT_FALSE(done);
        if (*event == "[DONE]")
            done = true;
        else if (event->front() != ':')
            events.push_back(Json::parse(*event));
    }
    EXPECT_TRUE(done);
    EXPECT_TRUE(client.complete());
    return events;
}

TEST(Answers, SeveralChoicesHaveSeedsOfTheirOwn) {
    TestServer test;
    const Json answer = test.client().post("/v1/chat/completions", chat({{"n", 3}, {"seed", 5}})).json();
    ASSERT_EQ(answer["choices"].size(), 3u);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(answer["choices"][i]["index"], i);
    ASSERT_EQ(test.engine->seen.size(), 3u);
    EXPECT_EQ(test.engine->seen[0].seed, 5u);
    EXPECT_NE(test.engine->seen[1].seed, 5u);
    EXPECT_NE(test.engine->seen[1].seed, test.engine->seen[2].seed);
    const size_t each = test.tokenizer->encode(test.answer).size() + 1;
    EXPECT_EQ(answer["usage"]["completion_tokens"], 3 * each);
    EXPECT_EQ(answer["usage"]["prompt_tokens"], test.engine->prompts[0].size());
    const auto events = stream(test, "/v1/chat/completions", chat({{"n", 3}}));
    std::map<int, std::string> texts;
    std::map<int, int> finishes;
    for (const Json& event : events)
        for (const Json& choice : event["choices"]) {
            texts[choice["index"]] += choice["delta"].value("content", "");
            finishes[choice["index"]] += choice["finish_reason"].is_null() ? 0 : 1;
        }
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(texts[i], test.answer);
        EXPECT_EQ(finishes[i], 1);
    }
    // Without a seed two requests differ.
    test.client().post("/v1/chat/completions", chat());
    test.client().post("/v1/chat/completions", chat());
    EXPECT_NE(test.engine->seen[6].seed, test.engine->seen[7].seed);
}

TEST(Answers, StopStringsEndAndAreNamed) {
    TestServer test;
    test.answer = "one two three four";
    const auto ask = [&](const Json& more) {
        return test.client().post("/v1/chat/completions", chat(more)).json()["choices"][0];
    };
    Json choice = ask({{"stop", "three"}});
    EXPECT_EQ(choice["message"]["content"], "one two ");
    EXPECT_EQ(choice["finish_reason"], "stop");
    EXPECT_EQ(choice["stop_reason"], "three");
    EXPECT_EQ(ask({{"stop", {"zzz", "three"}}, {"include_stop_str_in_output", true}})["message"]["content"],
              "one two three");
    choice = ask({{"max_tokens", 1}});
    EXPECT_EQ(choice["finish_reason"], "length");
    EXPECT_TRUE(choice["stop_reason"].is_null());
    const int32_t third = test.tokenizer->encode(test.answer).at(1);
    choice = ask({{"stop_token_ids", {third}}});
    EXPECT_EQ(choice["stop_reason"], third);
    EXPECT_EQ(choice["finish_reason"], "stop");
    EXPECT_EQ(choice["message"]["content"], "one");
    std::string text;
    for (const Json& event : stream(test, "/v1/chat/completions", chat({{"stop", "three"}})))
        text += event["choices"][0]["delta"].value("content", "");
    EXPECT_EQ(text, "one two ");
    EXPECT_TRUE(test.engine->wait_live(0));  // a stop string gives the engine's request back
}

TEST(Answers, SpecialTokensAreHiddenUnlessWanted) {
    TestServer test;
    test.answer = "a<|vision_start|>b";
    const auto ask = [&](const Json& more) {
        return test.client()
            .post("/v1/chat/completions", chat(more))
            .json()["choices"][0]["message"]["content"];
    };
    EXPECT_EQ(ask(Json::object()), "ab");
    EXPECT_EQ(ask({{"skip_special_tokens", false}}), "a<|vision_start|>b");
}

TEST(Answers, ChatLogprobs) {
    TestServer test;
    test.answer = "h\xc3\xa9llo \xf0\x9f\xa6\x8a";  // characters of more bytes than tokens here
    const Json answer =
        test.client().post("/v1/chat/completions", chat({{"logprobs", true}, {"top_logprobs", 2}})).json();
    const Json& content = answer["choices"][0]["logprobs"]["content"];
    EXPECT_EQ(content.size(), answer["usage"]["completion_tokens"]);
    std::string bytes;
    for (const Json& entry : content) {
        EXPECT_FLOAT_EQ(entry["logprob"], -0.5f);
        EXPECT_EQ(entry["top_logprobs"].size(), 2u);
        EXPECT_EQ(entry["top_logprobs"][0]["token"], entry["token"]);
        for (const int byte : entry["bytes"]) bytes += static_cast<char>(byte);
    }
    EXPECT_EQ(bytes, test.answer + "<|im_end|>");
    size_t streamed = 0;
    for (const Json& event : stream(test, "/v1/chat/completions", chat({{"logprobs", true}})))
        if (event["choices"][0]["logprobs"].is_object())
            streamed += event["choices"][0]["logprobs"]["content"].size();
    EXPECT_EQ(streamed, content.size());
    const Json prompt = test.client().post("/v1/chat/completions", chat({{"prompt_logprobs", 1}})).json();
    EXPECT_EQ(prompt["prompt_logprobs"].size(), test.engine->prompts.back().size());
    EXPECT_TRUE(prompt["prompt_logprobs"][0].is_null());
}

TEST(Answers, ToolCalls) {
    TestServer test;
    test.answer =
        "Let me look.\n\n<tool_call>\n<function=weather>\n<parameter=city>\nParis\n</parameter>\n"
        "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>";
    const Json tools =
        Json::parse(R"([{"type":"function","function":{"name":"weather","parameters":{"type":"object",
        "properties":{"city":{"type":"string"},"days":{"type":"integer"}}}}}])");
    const Json answer = test.client().post("/v1/chat/completions", chat({{"tools", tools}})).json();
    const Json& choice = answer["choices"][0];
    EXPECT_EQ(choice["finish_reason"], "tool_calls") << answer;
    ASSERT_EQ(choice["message"]["tool_calls"].size(), 1u);
    const Json& call = choice["message"]["tool_calls"][0];
    EXPECT_EQ(call["type"], "function");
    EXPECT_EQ(call["function"]["name"], "weather");
    EXPECT_EQ(Json::parse(call["function"]["arguments"].get<std::string>()),
              Json({{"city", "Paris"}, {"days", 3}}));
    std::string arguments, content;
    int ids = 0, names = 0;
    std::string finish;
    for (const Json& event : stream(test, "/v1/chat/completions", chat({{"tools", tools}}))) {
        const Json& delta = event["choices"][0]["delta"];
        content += delta.value("content", "");
        if (!event["choices"][0]["finish_reason"].is_null()) finish = event["choices"][0]["finish_reason"];
        for (const Json& piece : delta.value("tool_calls", Json::array())) {
            EXPECT_EQ(piece["index"], 0);
            ids += piece.contains("id") ? 1 : 0;
            names += piece["function"].contains("name") ? 1 : 0;
            arguments += piece["function"]["arguments"].get<std::string>();
        }
    }
    EXPECT_EQ(arguments, call["function"]["arguments"]);
    EXPECT_EQ(content, choice["message"]["content"]);
    EXPECT_EQ(ids, 1);
    EXPECT_EQ(names, 1);
    EXPECT_EQ(finish, "tool_calls");
    const Json plain =
        test.client().post("/v1/chat/completions", chat({{"tools", tools}, {"tool_choice", "none"}})).json();
    EXPECT_EQ(plain["choices"][0]["message"]["content"], test.answer);
    EXPECT_EQ(plain["choices"][0]["finish_reason"], "stop");
}

TEST(Answers, Completions) {
    TestServer test;
    test.answer = " a time";
    const Json answer = test.client().post("/v1/completions", completion()).json();
    EXPECT_TRUE(answer["id"].get<std::string>().starts_with("cmpl-"));
    EXPECT_EQ(answer["object"], "text_completion");
    EXPECT_EQ(answer["choices"][0]["text"], " a time");
    EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
    const Json many =
        test.client()
            .post("/v1/completions", completion({{"prompt", {"a", "b b"}}, {"n", 2}, {"echo", true}}))
            .json();
    ASSERT_EQ(many["choices"].size(), 4u);
    EXPECT_EQ(many["choices"][1]["text"], "a a time");
    EXPECT_EQ(many["choices"][2]["text"], "b b a time");
    const Json tokens = test.client().post("/v1/completions", completion({{"prompt", {{1, 2}, {3}}}})).json();
    EXPECT_EQ(tokens["usage"]["prompt_tokens"], 3);
    std::string text;
    for (const Json& event : stream(test, "/v1/completions", completion({{"echo", true}})))
        text += event["choices"][0]["text"];
    EXPECT_EQ(text, "Once upon a time");
}

TEST(Answers, CompletionLogprobsWithEcho) {
    TestServer test;
    const Json body = completion({{"echo", true}, {"logprobs", 2}, {"max_tokens", 0}});
    const Json answer = test.client().post("/v1/completions", body).json();
    const Json& choice = answer["choices"][0];
    EXPECT_EQ(choice["text"], "Once upon");
    const Json& lists = choice["logprobs"];
    const size_t count = test.tokenizer->encode("Once upon").size();
    for (const char* name : {"tokens", "token_logprobs", "top_logprobs", "text_offset"})
        EXPECT_EQ(lists[name].size(), count) << name;
    EXPECT_TRUE(lists["token_logprobs"][0].is_null());
    EXPECT_TRUE(lists["top_logprobs"][0].is_null());
    EXPECT_EQ(lists["text_offset"][0], 0);
    EXPECT_EQ(lists["text_offset"][1], lists["tokens"][0].get<std::string>().size());
    EXPECT_EQ(choice["finish_reason"], "length");
    test.answer = " a time";
    const Json whole = test.client().post("/v1/completions", completion({{"logprobs", 1}})).json();
    const Json& own = whole["choices"][0]["logprobs"];
    EXPECT_EQ(own["tokens"].size(), test.tokenizer->encode(test.answer).size() + 1);
    Json gathered = Json::array();
    std::vector<size_t> offsets;
    for (const Json& event : stream(test, "/v1/completions", completion({{"logprobs", 1}})))
        if (event["choices"][0]["logprobs"].is_object())
            for (const Json& token : event["choices"][0]["logprobs"]["text_offset"])
                gathered.push_back(token);
    EXPECT_EQ(gathered, own["text_offset"]);
}

TEST(Answers, TokenIdsWhenWanted) {
    TestServer test;
    Json answer = test.client().post("/v1/completions", completion({{"return_token_ids", true}})).json();
    std::vector<int32_t> expected = test.tokenizer->encode(test.answer);
    expected.push_back(*test.tokenizer->token_to_id("<|im_end|>"));
    EXPECT_EQ(answer["choices"][0]["token_ids"], Json(expected));
    EXPECT_EQ(answer["choices"][0]["prompt_token_ids"], Json(test.tokenizer->encode("Once upon")));
    answer =
        test.client()
            .post("/v1/chat/completions", chat({{"logprobs", true}, {"return_tokens_as_token_ids", true}}))
            .json();
    EXPECT_EQ(answer["choices"][0]["logprobs"]["content"][0]["token"],
              "token_id:" + std::to_string(expected[0]));
}

TEST(Answers, UsageInEveryChunk) {
    const TestServer test;
    const Json options = {{"include_usage", true}, {"continuous_usage_stats", true}};
    int64_t last = 0;
    for (const Json& event : stream(test, "/v1/chat/completions", chat({{"stream_options", options}}))) {
        ASSERT_TRUE(event["usage"].is_object());
        EXPECT_GE(event["usage"]["completion_tokens"], last);
        last = event["usage"]["completion_tokens"];
    }
    EXPECT_GT(last, 2);
}

TEST(Answers, TokenizeAndDetokenize) {
    const TestServer test;
    HttpClient client = test.client();
    const Json plain =
        client.post("/tokenize", Json({{"prompt", "Hello<|im_end|>"}, {"return_token_strs", true}})).json();
    const auto ids = test.tokenizer->encode("Hello<|im_end|>");
    EXPECT_EQ(plain["tokens"], Json(ids));
    EXPECT_EQ(plain["count"], ids.size());
    EXPECT_EQ(plain["max_model_len"], 512);
    EXPECT_EQ(plain["token_strs"].size(), ids.size());
    const Json messages = client.post("/tokenize", chat()).json();
    EXPECT_EQ(test.tokenizer->decode(messages["tokens"].get<std::vector<int32_t>>()),
              "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    EXPECT_EQ(client.post("/tokenize", Json({{"prompt", ""}})).json()["count"], 0);
    EXPECT_EQ(client.post("/detokenize", Json({{"tokens", ids}})).json()["prompt"], "Hello<|im_end|>");
    for (const char* body : {"", "[]", "{}", R"({"prompt":1})", R"({"prompt":"a","return_token_strs":1})"})
        EXPECT_EQ(test.client().post("/tokenize", std::string(body)).status, 400) << body;
    for (const char* body :
         {"{}", R"({"tokens":1})", R"({"tokens":[-1]})", R"({"tokens":[99999]})", R"({"tokens":["a"]})"})
        EXPECT_EQ(test.client().post("/detokenize", std::string(body)).status, 400) << body;
}

TEST(Answers, ErrorsHaveOneShape) {
    const TestServer test;
    const auto error = [&](const std::string& path, const std::string& body, int status) {
        const ClientResponse response = test.client().post(path, body);
        EXPECT_EQ(response.status, status) << body << response.body;
        const Json inner = response.json()["error"];
        EXPECT_EQ(inner["code"], status);
        EXPECT_TRUE(inner["type"].is_string());
        return inner;
    };
    Json inner = error("/v1/chat/completions",
                       R"({"messages":[{"role":"user","content":"a"}],"temperature":"hot"})", 400);
    EXPECT_EQ(inner["type"], "BadRequestError");
    EXPECT_EQ(inner["param"], "temperature");
    inner =
        error("/v1/chat/completions", R"({"model":"gpt","messages":[{"role":"user","content":"a"}]})", 404);
    EXPECT_EQ(inner["type"], "NotFoundError");
    EXPECT_EQ(inner["param"], "model");
    EXPECT_TRUE(error("/v1/chat/completions", R"({"messages":)", 400)["param"].is_null());
    error("/v1/chat/completions", R"({"messages":[{"role":"user","content":5}]})", 400);
    inner = error(
        "/v1/chat/completions",
        R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:x"}}]}]})",
        400);
    EXPECT_NE(inner["message"].get<std::string>().find("text only"), std::string::npos);
    const std::string words(3000, 'x');
    std::string text;
    for (int i = 0; i < 600; ++i) text += "a b ";
    for (const Json& body :
         {completion({{"prompt", text}}), completion({{"prompt", std::vector<int>(512, 5)}})}) {
        inner = error("/v1/completions", body.dump(), 400);
        EXPECT_TRUE(inner["message"].get<std::string>().starts_with(
            "This model's maximum context length is 512 tokens"));
    }
    EXPECT_EQ(
        test.client().post("/v1/completions", completion({{"prompt", std::vector<int>(511, 5)}})).status,
        200);
    error("/v1/completions", completion({{"prompt", ""}}).dump(), 400);
    EXPECT_EQ(test.client().post("/v1/chat/completions", chat()).status, 200);  // nobody else was harmed
}

TEST(Answers, AFailingEngineCostsTheRequestAndTellsNothing) {
    TestServer test;
    test.engine->fails = true;
    const ClientResponse response = test.client().post("/v1/chat/completions", chat());
    EXPECT_EQ(response.status, 500);
    EXPECT_EQ(response.body.find("secret"), std::string::npos);
    const auto events = stream(test, "/v1/chat/completions", chat());
    EXPECT_EQ(events.back()["error"]["code"], 500);
    EXPECT_EQ(events.back().dump().find("secret"), std::string::npos);
    test.engine->fails = false;
    EXPECT_EQ(test.client().post("/v1/chat/completions", chat()).status, 200);
    test.engine->capacity = 0;
    const ClientResponse full = test.client().post("/v1/chat/completions", chat({{"n", 2}}));
    EXPECT_EQ(full.status, 429);
    EXPECT_TRUE(full.headers.contains("retry-after"));
    EXPECT_TRUE(test.engine->wait_live(0));
}

TEST(Answers, MetricsUnderKnownNames) {
    const TestServer test;
    test.client().post("/v1/chat/completions", chat());
    test.client().post("/v1/chat/completions", Json::object());
    const std::string text = test.client().get("/metrics").body;
    for (const char* line : {
             "vllm:num_requests_running{engine=\"0\",model_name=\"test\"} 0",
             "vllm:request_success_total{engine=\"0\",finished_reason=\"stop\",model_name=\"test\"} 1",
             "vllm:time_to_first_token_seconds_bucket{engine=\"0\",model_name=\"test\",le=\"0.001\"}",
             "vllm:e2e_request_latency_seconds_count{engine=\"0\",model_name=\"test\"} 1",
             "vllm:request_params_n_sum{engine=\"0\",model_name=\"test\"} 1",
             "http_requests_total{handler=\"/v1/chat/completions\",method=\"POST\",status=\"4xx\"} 1",
             "process_resident_memory_bytes ",
         })
        EXPECT_NE(text.find(line), std::string::npos) << line;
    const auto value = [&](const std::string& name) {
        const size_t at = text.find("\n" + name + "{");
        return at == std::string::npos ? -1.0 : std::stod(text.substr(text.find("} ", at) + 2));
    };
    EXPECT_EQ(value("vllm:generation_tokens_total"),
              static_cast<double>(test.tokenizer->encode(test.answer).size() + 1));
    EXPECT_EQ(value("vllm:prompt_tokens_total"), static_cast<double>(test.engine->prompts.at(0).size()));
}

}  // namespace
}  // namespace sheaf::testing
