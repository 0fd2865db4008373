#include "processor/output_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "base/error.h"
#include "processor/output_machine.h"

namespace sheaf {

namespace {

using markup::Match;
using markup::View;
using nlohmann::ordered_json;

constexpr std::size_t kHeldSpace = 256;  // bytes of white space that may turn out to be markup
constexpr std::string_view kReplacement = "\xef\xbf\xbd";

std::map<std::string, ToolSchema> schemas_of(const ordered_json& tools) {
    std::map<std::string, ToolSchema> out;
    if (!tools.is_array()) return out;
    for (const ordered_json& tool : tools) {
        if (!tool.is_object()) continue;
        const auto wrapped = tool.find("function");
        const ordered_json& function = wrapped != tool.end() && wrapped->is_object() ? *wrapped : tool;
        const auto name = function.find("name");
        if (name == function.end() || !name->is_string()) continue;
        for (const char* key : {"parameters", "input_schema"})
            if (const auto found = function.find(key); found != function.end())
                out.emplace(name->get<std::string>(), ToolSchema(*found));
    }
    return out;
}

std::string random_prefix() {
    std::random_device device;
    return fmt::format("call_{:08x}{:08x}", device(), device());
}

}  // namespace

void Utf8Gate::push(std::string_view bytes, std::string& out) {
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        if (!held_.empty() && !continues(byte)) {
            out += kReplacement;
            held_.clear();
        }
        if (held_.empty() && byte < 0x80) {
            out.push_back(c);
        } else if (held_.empty() && (byte < 0xc2 || byte > 0xf4)) {
            out += kReplacement;
        } else {
            held_.push_back(c);
            const auto lead = static_cast<unsigned char>(held_[0]);
            if (held_.size() == (lead < 0xe0 ? 2U : (lead < 0xf0 ? 3U : 4U))) {
                out += held_;
                held_.clear();
            }
        }
    }
}

void Utf8Gate::finish(std::string& out) {
    if (!held_.empty()) out += kReplacement;
    held_.clear();
}

/// Whether `byte` may follow what is held (no overlong forms, surrogates or code points past the end).
bool Utf8Gate::continues(unsigned char byte) const {
    if (byte < 0x80 || byte > 0xbf) return false;
    if (held_.size() > 1) return true;
    switch (static_cast<unsigned char>(held_[0])) {
        case 0xe0:
            return byte >= 0xa0;
        case 0xed:
            return byte <= 0x9f;
        case 0xf0:
            return byte >= 0x90;
        case 0xf4:
            return byte <= 0x8f;
        default:
            return true;
    }
}

OutputMachine::OutputMachine(const ordered_json& tools, bool starts_in_reasoning, bool parse_tools,
                             std::string call_id_prefix)
    : schemas_(schemas_of(tools)),
      id_prefix_(call_id_prefix.empty() ? random_prefix() : std::move(call_id_prefix)),
      parse_tools_(parse_tools),
      state_(starts_in_reasoning ? State::reasoning_start : State::content_start) {}

OutputDelta OutputMachine::push(std::string_view text) {
    SHEAF_CHECK(!final_, "text after finish()");
    gate_.push(text, buffer_);
    return run();
}

OutputDelta OutputMachine::finish(OutputEnd end) {
    SHEAF_CHECK(!final_, "finish() twice");
    final_ = true;
    stopped_ = end == OutputEnd::stopped;
    gate_.finish(buffer_);
    return run();
}

void OutputMachine::take(std::size_t size) {
    constexpr std::size_t kSlack = 4096;
    head_ += size;
    scanned_ = 0;
    if (head_ > kSlack && head_ > buffer_.size() / 2) {
        buffer_.erase(0, head_);
        head_ = 0;
    }
}

void OutputMachine::skip_newlines() {
    take(std::min(text().find_first_not_of('\n'), text().size()));
}

OutputDelta OutputMachine::run() {
    delta_ = {};
    while (step()) {
    }
    return std::move(delta_);
}

bool OutputMachine::step() {
    switch (state_) {
        case State::reasoning_start:
            return reasoning_start();
        case State::reasoning:
            return reasoning();
        case State::call_in_reasoning:
            return call_in_reasoning();
        case State::content_start:
            return content_start();
        case State::content:
            return content();
        case State::call:
            return call();
        case State::value:
            return value();
        case State::call_done:
            return call_done();
        case State::done:
            return false;
    }
    return false;
}

/// Newlines and a <think> that repeats the prompt's are not reasoning.
bool OutputMachine::reasoning_start() {
    had_reasoning_ = true;
    skip_newlines();
    if (text().empty() && !final_) return false;
    const Match think = think_seen_ ? Match{} : view().literal(0, markup::kThink);
    if (think.maybe()) return false;
    if (think) {
        take(think.end);
        think_seen_ = true;
        return true;
    }
    state_ = State::reasoning;
    return true;
}

void OutputMachine::put_reasoning(std::string_view text) {
    // Newlines at the end belong to the markup if </think> follows.
    for (const char c : text) {
        if (c == '\n' && pending_.size() < kHeldSpace) {
            pending_.push_back(c);
            continue;
        }
        if (c == '\n') {
            delta_.reasoning.push_back('\n');  // the oldest goes out, this one stays
            continue;
        }
        delta_.reasoning += pending_;
        pending_.clear();
        delta_.reasoning.push_back(c);
    }
}

bool OutputMachine::reasoning() {
    const std::size_t tag = std::min(text().find('<'), text().size());
    put_reasoning(text().substr(0, tag));
    take(tag);
    if (text().empty()) return end_of_text();
    const Match end = view().literal(0, markup::kEndThink);
    if (end) {
        pending_.clear();
        take(end.end);
        state_ = State::content_start;
        return true;
    }
    const Match call = parse_tools_ ? view().call(0) : Match{};
    if (end.maybe() || call.maybe()) return false;
    if (call) {
        state_ = State::call_in_reasoning;
        scanned_ = call.end;
        return true;
    }
    put_reasoning("<");
    take(1);
    return true;
}

