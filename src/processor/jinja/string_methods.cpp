// The methods of str. On Markup they give Markup, and escape what they take in.
#include <algorithm>

#include "processor/jinja/arguments.h"
#include "processor/jinja/format.h"
#include "processor/jinja/interpreter.h"
#include "processor/jinja/print.h"
#include "processor/jinja/strings.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

/// A text result with the subject's own markup.
Value result(Interpreter& interpreter, const Value& self, std::string text) {
    interpreter.budget().text(text.size());
    return Value::text(std::move(text), self.is_markup());
}

/// The argument of a method, escaped where the subject is Markup and it is not.
std::string taken(Interpreter& interpreter, const Value& self, const Parameters& given, std::size_t index) {
    given.text(index);
    return self.is_markup() ? escaped(interpreter.budget(), given[index]) : given[index].as_text();
}

using Mapping = std::string (*)(std::string_view);

template <Mapping mapping>
Value mapped(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters none("case method", arguments, {}, 0);
    interpreter.budget().text(self.as_text().size());
    return result(interpreter, self, mapping(self.as_text()));
}

/// Whether every code point has a property (and there is one).
template <bool (*property)(char32_t)>
Value all_of(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters none("str predicate", arguments, {}, 0);
    const std::string& text = self.as_text();
    interpreter.budget().work(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const unicode::CodePoint c = unicode::decode(text, at);
        if (!property(c.value)) return Value::boolean(false);
        at += c.size;
    }
    return Value::boolean(!text.empty());
}

Value is_ascii(Interpreter&, const Value& self, const Arguments&) {
    return Value::boolean(self.is_ascii());
}

Value is_printable(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    return self.as_text().empty() ? Value::boolean(true)
                                  : all_of<unicode::is_printable>(interpreter, self, arguments);
}

Value is_identifier(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const std::string& text = self.as_text();
    if (text.empty() || !unicode::is_identifier_start(unicode::decode(text, 0).value))
        return Value::boolean(false);
    return all_of<unicode::is_identifier_part>(interpreter, self, arguments);
}

Value is_lower(Interpreter& interpreter, const Value& self, const Arguments&) {
    return Value::boolean(is_all_lower(interpreter.budget(), self.as_text()));
}

Value is_upper(Interpreter& interpreter, const Value& self, const Arguments&) {
    return Value::boolean(is_all_upper(interpreter.budget(), self.as_text()));
}

Value is_title(Interpreter& interpreter, const Value& self, const Arguments&) {
    const std::string& text = self.as_text();
    interpreter.budget().work(text.size());
    bool cased = false;
    bool in_word = false;
    for (std::size_t at = 0; at < text.size();) {
        const unicode::CodePoint c = unicode::decode(text, at);
        const bool capital = unicode::is_upper(c.value) || unicode::is_title(c.value);
        const bool small = unicode::is_lower(c.value);
        if ((capital && in_word) || (small && !in_word)) return Value::boolean(false);
        in_word = capital || small;
        cased = cased || in_word;
        at += c.size;
    }
    return Value::boolean(cased);
}

template <Side side>
Value strip(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters given("strip", arguments, {"/chars"}, 0);
    const std::string* characters = given.is_none(0) ? nullptr : &given.text(0);
    return result(interpreter, self, strip_text(interpreter.budget(), self.as_text(), side, characters));
}

/// The part of the text between two optional indices, as a view; none when they exclude even the empty text.
std::optional<std::string_view> part(Interpreter& interpreter, const Value& self, const Parameters& given,
                                     std::size_t start_index, std::size_t& start_bytes) {
    const std::string& text = self.as_text();
    interpreter.budget().work(text.size() / 8);
    start_bytes = 0;
    if (given.is_none(start_index) && given.is_none(start_index + 1)) return text;
    const auto size = *length(self);
    const auto clamp = [&](std::optional<std::int64_t> at, std::int64_t otherwise) {
        const std::int64_t value = at.value_or(otherwise);
        return std::max<std::int64_t>(value < 0 ? value + size : value, 0);
    };
    const std::int64_t start = clamp(given.optional_integer(start_index), 0);
    const std::int64_t end = std::min(clamp(given.optional_integer(start_index + 1), size), size);
    if (start > size || start > end) return std::nullopt;
    start_bytes = unicode::offset_of(text, static_cast<std::size_t>(start));
    const std::string_view rest = std::string_view(text).substr(start_bytes);
    return rest.substr(0, unicode::offset_of(rest, static_cast<std::size_t>(end - start)));
}

template <Side side>
Value has_affix(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters given(side == Side::left ? "startswith" : "endswith", arguments,
                           {"/affix", "/start", "/end"}, 1);
    std::size_t offset = 0;
    const auto text = part(interpreter, self, given, 1, offset);
    const auto matches = [&](const Value& affix) {
        if (!affix.is_text())
            fail(ErrorKind::invalid_input, "startswith and endswith want str or a tuple of str, not {}",
                 affix.type_name());
        if (!text) return false;
        return side == Side::left ? text->starts_with(affix.as_text()) : text->ends_with(affix.as_text());
    };
    if (given[0].is_undefined()) fail_undefined(given[0]);
    if (!given[0].is(Kind::tuple)) return Value::boolean(matches(given[0]));
    return Value::boolean(std::any_of(given[0].items().begin(), given[0].items().end(), matches));
}

