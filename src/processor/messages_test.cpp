#include "processor/messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace sheaf {
namespace {

using nlohmann::ordered_json;

ordered_json normalized(const char* messages) {
    return normalize_messages(ordered_json::parse(messages));
}

std::string error_of(const char* messages, ErrorKind kind = ErrorKind::invalid_input) {
    try {
        (void)normalized(messages);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), kind);
        return error.what();
    }
    return "no error";
}

TEST(Messages, PlainOnesStayAsTheyAre) {
    const auto messages = ordered_json::parse(
        R"([{"role": "system", "content": "s"}, {"role": "user", "content": "u", "name": "n"}, {"role": "assistant", "content": "a"}])");
    EXPECT_EQ(normalize_messages(messages), messages);
}

TEST(Messages, SystemAndDeveloperBecomeOneAtTheFront) {
    EXPECT_EQ(
        normalized(R"([{"role": "user", "content": "u"}, {"role": "developer", "content": "one"},
                             {"role": "system", "content": [{"type": "text", "text": "t"}, {"type": "text", "text": "wo"}]},
                             {"role": "system", "content": null}, {"role": "system", "content": "three"}])"),
        ordered_json::parse(
            R"([{"role": "system", "content": "one\n\ntwo\n\nthree"}, {"role": "user", "content": "u"}])"));
}

TEST(Messages, ContentOfEveryKind) {
    EXPECT_EQ(normalized(R"([{"role": "user"}])")[0]["content"], "");
    EXPECT_EQ(normalized(R"([{"role": "user", "content": null}])")[0]["content"], "");
    EXPECT_EQ(normalized(R"([{"role": "user", "content": []}])")[0]["content"], "");
    EXPECT_EQ(
        normalized(
            R"([{"role": "tool", "tool_call_id": "x", "content": ["a", {"type": "text", "text": "b"}]}])"),
        ordered_json::parse(R"([{"role": "tool", "content": "ab", "tool_call_id": "x"}])"));
}

TEST(Messages, MediaKeepTheirPlaces) {
    EXPECT_EQ(normalized(R"([{"role": "user", "content": [{"type": "text", "text": "see "},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}}, {"type": "text", "text": "and"},
            {"type": "video_url", "video_url": {"url": "file:///v.mp4"}, "uuid": "7"}, {"type": "video", "video": ["1.png", "2.png"]},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "BB"}},
            {"type": "input_image", "image_url": "u"}, {"type": "image", "uuid": "8"}]}])")[0]["content"],
              ordered_json::parse(R"([{"type": "text", "text": "see "},
            {"type": "image", "image": "data:image/png;base64,AA", "detail": "low"}, {"type": "text", "text": "and"},
            {"type": "video", "video": "file:///v.mp4", "uuid": "7"}, {"type": "video", "video": ["1.png", "2.png"]},
            {"type": "image", "image": "data:image/png;base64,BB"}, {"type": "image", "image": "u"},
            {"type": "image", "image": null, "uuid": "8"}])"));
}

