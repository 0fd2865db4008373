#include "processor/output_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "processor/argument_types.h"

namespace sheaf {
namespace {

using nlohmann::ordered_json;

ordered_json tool(const std::string& name, const ordered_json& properties,
                  ordered_json extra = ordered_json::object()) {
    ordered_json parameters = {{"type", "object"}, {"properties", properties}};
    parameters.update(extra);
    return {{"type", "function"}, {"function", {{"name", name}, {"parameters", parameters}}}};
}

const ordered_json& tools() {
    static const ordered_json kTools = ordered_json::array(
        {tool("weather", {{"city", {{"type", "string"}}}, {"days", {{"type", "integer"}}}}),
         tool("edit", {{"path", {{"type", "string"}}},
                       {"code", {{"type", "string"}}},
                       {"force", {{"type", "boolean"}}}}),
         tool(
             "mixed",
             {{"maybe", {{"type", {"string", "null"}}}},
              {"ratio", {{"type", "number"}}},
              {"list", {{"type", "array"}, {"items", {{"type", "integer"}}}}},
              {"point", {{"$ref", "#/$defs/Point"}}},
              {"either", {{"anyOf", {{{"type", "integer"}}, {{"type", "boolean"}}}}}},
              {"unit", {{"enum", {"c", "f", 1}}}},
              {"open", {{"description", "anything"}}}},
             {{"$defs", {{"Point", {{"type", "object"}, {"properties", {{"x", {{"type", "number"}}}}}}}}}})});
    return kTools;
}

ParsedOutput parse(const std::string& text, bool reasoning = false, OutputEnd end = OutputEnd::stopped) {
    return parse_output(text, tools(), reasoning, true, end, "id");
}

std::string call_of(const std::string& name,
                    const std::vector<std::pair<std::string, std::string>>& parameters) {
    std::string out = "<tool_call>\n<function=" + name + ">\n";
    for (const auto& [key, value] : parameters)
        out += "<parameter=" + key + ">\n" + value + "\n</parameter>\n";
    return out + "</function>\n</tool_call>";
}

std::string only_arguments(const std::string& text) {
    const ParsedOutput out = parse(text);
    return out.tool_calls.size() == 1 ? out.tool_calls[0].arguments
                                      : "calls: " + std::to_string(out.tool_calls.size());
}

/// The JSON value that `text` becomes for a parameter of `mixed`.
std::string typed(const std::string& parameter, const std::string& text) {
    const std::string arguments = only_arguments(call_of("mixed", {{parameter, text}}));
    const std::string head = "{\"" + parameter + "\": ";
    return arguments.substr(head.size(), arguments.size() - head.size() - 1);
}

TEST(OutputParser, ReasoningEndsAtItsTag) {
    const ParsedOutput out = parse("I think.\n</think>\n\nHello", true);
    EXPECT_EQ(out.reasoning, "I think.");
    EXPECT_EQ(out.content, "Hello");
    EXPECT_TRUE(out.tool_calls.empty());
}

TEST(OutputParser, ReasoningWithoutEndIsAllReasoning) {
    const ParsedOutput out = parse("still thinking about <b", true, OutputEnd::cut);
    EXPECT_EQ(out.reasoning, "still thinking about <b");
    EXPECT_EQ(out.content, std::nullopt);
}

TEST(OutputParser, WithoutThinkingAllIsContent) {
    const ParsedOutput out = parse("\n plain </think> text\n");
    EXPECT_EQ(out.reasoning, std::nullopt);
    EXPECT_EQ(out.content, "\n plain </think> text\n");
}

TEST(OutputParser, AThinkTagInTheOutputOpensReasoning) {
    EXPECT_EQ(parse("<think>\nhm\n</think>\n\nyes").reasoning, "hm");
    EXPECT_EQ(parse("<think>\nhm\n</think>\n\nyes", true).reasoning, "hm");
    EXPECT_EQ(parse("\n<think>\nhm\n</think></think>\n\nyes").content, "yes");
}

TEST(OutputParser, EmptyReasoningIsNone) {
    const ParsedOutput out = parse("\n</think>\n\nyes", true);
    EXPECT_EQ(out.reasoning, std::nullopt);
    EXPECT_EQ(out.content, "yes");
}

TEST(OutputParser, ACall) {
    const ParsedOutput out =
        parse("Let me look.\n\n" + call_of("weather", {{"city", "Zürich \"x\"\nb"}, {"days", "3"}}) + "\n");
    EXPECT_EQ(out.content, "Let me look.");
    ASSERT_EQ(out.tool_calls.size(), 1U);
    EXPECT_EQ(out.tool_calls[0].name, "weather");
    EXPECT_EQ(out.tool_calls[0].id, "id0000");
    EXPECT_EQ(out.tool_calls[0].arguments, R"({"city": "Zürich \"x\"\nb", "days": 3})");
}

TEST(OutputParser, CallsInARowAndTextBehindThem) {
    const ParsedOutput out =
        parse(call_of("weather", {{"city", "A"}}) + "\n" + call_of("none", {}) + "\n\nDone.\n");
    ASSERT_EQ(out.tool_calls.size(), 2U);
    EXPECT_EQ(out.tool_calls[1].name, "none");
    EXPECT_EQ(out.tool_calls[1].arguments, "{}");
    EXPECT_NE(out.tool_calls[0].id, out.tool_calls[1].id);
    EXPECT_EQ(out.content, "Done.");
}

TEST(OutputParser, OnlyCallsLeaveNoContent) {
    EXPECT_EQ(parse("think\n</think>\n\n" + call_of("weather", {{"city", "A"}}), true).content, std::nullopt);
}

TEST(OutputParser, WithoutToolParsingCallsAreContent) {
    const std::string text = "x " + call_of("weather", {{"city", "A"}}) + "\n";
    EXPECT_EQ(parse_output(text, tools(), false, false).content, text);
}

TEST(OutputParser, AMentionIsNoCall) {
    const std::string text = "Use <tool_call> or <tool_call>\n<function or <tool_call><function=\n>.";
    const ParsedOutput out = parse(text);
    EXPECT_EQ(out.content, text);
    EXPECT_TRUE(out.tool_calls.empty());
}

TEST(OutputParser, AMentionIsReleasedAtOnce) {
    OutputParser parser(tools(), false, true);
    EXPECT_EQ(parser.push("see <tool_call> tags").content, "see <tool_call> tags");
}

TEST(OutputParser, ACallInReasoningWithoutItsEndIsReal) {
    const ParsedOutput out = parse("I should look.\n" + call_of("weather", {{"city", "A"}}), true);
    EXPECT_EQ(out.reasoning, "I should look.");
    ASSERT_EQ(out.tool_calls.size(), 1U);
    EXPECT_EQ(out.content, std::nullopt);
}

TEST(OutputParser, ACallThoughtOfIsReasoning) {
    const std::string thought = "Perhaps\n" + call_of("weather", {{"city", "A"}}) + "\nor so";
    const ParsedOutput out = parse(thought + "\n</think>\n\nNo.", true);
    EXPECT_EQ(out.reasoning, thought);
    EXPECT_EQ(out.content, "No.");
    EXPECT_TRUE(out.tool_calls.empty());
    EXPECT_EQ(parse(call_of("weather", {{"city", "A"}}) + "\n</think>\nNo.", true).tool_calls.size(), 0U);
}

TEST(OutputParser, TwoCallsInReasoningAreReal) {
    EXPECT_EQ(parse("x" + call_of("weather", {{"city", "A"}}) + call_of("weather", {{"city", "B"}}), true)
                  .tool_calls.size(),
              2U);
}

TEST(OutputParser, CodeMayContainTheMarkup) {
    const std::string code = "s = '</parameter>'\n</parameter>\n<parameter=other>\nx = \"<parameter=\"";
    const ordered_json arguments =
        ordered_json::parse(only_arguments(call_of("edit", {{"path", "a"}, {"code", code}})));
    EXPECT_EQ(arguments["code"], code);
}

TEST(OutputParser, MissingEndOfParameter) {
    EXPECT_EQ(
        only_arguments(
            "<tool_call>\n<function=weather>\n<parameter=city>\nBonn\n<parameter=days>\n2\n</parameter>\n"
            "</function>\n</tool_call>"),
        R"({"city": "Bonn", "days": 2})");
    EXPECT_EQ(
        only_arguments("<tool_call>\n<function=weather>\n<parameter=city>\nBonn\n</function>\n</tool_call>"),
        R"({"city": "Bonn"})");
}

TEST(OutputParser, MissingEndOfFunctionAndCall) {
    const std::string open = "<tool_call>\n<function=weather>\n<parameter=city>\nBonn\n</parameter>\n";
    EXPECT_EQ(only_arguments(open + "</tool_call>"), R"({"city": "Bonn"})");
    EXPECT_EQ(only_arguments(open + "</function>"), R"({"city": "Bonn"})");
    const ParsedOutput two = parse(open + "</function>\n<function=none>\n</function>\n</tool_call>");
    ASSERT_EQ(two.tool_calls.size(), 2U);
    EXPECT_EQ(two.tool_calls[0].arguments, R"({"city": "Bonn"})");
    EXPECT_EQ(two.tool_calls[1].arguments, "{}");
}

TEST(OutputParser, ACutCallStaysOpen) {
    const std::string open = "<tool_call>\n<function=weather>\n<parameter=city>\nBon";
    OutputParser parser(tools(), false, true);
    std::string arguments;
    for (const OutputDelta& delta : {parser.push(open), parser.finish(OutputEnd::cut)})
        for (const ToolCallDelta& call : delta.tool_calls) arguments += call.arguments;
    EXPECT_EQ(arguments, R"({"city": "Bon)");
    EXPECT_TRUE(parser.truncated_call());
    EXPECT_EQ(parser.tool_calls(), 1);
    EXPECT_EQ(parse(open + "n\n</parameter>\n", false, OutputEnd::cut).tool_calls[0].arguments,
              R"({"city": "Bonn")");
    EXPECT_EQ(parse(open + "n\n</parameter>\n", false, OutputEnd::stopped).tool_calls[0].arguments,
              R"({"city": "Bonn"})");
}

TEST(OutputParser, TextValuesStream) {
    OutputParser parser(tools(), false, true);
    (void)parser.push("<tool_call>\n<function=edit>\n<parameter=code>\n");
    EXPECT_EQ(parser.push("line 1\nli").tool_calls.at(0).arguments, "line 1\\nli");
    EXPECT_EQ(parser.push("ne \xc3").tool_calls.at(0).arguments, "ne ");
    EXPECT_EQ(parser.push("\xa9\n").tool_calls.at(0).arguments, "é");
    const OutputDelta delta = parser.push("x");
    EXPECT_EQ(delta.tool_calls.at(0).arguments, "\\nx");
    EXPECT_EQ(delta.tool_calls.at(0).index, 0);
    EXPECT_TRUE(delta.tool_calls.at(0).id.empty());
    EXPECT_TRUE(delta.tool_calls.at(0).name.empty());
}

TEST(OutputParser, ValuesAreTypedBySchema) {
    EXPECT_EQ(typed("maybe", "null"), "null");
    EXPECT_EQ(typed("maybe", "nullable"), "\"nullable\"");
    EXPECT_EQ(typed("ratio", "5.0"), "5.0");
    EXPECT_EQ(typed("ratio", "12345678901234567890123"), "12345678901234567890123");
    EXPECT_EQ(typed("ratio", ".5"), "0.5");
    EXPECT_EQ(typed("ratio", "nan"), "\"nan\"");
    EXPECT_EQ(typed("list", "[1, \"2\", 3]"), "[1,2,3]");
    EXPECT_EQ(typed("list", " [1, 2] "), "[1, 2]");
    EXPECT_EQ(typed("list", "[1, None, 'a',]"), "[1,null,\"a\"]");
    EXPECT_EQ(typed("point", "{\"x\": 1.50}"), "{\"x\": 1.50}");
    EXPECT_EQ(typed("point", "{'x': '2'}"), "{\"x\":2}");
    EXPECT_EQ(typed("either", "True"), "true");
    EXPECT_EQ(typed("either", "1"), "1");
    EXPECT_EQ(typed("either", "maybe"), "\"maybe\"");
    EXPECT_EQ(typed("unit", "c"), "\"c\"");
    EXPECT_EQ(typed("unit", "1"), "1");
    EXPECT_EQ(typed("open", "3"), "\"3\"");
    EXPECT_EQ(only_arguments(call_of("weather", {{"days", "5.0"}})), R"({"days": 5})");
    EXPECT_EQ(only_arguments(call_of("weather", {{"days", "many"}})), R"({"days": "many"})");
    EXPECT_EQ(only_arguments(call_of("unknown", {{"days", "5"}})), R"({"days": "5"})");
}

TEST(OutputParser, CountsWhatDidNotFit) {
    OutputParser parser(tools(), false, true);
    (void)parser.push(call_of("weather", {{"days", "many"}}));
    (void)parser.finish();
    EXPECT_EQ(parser.untyped_values(), 1);
}

TEST(OutputParser, AParameterGivenTwiceCountsOnce) {
    EXPECT_EQ(only_arguments(call_of("weather", {{"city", "A"}, {"city", "B"}, {"days", "1"}})),
              R"({"city": "A", "days": 1})");
}

TEST(OutputParser, BadUtf8IsReplaced) {
    EXPECT_EQ(parse("a\xff"
                    "b\xe2\x82")
                  .content,
              "a\xef\xbf\xbd"
              "b\xef\xbf\xbd");
}

TEST(OutputParser, SelfReferringSchemasEnd) {
    const ordered_json parameters = {
        {"type", "object"},
        {"properties", {{"a", {{"$ref", "#/$defs/A"}}}}},
        {"$defs",
         {{"A", {{"anyOf", {{{"$ref", "#/$defs/A"}}, {{"$ref", "#/$defs/A"}}, {{"$ref", "#/$defs/A"}}}}}}}}};
    bool fits = true;
    EXPECT_EQ(ToolSchema(parameters).value("a", "1", fits), "\"1\"");
}

/// Everything that came out, with the deltas of each call joined.
ordered_json joined(const std::vector<OutputDelta>& deltas) {
    ordered_json out = {{"reasoning", ""}, {"content", ""}, {"calls", ordered_json::array()}};
    for (const OutputDelta& delta : deltas) {
        out["reasoning"] = out["reasoning"].get<std::string>() + delta.reasoning;
        out["content"] = out["content"].get<std::string>() + delta.content;
        for (const ToolCallDelta& call : delta.tool_calls) {
            auto& calls = out["calls"];
            if (!call.id.empty()) {
                EXPECT_EQ(call.index, static_cast<int>(calls.size()));
                calls.push_back({{"name", call.name}, {"id", call.id}, {"arguments", ""}});
            }
            auto& last = calls.at(static_cast<std::size_t>(call.index))["arguments"];
            last = last.get<std::string>() + call.arguments;
        }
    }
    return out;
}

class RandomOutput {
  public:
    explicit RandomOutput(std::uint32_t seed) : random_(seed) {}