enum class Missing : std::uint8_t { minus_one, error };

template <Side side, Missing missing>
Value find(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters given("find", arguments, {"/sub", "/start", "/end"}, 1);
    const std::string& needle = given.text(0);
    std::size_t offset = 0;
    const auto text = part(interpreter, self, given, 1, offset);
    std::size_t at = std::string_view::npos;
    if (text) at = side == Side::left ? find_text(*text, needle) : find_last_text(*text, needle);
    if (at != std::string_view::npos)
        return Value::integer(static_cast<std::int64_t>(
            unicode::length(std::string_view(self.as_text()).substr(0, offset + at))));
    if (missing == Missing::error) fail(ErrorKind::invalid_input, "substring not found");
    return Value::integer(-1);
}

Value count(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters given("count", arguments, {"/sub", "/start", "/end"}, 1);
    const std::string& needle = given.text(0);
    std::size_t offset = 0;
    const auto text = part(interpreter, self, given, 1, offset);
    if (!text) return Value::integer(0);
    if (needle.empty()) return Value::integer(static_cast<std::int64_t>(unicode::length(*text)) + 1);
    std::int64_t found = 0;
    for (std::size_t at = find_text(*text, needle); at != std::string_view::npos;
         at = find_text(*text, needle, at + needle.size()))
        ++found;
    return Value::integer(found);
}

Value replace(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters given("replace", arguments, {"/old", "/new", "/count"}, 2);
    const std::string& old_text = given.text(0);
    const std::string new_text = taken(interpreter, self, given, 1);
    return result(
        interpreter, self,
        replace_text(interpreter.budget(), self.as_text(), old_text, new_text, given.integer(2, -1)));
}

Value listed(Interpreter& interpreter, const Value& self, const std::vector<std::string_view>& parts) {
    interpreter.budget().work(parts.size() * sizeof(Value) + self.as_text().size());
    Values out;
    out.reserve(parts.size());
    for (const std::string_view piece : parts)
        out.push_back(Value::text(std::string(piece), self.is_markup()));
    return Value::list(std::move(out));
}

template <Side side>
Value split(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters given("split", arguments, {"sep", "maxsplit"}, 0);
    const std::string* separator = given.is_none(0) ? nullptr : &given.text(0);
    if (separator != nullptr && separator->empty()) fail(ErrorKind::invalid_input, "empty separator");
    return listed(interpreter, self,
                  split_text(interpreter.budget(), self.as_text(), separator, given.integer(1, -1), side));
}

Value split_lines(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters given("splitlines", arguments, {"keepends"}, 0);
    return listed(interpreter, self,
                  split_line_ends(interpreter.budget(), self.as_text(), given.boolean(0, false)));
}

template <Side side>
Value partition(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters given("partition", arguments, {"/sep"}, 1);
    const std::string& separator = given.text(0);
    if (separator.empty()) fail(ErrorKind::invalid_input, "empty separator");
    const std::string& text = self.as_text();
    interpreter.budget().text(text.size());
    const std::size_t at = side == Side::left ? find_text(text, separator) : find_last_text(text, separator);
    const auto piece = [&](std::string part) { return Value::text(std::move(part), self.is_markup()); };
    if (at == std::string::npos) {
        return side == Side::left ? Value::tuple({piece(text), piece(""), piece("")})
                                  : Value::tuple({piece(""), piece(""), piece(text)});
    }
    return Value::tuple(
        {piece(text.substr(0, at)), piece(separator), piece(text.substr(at + separator.size()))});
}

Value join(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters given("join", arguments, {"/iterable"}, 1);
    const auto items = iterate(interpreter, given[0]);
    std::string out;
    bool first = true;
    for (Value item; items->next(interpreter, item);) {
        if (!item.is_text())
            fail(ErrorKind::invalid_input, "join(): expected str instance, {} found", item.type_name());
        if (!first) append_text(interpreter.budget(), out, self);
        first = false;
        if (self.is_markup() && !item.is_markup()) {
            out += escape_html(interpreter.budget(), item.as_text());
        } else {
            append_text(interpreter.budget(), out, item);
        }
    }
    return result(interpreter, self, std::move(out));
}

enum class Justify : std::uint8_t { left, right, center };

template <Justify justify>
Value justified(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters given("justify", arguments, {"/width", "/fillchar"}, 1);
    const std::string fill = given.text_or(1, " ");
    if (unicode::length(fill) != 1)
        fail(ErrorKind::invalid_input, "the fill character must be exactly one character long");
    const std::int64_t size = *length(self);
    const std::int64_t width = given.integer(0, 0);
    if (width <= size) return self;
    const std::int64_t room = width - size;
    std::int64_t left = justify == Justify::left ? 0 : room;
    // Python's rule for odd rooms.
    if (justify == Justify::center) left = room / 2 + (room & width & 1);
    return result(interpreter, self, pad_text(interpreter.budget(), self.as_text(), fill, left, room - left));
}

