#include "serve/request_reader.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "serve/request_error.h"
#include "serve/request_fields.h"

namespace sheaf {
namespace {

using Json = nlohmann::ordered_json;

ReaderContext context() {
    ReaderContext context;
    context.vocabulary_size = 1000;
    return context;
}

Json chat_body(Json more = Json::object()) {
    Json body = {{"messages", Json::array({{{"role", "user"}, {"content", "hi"}}})}};
    body.update(more);
    return body;
}

Json completion_body(Json more = Json::object()) {
    Json body = {{"prompt", "hi"}};
    body.update(more);
    return body;
}

GenerationRequest chat(Json more = Json::object()) {
    return read_chat_request(chat_body(more), context());
}
GenerationRequest completion(Json more = Json::object()) {
    return read_completion_request(completion_body(more), context());
}

struct Refusal {
    std::string param, message;
    ErrorKind kind = ErrorKind::io;  // not refused
};

Refusal refusal(const Json& body, bool is_chat = true) {
    try {
        is_chat ? read_chat_request(body, context()) : read_completion_request(body, context());
    } catch (const RequestError& error) {
        return {error.param(), error.what(), error.kind()};
    }
    return {};
}

const Json wrong_values[] = {true,
                             7,
                             0.5,
                             "text",
                             Json::array(),
                             Json::array({Json::object()}),
                             Json::object(),
                             Json::object({{"a", 1}})};

bool fits(fields::Scalar::Type type, const Json& value) {
    switch (type) {
        case fields::Scalar::Type::boolean:
            return value.is_boolean();
        case fields::Scalar::Type::integer:
            return value.is_number_integer();
        case fields::Scalar::Type::number:
            return value.is_number();
        case fields::Scalar::Type::text:
            return value.is_string();
    }
    return false;
}

TEST(RequestReader, EveryPlainFieldRefusesOtherTypes) {
    for (const fields::Scalar& rule : fields::scalars()) {
        const bool is_chat = (rule.forms & fields::chat) != 0;
        for (const Json& value : wrong_values) {
            if (fits(rule.type, value)) continue;
            const Json field = {{std::string(rule.name), value}};
            const Refusal refused = refusal(is_chat ? chat_body(field) : completion_body(field), is_chat);
            EXPECT_EQ(refused.param, rule.name) << value;
            EXPECT_NE(refused.message.find(rule.name), std::string::npos) << refused.message;
        }
    }
}

TEST(RequestReader, EveryNumberHasBounds) {
    for (const fields::Scalar& rule : fields::scalars()) {
        if (rule.type != fields::Scalar::Type::integer && rule.type != fields::Scalar::Type::number) continue;
        if (rule.name == "seed") continue;  // any 64 bits
        ASSERT_LT(rule.low, rule.high) << rule.name;
        for (const double value : {rule.low - 1, rule.high + 1, -1e300, 1e300}) {
            const Json number = rule.type == fields::Scalar::Type::integer && std::abs(value) < 1e15
                                    ? Json(static_cast<int64_t>(value))
                                    : Json(value);
            EXPECT_EQ(refusal(chat_body({{std::string(rule.name), number}})).param, rule.name) << number;
        }
    }
}

TEST(RequestReader, NullIsAsIfAbsent) {
    std::set<std::string> names;
    for (const auto& rule : fields::scalars()) names.emplace(rule.name);
    for (const auto& rule : fields::structured()) names.emplace(rule.name);
    for (const auto& rule : fields::unsupported()) names.emplace(rule.name);
    for (const auto name : fields::ignored()) names.emplace(name);
    for (const std::string& name : names) {
        if (name == "messages" || name == "prompt") continue;
        EXPECT_EQ(refusal(chat_body({{name, nullptr}})).kind, ErrorKind::io) << name;
        EXPECT_EQ(refusal(completion_body({{name, nullptr}}), false).kind, ErrorKind::io) << name;
    }
}

TEST(RequestReader, IgnoredFieldsTakeAnything) {
    for (const auto name : fields::ignored())
        for (const Json& value : wrong_values)
            EXPECT_EQ(refusal(chat_body({{std::string(name), value}})).kind, ErrorKind::io) << name;
    EXPECT_EQ(refusal(chat_body({{"no_such_field", 1}})).kind, ErrorKind::io);
}

TEST(RequestReader, UnsupportedFieldsAreRefusedByName) {
    for (const auto& rule : fields::unsupported()) {
        const Refusal refused = refusal(chat_body({{std::string(rule.name), Json::object({{"a", 1}})}}));
        EXPECT_EQ(refused.param, rule.name);
        EXPECT_EQ(refused.kind, ErrorKind::unsupported);
    }
    EXPECT_EQ(refusal(chat_body({{"response_format", {{"type", "json_object"}}}})).param, "response_format");
    EXPECT_EQ(refusal(chat_body({{"response_format", {{"type", "text"}}}})).kind, ErrorKind::io);
}

TEST(RequestReader, StructuredFieldsRefuseWhatTheyCannotRead) {
    const std::pair<const char*, Json> bad[] = {
        {"messages", Json::array()},
        {"messages", "hi"},
        {"messages[0]", Json::array({"hi"})},
        {"messages[0].role", Json::array({{{"content", "hi"}}})},
        {"messages[0].role", Json::array({{{"role", 1}}})},
        {"stop", 1},
        {"stop", Json::array({1})},
        {"stop", ""},
        {"stop", std::string(1025, 'x')},
        {"stop", Json(std::vector<std::string>(17, "x"))},
        {"stop_token_ids", "1"},
        {"stop_token_ids", Json::array({1000})},
        {"stop_token_ids", Json::array({-1})},
        {"stop_token_ids", Json(std::vector<int>(301, 1))},
        {"allowed_token_ids", Json::array()},
        {"allowed_token_ids", Json::array({5000})},
        {"logit_bias", Json::array()},
        {"logit_bias", {{"x", 1}}},
        {"logit_bias", {{"1000", 1}}},
        {"logit_bias", {{"-1", 1}}},
        {"logit_bias", {{"1", "x"}}},
        {"tools", "x"},
        {"tools[0]", Json::array({1})},
        {"tools[0].function", Json::array({{{"type", "function"}}})},
        {"tools[0].type", Json::array({{{"type", "web"}, {"function", {{"name", "f"}}}}})},
        {"tools[0].function.name", Json::array({{{"type", "function"}, {"function", {{"name", 1}}}}})},
        {"tools[0].function.parameters",
         Json::array({{{"type", "function"}, {"function", {{"name", "f"}, {"parameters", 1}}}}})},
        {"tool_choice", 1},
        {"tool_choice", "sometimes"},
        {"stream_options", 1},
        {"stream_options.include_usage", {{"include_usage", 1}}},
        {"logprobs", 3},
        {"response_format", "text"},
        {"response_format.type", Json::object()},
        {"chat_template_kwargs", 1},
        {"chat_template_kwargs.a", {{"a", Json::array()}}},
        {"chat_template_kwargs.messages", {{"messages", 1}}},
        {"reasoning", 1},
        {"reasoning_effort", "huge"},
    };
    for (const auto& [param, value] : bad) {
        const std::string path = param;
        const std::string field = path.substr(0, path.find_first_of(".["));
        EXPECT_EQ(refusal(chat_body({{field, value}})).param, param) << value;
    }
}

TEST(RequestReader, PromptForms) {
    EXPECT_EQ(completion().prompts.at(0).text, "hi");
    EXPECT_EQ(completion({{"prompt", {"a", "b"}}}).prompts.at(1).text, "b");
    EXPECT_EQ(completion({{"prompt", {1, 2, 3}}}).prompts.at(0).token_ids, (std::vector<int32_t>{1, 2, 3}));
    const auto lists = completion({{"prompt", Json::array({{1, 2}, {3}})}}).prompts;
    ASSERT_EQ(lists.size(), 2u);
    EXPECT_EQ(lists[1].token_ids, std::vector<int32_t>{3});
    for (const Json& bad :
         {Json(1), Json::array(), Json::object(), Json::array({"a", 1}), Json::array({1, "a"}),
          Json::array({1, 5000}), Json::array({1.5}), Json::array({true})})
        EXPECT_TRUE(refusal(completion_body({{"prompt", bad}}), false).param.starts_with("prompt")) << bad;
    EXPECT_EQ(refusal(Json::object(), false).param, "prompt");
    EXPECT_EQ(completion().max_tokens, 16);
    EXPECT_FALSE(completion().parse_output);
}

TEST(RequestReader, DefaultsComeFromTheModelAndGiveWay) {
    ReaderContext with = context();
    with.defaults = GenerationDefaults::from_json(
        {{"temperature", 0.6}, {"top_p", 0.95}, {"top_k", 20}, {"max_new_tokens", 100}, {"min_p", "no"}});
    GenerationRequest request = read_chat_request(chat_body(), with);
    EXPECT_FLOAT_EQ(request.sampling.temperature, 0.6f);
    EXPECT_FLOAT_EQ(request.sampling.top_p, 0.95f);
    EXPECT_EQ(request.sampling.top_k, 20);
    EXPECT_EQ(request.max_tokens, 100);
    request = read_chat_request(chat_body({{"temperature", 0}, {"top_k", -1}, {"max_tokens", 500}}), with);
    EXPECT_EQ(request.sampling.temperature, 0.0f);
    EXPECT_EQ(request.sampling.top_k, 0);
    EXPECT_EQ(request.max_tokens, 100);  // a cap
    EXPECT_EQ(chat().max_tokens, std::nullopt);
    EXPECT_EQ(chat({{"max_tokens", 5}, {"max_completion_tokens", 7}}).max_tokens, 7);
    EXPECT_EQ(chat({{"max_completion_tokens", 7}, {"max_tokens", 5}}).max_tokens, 7);
}

TEST(RequestReader, ThinkingIsAskedForInManyWays) {
    const auto thinking = [](const Json& more) { return chat(more).template_kwargs["enable_thinking"]; };
    EXPECT_TRUE(thinking(Json::object()).is_null());
    EXPECT_EQ(thinking({{"enable_thinking", true}}), true);
    EXPECT_EQ(thinking({{"reasoning_effort", "none"}}), false);
    EXPECT_TRUE(thinking({{"reasoning_effort", "high"}}).is_null());
    EXPECT_EQ(thinking({{"reasoning", {{"enabled", false}}}}), false);
    EXPECT_EQ(thinking({{"enable_thinking", true}, {"chat_template_kwargs", {{"enable_thinking", false}}}}),
              false);
    ReaderContext with = context();
    with.defaults.template_kwargs = {{"enable_thinking", false}, {"other", 1}};
    EXPECT_EQ(read_chat_request(chat_body(), with).template_kwargs,
              Json({{"enable_thinking", false}, {"other", 1}}));
    EXPECT_EQ(
        read_chat_request(chat_body({{"enable_thinking", true}}), with).template_kwargs["enable_thinking"],
        true);
}

TEST(RequestReader, ToolChoice) {
    const Json tools = Json::array({{{"type", "function"}, {"function", {{"name", "f"}}}}});
    const auto with = [&](const Json& choice) {
        return chat_body({{"tools", tools}, {"tool_choice", choice}});
    };
    EXPECT_TRUE(read_chat_request(with("auto"), context()).parse_tools);
    EXPECT_FALSE(read_chat_request(with("none"), context()).parse_tools);
    EXPECT_EQ(refusal(with("required")).kind, ErrorKind::unsupported);
    EXPECT_NE(refusal(with("required")).message.find("not supported yet"), std::string::npos);
    const Json named = {{"type", "function"}, {"function", {{"name", "f"}}}};
    EXPECT_EQ(refusal(with(named)).kind, ErrorKind::unsupported);
    const Json unknown = {{"type", "function"}, {"function", {{"name", "g"}}}};
    EXPECT_EQ(refusal(with(unknown)).kind, ErrorKind::invalid_input);
    EXPECT_EQ(refusal(chat_body({{"tool_choice", "auto"}})).param, "tool_choice");
    EXPECT_EQ(refusal(chat_body({{"tool_choice", "none"}})).kind, ErrorKind::io);
    EXPECT_TRUE(chat({{"tools", Json::array()}}).tools.is_null());
}

TEST(RequestReader, FieldsThatNeedEachOther) {
    EXPECT_EQ(refusal(chat_body({{"top_logprobs", 2}})).param, "top_logprobs");
    EXPECT_EQ(chat({{"top_logprobs", 2}, {"logprobs", true}}).sampling.logprobs, 2);
    EXPECT_EQ(chat({{"logprobs", true}}).sampling.logprobs, 0);
    EXPECT_EQ(chat({{"logprobs", false}}).sampling.logprobs, -1);
    EXPECT_EQ(completion({{"logprobs", 3}}).sampling.logprobs, 3);
    EXPECT_EQ(completion({{"logprobs", 3}, {"echo", true}}).sampling.prompt_logprobs, 3);
    EXPECT_EQ(refusal(chat_body({{"stream_options", {{"include_usage", true}}}})).param, "stream_options");
    EXPECT_EQ(refusal(chat_body({{"min_tokens", 5}, {"max_tokens", 4}})).param, "min_tokens");
    EXPECT_EQ(refusal(chat_body({{"n", 2}, {"best_of", 3}})).param, "best_of");
    EXPECT_EQ(refusal(chat_body({{"prompt_logprobs", 1}, {"stream", true}})).param, "prompt_logprobs");
    EXPECT_FALSE(chat({{"continue_final_message", true}}).add_generation_prompt);
}

TEST(RequestReader, NumbersInOtherSpellings) {
    EXPECT_EQ(chat({{"max_tokens", 16.0}}).max_tokens, 16);
    EXPECT_EQ(refusal(chat_body({{"max_tokens", 16.5}})).param, "max_tokens");
    EXPECT_EQ(chat({{"seed", -1}}).seed, UINT64_MAX);
    EXPECT_EQ(chat({{"seed", UINT64_MAX}}).seed, UINT64_MAX);
    EXPECT_EQ(chat({{"seed", INT64_MIN}}).seed, uint64_t{1} << 63);
    EXPECT_GT(chat({{"top_p", 0}}).sampling.top_p, 0.0f);
    const auto bias = chat({{"logit_bias", {{"5", 1000}, {"7", -3}}}}).sampling.logit_bias;
    EXPECT_EQ(bias, (std::vector<std::pair<int32_t, float>>{{5, 100.0f}, {7, -3.0f}}));
}

// Whatever stands in the fields, a request is read or refused; nothing else may come of it.
TEST(RequestReader, RandomFieldsAreReadOrRefused) {
    std::mt19937 random(1);
    std::vector<std::string> names = {"unknown", "messages", "prompt"};
    for (const auto& rule : fields::scalars()) names.emplace_back(rule.name);
    for (const auto& rule : fields::structured()) names.emplace_back(rule.name);
    for (const auto& rule : fields::unsupported()) names.emplace_back(rule.name);
    const char* values[] = {"null",
                            "true",
                            "0",
                            "-1",
                            "1",
                            "1.5",
                            "1e18",
                            "\"\"",
                            "\"none\"",
                            "\"auto\"",
                            "[]",
                            "{}",
                            "[1]",
                            "[[1]]",
                            "[null]",
                            "[{}]",
                            "[\"a\"]",
                            "{\"1\":1}",
                            "{\"type\":\"text\"}",
                            "{\"include_usage\":true}",
                            "[{\"role\":\"user\"}]",
                            "[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]",
                            "{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"};
    int read = 0, refused = 0;
    for (int i = 0; i < 20'000; ++i) {
        Json body = i % 2 ? chat_body() : completion_body();
        for (size_t field = random() % 4; field > 0; --field)
            body[names[random() % names.size()]] = Json::parse(values[random() % std::size(values)]);
        try {
            i % 2 ? read_chat_request(body, context()) : read_completion_request(body, context());
            ++read;
        } catch (const RequestError&) {
            ++refused;
        }
    }
    EXPECT_GT(read, 1000);
    EXPECT_GT(refused, 1000);
}

TEST(RequestReader, LinesTakeOneKindOfInput) {
    EXPECT_TRUE(
        read_line_request({{"id", "x"}, {"prompt", "a"}, {"logprobs", true}}, context()).parse_output);
    EXPECT_EQ(read_line_request({{"token_ids", {1, 2}}}, context()).prompts.at(0).token_ids.size(), 2u);
    EXPECT_TRUE(read_line_request(chat_body(), context()).is_chat());
    EXPECT_THROW(read_line_request(Json::object(), context()), RequestError);
    EXPECT_THROW(read_line_request({{"prompt", "a"}, {"token_ids", {1}}}, context()), RequestError);
    EXPECT_THROW(read_line_request(chat_body({{"prompt", "a"}}), context()), RequestError);
    EXPECT_THROW(read_line_request({{"prompt", {"a"}}}, context()), RequestError);
    EXPECT_THROW(read_line_request(Json::array(), context()), RequestError);
}

}  // namespace
}  // namespace sheaf