    std::string text() {
        static const std::vector<std::string> kPieces = {
            "<tool_call>",
            "</tool_call>",
            "<function=weather>",
            "<function=edit>",
            "<function=",
            "</function>",
            "<parameter=city>",
            "<parameter=days>",
            "<parameter=code>",
            "<parameter=nope>",
            "</parameter>",
            "<think>",
            "</think>",
            "\n",
            "\n\n",
            " ",
            "text",
            "<",
            ">",
            "</",
            "é",
            "\xe2\x82",
            "7",
            "true",
            "\"",
            "\\",
            "<tool_call>\n<function=weather>\n<parameter=city>\n",
            "\n</parameter>\n</function>\n</tool_call>",
            "\n</parameter>\n<parameter=days>\n"};
        std::string out;
        for (std::size_t i = 0, n = below(40); i < n; ++i) out += kPieces[below(kPieces.size())];
        return out;
    }

    std::vector<std::string> cut(const std::string& text) {
        std::vector<std::string> out;
        const std::size_t longest = 1 + below(12);
        for (std::size_t at = 0; at < text.size();) {
            const std::size_t size = 1 + below(longest);
            out.push_back(text.substr(at, size));
            at += size;
        }
        return out;
    }

    std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }

  private:
    std::mt19937 random_;
};

