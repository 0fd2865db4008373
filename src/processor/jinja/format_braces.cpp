// "...{}...".format(): fields, conversions, nested specs.
#include <charconv>

#include "processor/jinja/format.h"
#include "processor/jinja/interpreter.h"
#include "processor/jinja/operators.h"
#include "processor/jinja/print.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

class BraceFormatter {
  public:
    BraceFormatter(Interpreter& interpreter, bool markup, const Arguments& arguments)
        : interpreter_(interpreter), markup_(markup), arguments_(arguments) {}

    std::string expand(std::string_view text, int depth);

  private:
    std::string field(std::string_view text, int depth);
    Value lookup(std::string_view name);
    Value argument(std::string_view name);

    Interpreter& interpreter_;
    bool markup_;
    const Arguments& arguments_;
    std::int64_t automatic_ = 0;  // -1 once fields are numbered by hand
};

/// The index of the brace that closes the field starting at `at`.
std::size_t field_end(std::string_view text, std::size_t at) {
    int open = 1;
    bool in_index = false;
    for (; at < text.size(); ++at) {
        if (text[at] == '[') in_index = true;
        if (text[at] == ']') in_index = false;
        if (in_index) continue;
        if (text[at] == '{') ++open;
        if (text[at] == '}' && --open == 0) return at;
    }
    fail(ErrorKind::invalid_input, "expected '}}' before end of string");
}

std::string BraceFormatter::expand(std::string_view text, int depth) {
    if (depth > 2) fail(ErrorKind::invalid_input, "Max string recursion exceeded");
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
        const char c = text[at];
        const bool doubled = at + 1 < text.size() && text[at + 1] == c;
        if (c == '{' && !doubled) {
            if (at + 1 >= text.size())
                fail(ErrorKind::invalid_input, "Single '{{' encountered in format string");
            const std::size_t end = field_end(text, at + 1);
            const std::string piece = field(text.substr(at + 1, end - at - 1), depth);
            interpreter_.budget().text(out.size() + piece.size() > interpreter_.budget().text_limit()
                                           ? out.size() + piece.size()
                                           : piece.size());
            out += piece;
            at = end + 1;
        } else if (c == '}' && !doubled) {
            fail(ErrorKind::invalid_input, "Single '}}' encountered in format string");
        } else {
            out.push_back(c);
            at += c == '{' || c == '}' ? 2 : 1;
        }
    }
    interpreter_.budget().text(out.size());
    return out;
}

std::string BraceFormatter::field(std::string_view text, int depth) {
    std::size_t name_end = 0;
    bool in_index = false;
    for (; name_end < text.size(); ++name_end) {
        if (text[name_end] == '[') in_index = true;
        if (text[name_end] == ']') in_index = false;
        if (!in_index && (text[name_end] == '!' || text[name_end] == ':')) break;
    }
    char conversion = 0;
    std::string_view rest = text.substr(name_end);
    if (rest.starts_with('!')) {
        if (rest.size() < 2)
            fail(ErrorKind::invalid_input, "end of string while looking for conversion specifier");
        conversion = rest[1];
        rest.remove_prefix(2);
        if (!rest.empty() && rest[0] != ':')
            fail(ErrorKind::invalid_input, "expected ':' after conversion specifier");
    }
    if (!rest.empty()) rest.remove_prefix(1);
    Budget& budget = interpreter_.budget();
    Value value = lookup(text.substr(0, name_end));
    const std::string spec = expand(rest, depth + 1);
    switch (conversion) {
        case 0:
            break;
        case 's':
            value = Value::text(to_text(budget, value));
            break;
        case 'r':
            value = Value::text(to_repr(budget, value));
            break;
        case 'a':
            value = Value::text(to_repr(budget, value));
            break;
        default:
            fail(ErrorKind::invalid_input, "Unknown conversion specifier");
    }
    if (value.is_undefined() && !spec.empty())
        fail(ErrorKind::invalid_input, "unsupported format for an undefined value");
    const std::string formatted = format_value(interpreter_, value, spec);
    return markup_ && !value.is_markup() ? escape_html(budget, formatted) : formatted;
}

Value BraceFormatter::argument(std::string_view name) {
    std::int64_t index = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
    const bool is_number =
        !name.empty() && name[0] != '-' && error == std::errc() && end == name.data() + name.size();
    if (name.empty() || is_number) {
        if (name.empty() ? automatic_ < 0 : automatic_ > 0)
            fail(ErrorKind::invalid_input,
                 "cannot switch between manual field specification and automatic field numbering");
        if (name.empty()) {
            index = automatic_++;
        } else {
            automatic_ = -1;
        }
        if (index < 0 || index >= static_cast<std::int64_t>(arguments_.positional.size()))
            fail(ErrorKind::invalid_input, "Replacement index {} out of range for positional args tuple",
                 index);
        return arguments_.positional[static_cast<std::size_t>(index)];
    }
    for (const auto& [key, value] : arguments_.named)
        if (key == name) return value;
    fail(ErrorKind::invalid_input, "a format names a key that is not there");
}

Value BraceFormatter::lookup(std::string_view name) {
    std::size_t at = std::min(name.find_first_of(".["), name.size());
    Value value = argument(name.substr(0, at));
    while (at < name.size()) {
        if (name[at] == '.') {
            const std::size_t end = std::min(name.find_first_of(".[", at + 1), name.size());
            if (end == at + 1) fail(ErrorKind::invalid_input, "Empty attribute in format string");
            value = interpreter_.attribute(value, name.substr(at + 1, end - at - 1));
            at = end;
        } else if (name[at] == '[') {
            const std::size_t end = name.find(']', at);
            if (end == name.npos) fail(ErrorKind::invalid_input, "Missing ']' in format string");
            const std::string_view key = name.substr(at + 1, end - at - 1);
            if (key.empty()) fail(ErrorKind::invalid_input, "Empty attribute in format string");
            std::int64_t index = 0;
            const auto [stop, error] = std::from_chars(key.data(), key.data() + key.size(), index);
            const bool is_number = key[0] != '-' && error == std::errc() && stop == key.data() + key.size();
            value = interpreter_.subscript(value,
                                           is_number ? Value::integer(index) : Value::text(std::string(key)));
            at = end + 1;
        } else {
            fail(ErrorKind::invalid_input, "Only '.' or '[' may follow ']' in format field specifier");
        }
    }
    return value;
}

}  // namespace

Value brace_format(Interpreter& interpreter, const Value& format, const Arguments& arguments) {
    BraceFormatter formatter(interpreter, format.is_markup(), arguments);
    return Value::text(formatter.expand(format.as_text(), 0), format.is_markup());
}

}  // namespace sheaf::jinja