TEST(Messages, ReasoningUnderAnyName) {
    EXPECT_EQ(
        normalized(R"([{"role": "assistant", "content": "a", "reasoning": "r"}])")[0]["reasoning_content"],
        "r");
    EXPECT_EQ(
        normalized(
            R"([{"role": "assistant", "content": "a", "reasoning": "r", "reasoning_content": "c"}])")[0],
        ordered_json::parse(R"({"role": "assistant", "content": "a", "reasoning_content": "c"})"));
    EXPECT_EQ(
        normalized(
            R"([{"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": "s"},
                             {"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "a"}]}])")
            [0],
        ordered_json::parse(R"({"role": "assistant", "content": "a", "reasoning_content": "t"})"));
    EXPECT_FALSE(normalized(R"([{"role": "assistant", "content": "a", "reasoning": null}])")[0].contains(
        "reasoning_content"));
}

ordered_json arguments_of(const std::string& arguments) {
    const ordered_json call = {
        {"id", "c"}, {"type", "function"}, {"function", {{"name", "f"}, {"arguments", arguments}}}};
    const ordered_json message = {
        {"role", "assistant"}, {"content", nullptr}, {"tool_calls", ordered_json::array({call})}};
    return normalize_messages(ordered_json::array({message}))[0]["tool_calls"][0]["function"]["arguments"];
}

TEST(Messages, ArgumentsBecomeObjects) {
    EXPECT_EQ(arguments_of(R"({"b": 1, "a": [true, 1.0]})").dump(), R"({"b":1,"a":[true,1.0]})");
    EXPECT_EQ(arguments_of(""), ordered_json::object());
    EXPECT_EQ(arguments_of("null"), ordered_json::object());
    EXPECT_EQ(arguments_of("{\"a\": "), "{\"a\": ");
    EXPECT_EQ(arguments_of("[1]"), "[1]");
    const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
    EXPECT_EQ(arguments_of(deep), deep);
}

TEST(Messages, CallsInOlderForms) {
    EXPECT_EQ(normalized(R"([{"role": "assistant", "function_call": {"name": "f", "arguments": "{\"a\": 1}"}},
                             {"role": "function", "name": "f", "content": "r"}])"),
              ordered_json::parse(R"([{"role": "assistant", "content": "",
                  "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]},
                  {"role": "tool", "content": "r", "name": "f"}])"));
    EXPECT_EQ(normalized(R"([{"role": "assistant", "tool_calls": [{"name": "f"}]}])")[0]["tool_calls"],
              ordered_json::parse(R"([{"type": "function", "function": {"name": "f", "arguments": {}}}])"));
    EXPECT_FALSE(
        normalized(R"([{"role": "assistant", "content": "x", "tool_calls": []}])")[0].contains("tool_calls"));
}

TEST(Messages, BadShapesNameTheField) {
    EXPECT_EQ(error_of(R"({})"), "messages must be a list");
    EXPECT_EQ(error_of(R"([])"), "messages must not be empty");
    EXPECT_EQ(error_of(R"([5])"), "messages[0] must be an object");
    EXPECT_EQ(error_of(R"([{"content": "x"}])"), "messages[0].role is missing");
    EXPECT_EQ(error_of(R"([{"role": 1}])"), "messages[0].role must be text");
    EXPECT_EQ(error_of(R"([{"role": "user", "content": "x"}, {"role": "user", "content": 5}])"),
              "messages[1].content must be text or a list of parts");
    EXPECT_EQ(error_of(R"([{"role": "user", "content": [{"type": "text"}]}])"),
              "messages[0].content[0].text is missing");
    EXPECT_EQ(error_of(R"([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])"),
              "messages[0].content[0].image_url.url must be text");
    EXPECT_EQ(error_of(R"([{"role": "user", "content": [{"type": "image_url"}]}])"),
              "messages[0].content[0] has no URL");
    EXPECT_EQ(error_of(R"([{"role": "user", "content": [{"type": "smell"}]}])"),
              "messages[0].content[0].type must be text, image_url or video_url, not 'smell'");
    EXPECT_EQ(error_of(R"([{"role": "user", "content": [{"type": "thinking", "thinking": "x"}]}])"),
              "messages[0].content[0].type must be text, image_url or video_url, not 'thinking'");
    EXPECT_EQ(error_of(R"([{"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}])"),
              "messages[0].tool_calls[0].function.name is missing");
    EXPECT_EQ(
        error_of(R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": 5}}]}])"),
        "messages[0].tool_calls[0].function.arguments must be JSON text or an object");
    EXPECT_EQ(error_of(R"([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}])",
                       ErrorKind::unsupported),
              "messages[0].content[0].type: 'input_audio' is not supported: text, images and videos are");
}

}  // namespace
}  // namespace sheaf
