// Tool calls in the model's output: the half of OutputMachine between <tool_call> and </tool_call>.
#include <fmt/format.h>

#include <algorithm>

#include "processor/output_machine.h"

namespace sheaf {

namespace {

using markup::Match;
using markup::View;

}  // namespace

void OutputMachine::start_call(const Match& open) {
    ToolCallDelta start;
    start.index = calls_++;
    start.id = fmt::format("{}{:04x}", id_prefix_, start.index);
    start.name = open.name;
    delta_.tool_calls.push_back(std::move(start));
    const auto found = schemas_.find(open.name);
    schema_ = found == schemas_.end() ? &no_schema_ : &found->second;
    given_.clear();
    take(open.end);
    state_ = State::call;
}

void OutputMachine::put_arguments(std::string_view json) {
    if (json.empty()) return;
    auto& calls = delta_.tool_calls;
    if (calls.empty() || calls.back().index != calls_ - 1) {
        calls.emplace_back();
        calls.back().index = calls_ - 1;
    }
    calls.back().arguments += json;
}

void OutputMachine::end_call() {
    put_arguments(given_.empty() ? "{}" : "}");
}

bool OutputMachine::call() {
    std::size_t space = 0;
    while (space < text().size() && markup::is_space(text()[space])) ++space;
    take(space);
    if (text().empty()) {
        if (!final_) return false;
        if (stopped_) {
            end_call();
        } else {
            truncated_ = true;
        }
        state_ = State::done;
        return false;
    }
    return call_tag(view());
}

bool OutputMachine::call_tag(const View& at) {
    const Match parameter = at.named(0, markup::kParameter);
    if (parameter) {
        start_value(parameter);
        return true;
    }
    const Match end = at.literal(0, markup::kEndFunction);
    if (end) {
        end_call();
        take(end.end);
        state_ = State::call_done;
        return true;
    }
    // Without </function>: the next call, or the end of this one.
    const Match next = at.named(0, markup::kFunction);
    const Match close = at.literal(0, markup::kEndCall);
    const Match open = at.call(0);
    if (next || close || open) {
        end_call();
        state_ = State::call_done;
        return true;
    }
    if (parameter.maybe() || end.maybe() || next.maybe() || close.maybe() || open.maybe()) return false;
    if (given_.empty()) {
        // Prose that only mentions a call: what follows is content again.
        end_call();
        state_ = State::content;
        return true;
    }
    // Text between parameters means nothing.
    take(std::min(text().find('<', 1), text().size()));
    return true;
}

bool OutputMachine::call_done() {
    std::size_t space = 0;
    while (space < text().size() && markup::is_space(text()[space])) ++space;
    if (space == text().size() && !final_) return false;
    const Match close = view().literal(space, markup::kEndCall);
    const Match next = view().named(space, markup::kFunction);
    if (close.maybe() || next.maybe()) return false;
    if (next) {
        start_call(next);
        return true;
    }
    if (close) take(close.end);
    state_ = State::content;
    return true;
}

void OutputMachine::start_value(const Match& open) {
    parameter_ = open.name;
    skipped_ = given_.count(parameter_) != 0;
    streamed_ = schema_->is_text(parameter_);
    value_started_ = false;
    before_ = '\n';
    first_close_ = std::string::npos;
    take(open.end);
    if (!skipped_) {
        put_arguments(given_.empty() ? "{" : ", ");
        given_.insert(parameter_);
        if (streamed_) put_arguments(fmt::format("\"{}\": \"", json_escaped(parameter_)));
    }
    state_ = State::value;
}

/// Sends `size` bytes of a text value.
void OutputMachine::stream_value(std::size_t size) {
    if (!streamed_ || size == 0) return;
    if (!skipped_) put_arguments(json_escaped(text().substr(0, size)));
    before_ = text()[size - 1];
    const std::size_t kept = scanned_ > size ? scanned_ - size : 0;
    take(size);
    scanned_ = kept;
    if (first_close_ != std::string::npos) first_close_ -= size;
}

/// The value is the first `size` bytes (one newline at the end is markup); `taken` bytes are done with.
void OutputMachine::end_value(std::size_t size, std::size_t taken) {
    if (size > 0 && text()[size - 1] == '\n') --size;
    const std::string_view value = text().substr(0, size);
    if (!skipped_) {
        if (streamed_) {
            put_arguments(json_escaped(value) + "\"");
        } else {
            bool fits = true;
            const std::string json = schema_->value(parameter_, value, fits);
            untyped_ += fits ? 0 : 1;
            put_arguments(fmt::format("\"{}\": {}", json_escaped(parameter_), json));
        }
    }
    take(taken);
    state_ = State::call;
}

bool OutputMachine::value() {
    if (!value_started_) {
        if (text().empty() && !final_) return false;
        if (!text().empty() && text()[0] == '\n') take(1);
        value_started_ = true;
    }
    for (;;) {
        const std::size_t tag = text().find('<', scanned_);
        const bool too_far =
            first_close_ != std::string::npos && std::min(tag, text().size()) > first_close_ + kHeldOutput;
        if (too_far) first_close_ = std::string::npos;  // it was text after all
        const std::size_t decided = std::min({tag, text().size(), first_close_});
        // One newline is kept: it is markup if the value ends here.
        const std::size_t safe = decided > 0 && text()[decided - 1] == '\n' ? decided - 1 : decided;
        if (tag == std::string::npos) {
            scanned_ = text().size();
            stream_value(safe);
            return final_ && value_end_of_text();
        }
        switch (value_tag(view(), tag)) {
            case Verdict::ended:
                return true;
            case Verdict::literal:
                scanned_ = tag + 1;
                break;
            case Verdict::wait:
                scanned_ = tag;
                stream_value(safe);
                return false;
        }
    }
}

OutputMachine::Verdict OutputMachine::value_tag(const View& at, std::size_t tag) {
    const Match close = at.literal(tag, markup::kEndParameter);
    if (close) return value_close(at, tag, close.end);
    const bool line_starts = (tag == 0 ? before_ : text()[tag - 1]) == '\n';
    const Verdict missing = line_starts ? value_missing_close(at, tag) : Verdict::literal;
    return missing == Verdict::literal && close.maybe() ? Verdict::wait : missing;
}

/// </parameter> ends the value if a parameter that the tool has or the end of the call follows; or if the
/// value cannot be text anyway.
OutputMachine::Verdict OutputMachine::value_close(const View& at, std::size_t tag, std::size_t behind) {
    const auto ended = [&] {
        end_value(tag, behind);
        return Verdict::ended;
    };
    if (!streamed_ && !schema_->may_be_text(parameter_)) return ended();
    const Match space = at.skip_space(behind);
    if (space.maybe()) return Verdict::wait;
    if (at.ends(space.end)) return ended();
    const Match parameter = at.named(space.end, markup::kParameter);
    if (parameter && schema_->accepts(parameter.name)) return ended();
    bool undecided = parameter.maybe();
    for (const std::string_view end : {markup::kEndFunction, markup::kEndCall}) {
        const Match match = at.literal(space.end, end);
        if (match) return ended();
        undecided = undecided || match.maybe();
    }
    if (undecided) return Verdict::wait;
    if (first_close_ == std::string::npos) first_close_ = tag;
    return Verdict::literal;
}

/// At the start of a line: markup that can only follow a value whose </parameter> is missing.
OutputMachine::Verdict OutputMachine::value_missing_close(const View& at, std::size_t tag) {
    const auto ended = [&] {
        if (first_close_ != std::string::npos) {
            end_value(first_close_, first_close_ + markup::kEndParameter.size());
        } else {
            end_value(tag, tag);
        }
        return Verdict::ended;
    };
    const Match parameter = at.named(tag, markup::kParameter);
    if (parameter && first_close_ == std::string::npos && schema_->accepts(parameter.name) &&
        given_.count(parameter.name) == 0)
        return ended();
    bool undecided = parameter.maybe();
    const Match function = at.literal(tag, markup::kEndFunction);
    const Match call = at.literal(tag, markup::kEndCall);
    undecided = undecided || function.maybe() || call.maybe();
    if (function || call) {
        const Match space = at.skip_space(function ? function.end : call.end);
        if (space.maybe()) return Verdict::wait;
        if (at.ends(space.end)) return ended();
        const Match follows = function ? at.literal(space.end, markup::kEndCall) : at.call(space.end);
        if (follows) return ended();
        undecided = undecided || follows.maybe();
    }
    return undecided ? Verdict::wait : Verdict::literal;
}

/// The text ended inside a value. True: it turned out to have ended before.
bool OutputMachine::value_end_of_text() {
    if (first_close_ != std::string::npos) {
        end_value(first_close_, first_close_ + markup::kEndParameter.size());
        return true;
    }
    stream_value(text().size());
    truncated_ = true;
    state_ = State::done;
    return false;
}

}  // namespace sheaf