/// A call before </think> was only thought of if </think> comes before its end or other text follows it; it
/// is real if the turn ends, or another call follows.
bool OutputMachine::call_in_reasoning() {
    const auto back_to_reasoning = [&](std::size_t size) {
        put_reasoning(text().substr(0, size));
        take(size);
        state_ = State::reasoning;
        return true;
    };
    const auto make_real = [&] {
        pending_.clear();
        scanned_ = 0;
        state_ = State::content;
        return true;
    };
    for (;;) {
        const std::size_t tag = text().find("</", scanned_);
        if (tag == std::string::npos || tag > kHeldOutput) {
            if (final_ || text().size() > kHeldOutput + 1) return make_real();
            scanned_ = std::max(scanned_, text().empty() ? 0 : text().size() - 1);
            return false;
        }
        scanned_ = tag;
        const Match think = view().literal(tag, markup::kEndThink);
        const Match close = view().literal(tag, markup::kEndCall);
        if (think) return back_to_reasoning(tag);
        if (think.maybe() || close.maybe()) return false;
        if (close) {
            const Match space = view().skip_space(close.end);
            if (space.maybe()) return false;
            if (view().ends(space.end)) return make_real();
            const Match next = view().call(space.end);
            if (next.maybe()) return false;
            return next ? make_real() : back_to_reasoning(close.end);
        }
        scanned_ = tag + 2;
    }
}

/// Before any content: newlines behind </think> are markup, a repeated </think> too; a <think> opens
/// reasoning.
bool OutputMachine::content_start() {
    if (had_reasoning_) {
        skip_newlines();
        if (text().empty() && !final_) return false;
        const Match end = view().literal(0, markup::kEndThink);
        if (end.maybe()) return false;
        if (end) {
            take(end.end);
            return true;
        }
    } else {
        std::size_t at = 0;
        while (at < text().size() && markup::is_space(text()[at]) && at < kHeldSpace) ++at;
        if (at == text().size() && !final_ && at < kHeldSpace) return false;
        const Match think = view().literal(at, markup::kThink);
        if (think.maybe()) return false;
        if (think) {
            take(at);
            state_ = State::reasoning_start;
            return true;
        }
    }
    state_ = State::content;
    return true;
}

void OutputMachine::put_content(std::string_view text) {
    if (!parse_tools_) {
        delta_.content += text;
        return;
    }
    // White space at the end belongs to the markup if a call follows.
    for (const char c : text) {
        if (markup::is_space(c)) {
            pending_.push_back(c);
            if (pending_.size() > kHeldSpace) {
                delta_.content.push_back(pending_.front());
                pending_.erase(0, 1);
                had_content_ = true;
            }
            continue;
        }
        // Behind a call with nothing before it, the space after the markup is not content either.
        if (had_content_ || calls_ == 0) delta_.content += pending_;
        pending_.clear();
        had_content_ = true;
        delta_.content.push_back(c);
    }
}

bool OutputMachine::content() {
    const std::size_t tag = parse_tools_ ? std::min(text().find('<'), text().size()) : text().size();
    put_content(text().substr(0, tag));
    take(tag);
    if (text().empty()) return end_of_text();
    const Match call = view().call(0);
    if (call.maybe()) return false;
    if (call) {
        pending_.clear();
        start_call(call);
        return true;
    }
    put_content("<");
    take(1);
    return true;
}

/// Nothing is left to take: waits, or ends reasoning and content.
bool OutputMachine::end_of_text() {
    if (!final_) return false;
    if (state_ == State::reasoning) delta_.reasoning += pending_;
    if (state_ == State::content && calls_ == 0) delta_.content += pending_;
    pending_.clear();
    state_ = State::done;
    return false;
}

OutputParser::OutputParser(const ordered_json& tools, bool starts_in_reasoning, bool parse_tools,
                           std::string call_id_prefix)
    : machine_(
          std::make_unique<OutputMachine>(tools, starts_in_reasoning, parse_tools, std::move(call_id_prefix))) {}
OutputParser::~OutputParser() = default;
OutputParser::OutputParser(OutputParser&&) noexcept = default;
OutputParser& OutputParser::operator=(OutputParser&&) noexcept = default;

OutputDelta OutputParser::push(std::string_view text) {
    return machine_->push(text);
}
OutputDelta OutputParser::finish(OutputEnd end) {
    return machine_->finish(end);
}
bool OutputParser::truncated_call() const {
    return machine_->truncated();
}
int OutputParser::untyped_values() const {
    return machine_->untyped();
}
int OutputParser::tool_calls() const {
    return machine_->calls();
}

ParsedOutput parse_output(std::string_view text, const ordered_json& tools, bool starts_in_reasoning,
                          bool parse_tools, OutputEnd end, std::string call_id_prefix) {
    OutputParser parser(tools, starts_in_reasoning, parse_tools, std::move(call_id_prefix));
    ParsedOutput out;
    for (const OutputDelta& delta : {parser.push(text), parser.finish(end)}) {
        if (!delta.reasoning.empty()) out.reasoning = out.reasoning.value_or("") + delta.reasoning;
        if (!delta.content.empty()) out.content = out.content.value_or("") + delta.content;
        for (const ToolCallDelta& call : delta.tool_calls) {
            if (!call.id.empty()) out.tool_calls.push_back({call.id, call.name, {}});
            out.tool_calls.back().arguments += call.arguments;
        }
    }
    return out;
}

}  // namespace sheaf