TEST(OutputParser, StreamedEqualsWholeForEverySplit) {
    RandomOutput random(7);
    for (int i = 0; i < 4000; ++i) {
        const std::string text = random.text();
        const bool reasoning = random.below(2) == 0;
        const OutputEnd end = random.below(2) == 0 ? OutputEnd::cut : OutputEnd::stopped;
        OutputParser whole(tools(), reasoning, true, "id");
        const ordered_json expected = joined({whole.push(text), whole.finish(end)});
        OutputParser streamed(tools(), reasoning, true, "id");
        std::vector<OutputDelta> deltas;
        for (const std::string& piece : random.cut(text)) deltas.push_back(streamed.push(piece));
        deltas.push_back(streamed.finish(end));
        ASSERT_EQ(joined(deltas), expected) << text;
        ASSERT_EQ(whole.truncated_call(), streamed.truncated_call()) << text;
        ASSERT_EQ(whole.untyped_values(), streamed.untyped_values()) << text;
        if (end == OutputEnd::cut || whole.truncated_call()) continue;
        for (const ordered_json& call : expected["calls"])
            ASSERT_TRUE(ordered_json::accept(call["arguments"].get<std::string>())) << text;
    }
}

TEST(OutputParser, LongOutputsTakeLinearTime) {
    std::string text(200'000, '<');
    text += "<tool_call>\n<function=edit>\n<parameter=code>\n" + std::string(200'000, '<') + "</parameter>x";
    text += std::string(300'000, 'y');
    OutputParser parser(tools(), false, true);
    std::size_t size = 0;
    for (std::size_t at = 0; at < text.size(); at += 4)
        for (const ToolCallDelta& call : parser.push(std::string_view(text).substr(at, 4)).tool_calls)
            size += call.arguments.size();
    (void)parser.finish();
    EXPECT_GT(size, 500'000U);  // the </parameter> was text: nothing behind it was held for good
}

}  // namespace
}  // namespace sheaf