Value zero_fill(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters given("zfill", arguments, {"/width"}, 1);
    const std::int64_t room = given.integer(0, 0) - *length(self);
    const std::string& text = self.as_text();
    if (room <= 0) return self;
    const bool sign = !text.empty() && (text[0] == '-' || text[0] == '+');
    std::string out = pad_text(interpreter.budget(), sign ? text.substr(1) : text, "0", room, 0);
    if (sign) out.insert(0, 1, text[0]);
    return result(interpreter, self, std::move(out));
}

template <Side side>
Value remove_affix(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters given("removeprefix", arguments, {"/affix"}, 1);
    const std::string& affix = given.text(0);
    const std::string& text = self.as_text();
    interpreter.budget().text(text.size());
    if (side == Side::left && text.starts_with(affix))
        return result(interpreter, self, text.substr(affix.size()));
    if (side == Side::right && text.ends_with(affix))
        return result(interpreter, self, text.substr(0, text.size() - affix.size()));
    return self;
}

Value expand_tabs(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters given("expandtabs", arguments, {"tabsize"}, 0);
    const std::int64_t size = given.integer(0, 8);
    std::string out;
    std::int64_t column = 0;
    const std::string& text = self.as_text();
    for (std::size_t at = 0; at < text.size();) {
        const unicode::CodePoint c = unicode::decode(text, at);
        if (c.value == '\t') {
            const std::int64_t spaces = size > 0 ? size - column % size : 0;
            interpreter.budget().text(out.size() + static_cast<std::size_t>(spaces) >
                                              interpreter.budget().text_limit()
                                          ? interpreter.budget().text_limit() + 1
                                          : static_cast<std::size_t>(spaces));
            out.append(static_cast<std::size_t>(spaces), ' ');
            column += spaces;
        } else {
            out.append(text, at, c.size);
            column = c.value == '\n' || c.value == '\r' ? 0 : column + 1;
        }
        at += c.size;
    }
    return result(interpreter, self, std::move(out));
}

Value format(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    return brace_format(interpreter, self, arguments);
}

Value format_map(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters given("format_map", arguments, {"/mapping"}, 1);
    if (!given[0].is(Kind::dict)) fail(ErrorKind::invalid_input, "format_map() wants a mapping");
    Arguments named;
    for (const Dict::Entry& entry : given[0].as_dict().entries())
        if (entry.key.is_text()) named.named.emplace_back(entry.key.as_text(), entry.value);
    return brace_format(interpreter, self, named);
}

struct Method {
    std::string_view name;
    Function function;
};

constexpr Method kMethods[] = {
    {"capitalize", mapped<unicode::capitalize>},
    {"casefold", mapped<unicode::fold_case>},
    {"center", justified<Justify::center>},
    {"count", count},
    {"endswith", has_affix<Side::right>},
    {"expandtabs", expand_tabs},
    {"find", find<Side::left, Missing::minus_one>},
    {"format", format},
    {"format_map", format_map},
    {"index", find<Side::left, Missing::error>},
    {"isalnum", all_of<unicode::is_alnum>},
    {"isalpha", all_of<unicode::is_alpha>},
    {"isascii", is_ascii},
    {"isdecimal", all_of<unicode::is_decimal>},
    {"isdigit", all_of<unicode::is_digit>},
    {"isidentifier", is_identifier},
    {"islower", is_lower},
    {"isnumeric", all_of<unicode::is_numeric>},
    {"isprintable", is_printable},
    {"isspace", all_of<unicode::is_space>},
    {"istitle", is_title},
    {"isupper", is_upper},
    {"join", join},
    {"ljust", justified<Justify::left>},
    {"lower", mapped<unicode::to_lower>},
    {"lstrip", strip<Side::left>},
    {"partition", partition<Side::left>},
    {"removeprefix", remove_affix<Side::left>},
    {"removesuffix", remove_affix<Side::right>},
    {"replace", replace},
    {"rfind", find<Side::right, Missing::minus_one>},
    {"rindex", find<Side::right, Missing::error>},
    {"rjust", justified<Justify::right>},
    {"rpartition", partition<Side::right>},
    {"rsplit", split<Side::right>},
    {"rstrip", strip<Side::right>},
    {"split", split<Side::left>},
    {"splitlines", split_lines},
    {"startswith", has_affix<Side::left>},
    {"strip", strip<Side::both>},
    {"swapcase", mapped<unicode::swap_case>},
    {"title", mapped<unicode::to_title>},
    {"upper", mapped<unicode::to_upper>},
    {"zfill", zero_fill},
};

}  // namespace

Function find_string_method(std::string_view name, const char** found_name) {
    const auto* const found =
        std::lower_bound(std::begin(kMethods), std::end(kMethods), name,
                         [](const Method& method, std::string_view key) { return method.name < key; });
    if (found == std::end(kMethods) || found->name != name) return nullptr;
    if (found_name != nullptr) *found_name = found->name.data();
    return found->function;
}

}  // namespace sheaf::jinja
