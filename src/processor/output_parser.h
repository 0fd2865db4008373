// What the model wrote, taken apart: reasoning (up to </think>), content, and tool calls in the XML form that
// the Qwen3.5 templates teach (the reasoning parser "qwen3", the tool parsers "qwen3_coder" and "qwen3_xml").
// Used by the server and `sheaf generate`; the whole text and a stream of it go through the same machine, so
// that any way of cutting the text gives the same result. It must not know tokens, HTTP or the wire form of
// deltas.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sheaf {

/// A piece of the call number `index` (from 0). `id` and `name` are set in the first piece of a call and
/// empty in the others; the `arguments` of all pieces, joined, are JSON text (an object).
struct ToolCallDelta {
    int index = 0;
    std::string id;
    std::string name;
    std::string arguments;
};

/// What one push() released, in the order reasoning, content, tool calls. Empty members: nothing new.
struct OutputDelta {
    std::string reasoning;
    std::string content;
    std::vector<ToolCallDelta> tool_calls;

    bool empty() const { return reasoning.empty() && content.empty() && tool_calls.empty(); }
};

/// How a text ended: by itself (end of turn, stop string), or cut off by a limit.
enum class OutputEnd : std::uint8_t { stopped, cut };

class OutputMachine;

class OutputParser {
  public:
    /// `tools`: the request's tools (array in OpenAI's form, or null); their schemas type the arguments.
    /// `starts_in_reasoning`: the prompt ended inside <think>. `parse_tools` false leaves tool calls in the
    /// content. `call_id_prefix`: ids are this + a number; empty: "call_" + 16 random hex digits.
    OutputParser(const nlohmann::ordered_json& tools, bool starts_in_reasoning, bool parse_tools,
                 std::string call_id_prefix = {});
    ~OutputParser();
    OutputParser(OutputParser&&) noexcept;
    OutputParser& operator=(OutputParser&&) noexcept;

    /// The next text, cut anywhere (even inside a character).
    OutputDelta push(std::string_view text);

    /// The end of the text: releases what was held. A call that is open then is closed if the text stopped by
    /// itself between two parameters; otherwise its arguments stay as far as they are known, unclosed. After
    /// it only the questions below may be asked.
    OutputDelta finish(OutputEnd end = OutputEnd::cut);

    /// After finish(): the arguments of the last call are unclosed.
    bool truncated_call() const;
    /// Values that did not fit the type that the schema asked for and were kept as strings.
    int untyped_values() const;
    /// Calls started so far; with at least one, finish_reason is tool_calls.
    int tool_calls() const;

  private:
    std::unique_ptr<OutputMachine> machine_;
};

struct ToolCall {
    std::string id;
    std::string name;
    std::string arguments;  // JSON text of an object, unclosed when the output ended inside the call
};

struct ParsedOutput {
    std::optional<std::string> reasoning;  // none: there was none
    std::optional<std::string> content;    // none: nothing but reasoning and calls
    std::vector<ToolCall> tool_calls;
};

/// The whole text at once: the joined deltas of OutputParser.
ParsedOutput parse_output(std::string_view text, const nlohmann::ordered_json& tools, bool starts_in_reasoning,
                          bool parse_tools, OutputEnd end = OutputEnd::cut, std::string call_id_prefix = {});

}  // namespace sheaf
