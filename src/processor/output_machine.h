// The machine behind OutputParser. It lives in its own header because its code is in two files: reasoning and
// content (output_parser.cpp), calls (output_calls.cpp). Used by them alone. It must not know the wire form
// of deltas.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "processor/argument_types.h"
#include "processor/output_markup.h"
#include "processor/output_parser.h"

namespace sheaf {

/// Lets whole characters through, keeps the start of an unfinished one, replaces what is no UTF-8.
class Utf8Gate {
  public:
    void push(std::string_view bytes, std::string& out);
    void finish(std::string& out);

  private:
    bool continues(unsigned char byte) const;

    std::string held_;
};

/// Every decision depends on the text alone, never on where it was cut: a step looks at the text not yet
/// taken, and either decides for good or waits for more.
class OutputMachine {
  public:
    OutputMachine(const nlohmann::ordered_json& tools, bool starts_in_reasoning, bool parse_tools,
                  std::string call_id_prefix);

    OutputDelta push(std::string_view text);
    OutputDelta finish(OutputEnd end);
    bool truncated() const { return truncated_; }
    int untyped() const { return untyped_; }
    int calls() const { return calls_; }

  private:
    enum class State : std::uint8_t {
        reasoning_start,
        reasoning,
        call_in_reasoning,  // perhaps: the text starts with it
        content_start,
        content,
        call,       // between parameters
        value,      // of a parameter
        call_done,  // behind </function>
        done,
    };

    OutputDelta run();
    bool step();
    bool reasoning_start();
    bool reasoning();
    bool call_in_reasoning();
    bool content_start();
    bool content();
    bool call();
    bool call_tag(const markup::View& view);
    bool call_done();
    void start_call(const markup::Match& open);
    void end_call();
    bool end_of_text();

    bool value();
    void start_value(const markup::Match& open);
    void end_value(std::size_t size, std::size_t taken);
    void stream_value(std::size_t size);
    enum class Verdict : std::uint8_t { wait, literal, ended };
    Verdict value_tag(const markup::View& view, std::size_t at);
    Verdict value_close(const markup::View& view, std::size_t at, std::size_t behind);
    Verdict value_missing_close(const markup::View& view, std::size_t at);
    bool value_end_of_text();

    void put_content(std::string_view text);
    void put_reasoning(std::string_view text);
    void put_arguments(std::string_view json);
    std::string_view text() const { return std::string_view(buffer_).substr(head_); }
    void take(std::size_t size);
    void skip_newlines();
    markup::View view() const { return {text(), final_}; }

    const std::map<std::string, ToolSchema> schemas_;
    const std::string id_prefix_;
    const bool parse_tools_;
    State state_;
    Utf8Gate gate_;
    std::string buffer_;
    std::size_t head_ = 0;     // text() is the buffer from here: what is not yet taken
    std::size_t scanned_ = 0;  // of it, known to decide nothing
    bool final_ = false;
    bool stopped_ = false;
    OutputDelta delta_;

    std::string pending_;  // white space that is markup if markup follows
    bool think_seen_ = false;
    bool had_reasoning_ = false;
    bool had_content_ = false;

    int calls_ = 0;
    bool truncated_ = false;
    int untyped_ = 0;
    const ToolSchema* schema_ = nullptr;  // of the current call
    ToolSchema no_schema_;
    std::set<std::string> given_;  // its parameters so far
    std::string parameter_;
    bool skipped_ = false;                         // a parameter given before
    bool streamed_ = false;                        // the value goes out as it comes
    char before_ = '\n';                           // the byte before the rest of the value
    bool value_started_ = false;                   // its first newline has been seen to
    std::size_t first_close_ = std::string::npos;  // a </parameter> that may have been text
};

/// Bytes that may be held while something is undecided; beyond them the likelier reading is taken.
inline constexpr std::size_t kHeldOutput = std::size_t{64} << 10;

}  // namespace sheaf
