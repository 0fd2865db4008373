#include "serve/json_reader.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace sheaf {
namespace {

std::string refusal(const std::string& text, const JsonLimits& limits = {}) {
    try {
        parse_json(text, limits);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::invalid_input);
        return error.what();
    }
    return "";
}

TEST(JsonReader, ReadsWhatTheLibraryReads) {
    for (const char* text :
         {"null", "true", "-1", "18446744073709551615", "1.5e3", "\"a\\u00e9\\ud83d\\ude00\"", "[]", "{}",
          "[1,[2,{\"a\":[]}],null]", "{\"z\":1,\"a\":{\"y\":2,\"b\":[{}]}}"}) {
        EXPECT_EQ(parse_json(text), nlohmann::ordered_json::parse(text)) << text;
        EXPECT_EQ(parse_json(text).dump(), nlohmann::ordered_json::parse(text).dump()) << text;
    }
}

TEST(JsonReader, RefusesWhatIsNoJson) {
    for (const char* text :
         {"", " ", "{", "[1,]", "{\"a\":}", "{'a':1}", "nul", "1 2", "{} x", "\"\\ud800\"", "01", "NaN",
          "\"\xff\"", "\"a\nb\"", "[1", "{\"a\" 1}", "1e999", "\xef\xbb\xbf{"})
        EXPECT_NE(refusal(text), "") << text;
}

TEST(JsonReader, CutAnywhereAnObjectIsRefused) {
    const std::string text =
        R"({"model":"m","messages":[{"role":"user","content":"\u00e9 \n"}],"n":1,"stop":null})";
    for (size_t size = 0; size < text.size(); ++size) EXPECT_NE(refusal(text.substr(0, size)), "") << size;
    EXPECT_EQ(refusal(text), "");
}

TEST(JsonReader, LimitsDepth) {
    const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
    EXPECT_EQ(refusal(nested(64)), "");
    EXPECT_NE(refusal(nested(65)).find("64 levels"), std::string::npos);
    EXPECT_NE(refusal(std::string(5'000'000, '[')), "");
}

TEST(JsonReader, LimitsValues) {
    EXPECT_EQ(refusal("[1,2,3]", {.depth = 64, .nodes = 4}), "");
    EXPECT_NE(refusal("[1,2,3,4]", {.depth = 64, .nodes = 4}), "");
}

TEST(JsonReader, RefusesAKeyTwice) {
    EXPECT_NE(refusal(R"({"a":1,"b":2,"a":3})").find("\"a\" twice"), std::string::npos);
    EXPECT_EQ(refusal(R"({"a":{"a":1},"b":{"a":1}})"), "");
}

TEST(JsonReader, ManyKeysTakeLinearTime) {
    std::string text = "{";
    for (int i = 0; i < 200'000; ++i) text += "\"key" + std::to_string(i) + "\":1,";
    text += "\"end\":{}}";
    EXPECT_EQ(parse_json(text).size(), 200'001u);  // minutes if each key were searched for
}

TEST(JsonReader, ErrorsDoNotEchoTheInput) {
    EXPECT_EQ(refusal("{\"a\": " + std::string(1000, 'x')).find("xxx"), std::string::npos);
    EXPECT_LT(refusal("{\"" + std::string(1000, 'k') + "\":1,\"" + std::string(1000, 'k') + "\":1}").size(),
              160u);
}

TEST(JsonReader, WritesInvalidBytesAsReplacement) {
    EXPECT_EQ(dump_json(nlohmann::ordered_json("a\xff")), "\"a\xef\xbf\xbd\"");
}

}  // namespace
}  // namespace sheaf
