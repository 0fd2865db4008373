// Filters that make text.
#include <algorithm>
#include <array>

#include "processor/jinja/filters.h"
#include "processor/jinja/format.h"
#include "processor/jinja/print.h"
#include "processor/jinja/strings.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

/// Jinja's soft_str: a text as it is, anything else as str().
Value soft(Interpreter& interpreter, const Value& value) {
    return value.is_text() ? value : Value::text(to_text(interpreter.budget(), value));
}

/// The filter that is the str method of the same name.
Value by_method(Interpreter& interpreter, const Value& value, std::string_view name,
                const Arguments& arguments) {
    return find_string_method(name)(interpreter, soft(interpreter, value), arguments);
}

Value capitalize(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    return by_method(interpreter, value, "capitalize", arguments);
}

Value lower(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    return by_method(interpreter, value, "lower", arguments);
}

Value upper(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    return by_method(interpreter, value, "upper", arguments);
}

Value trim(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters given("trim", arguments, {"chars"}, 0);
    Arguments passed;
    if (given.given(0)) passed.positional.push_back(given[0]);
    return by_method(interpreter, value, "strip", passed);
}

Value center(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters given("center", arguments, {"width"}, 0);
    Arguments passed;
    passed.positional.push_back(given.given(0) ? given[0] : Value::integer(80));
    return by_method(interpreter, value, "center", passed);
}

Value string(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters none("string", arguments, {}, 0);
    return soft(interpreter, value);
}

Value safe(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters none("safe", arguments, {}, 0);
    return Value::text(to_text(interpreter.budget(), value), true);
}

Value escape(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters none("escape", arguments, {}, 0);
    return Value::text(escaped(interpreter.budget(), value), true);
}

Value force_escape(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters none("forceescape", arguments, {}, 0);
    return Value::text(escape_html(interpreter.budget(), to_text(interpreter.budget(), value)), true);
}

/// Every piece between separators (and every separator): first character upper, the rest lower.
Value title(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters none("title", arguments, {}, 0);
    const Value held = soft(interpreter, value);
    const std::string_view text = held.as_text();
    interpreter.budget().text(text.size());
    const auto separates = [](char32_t c) {
        return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || unicode::is_space(c);
    };
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t first = unicode::decode(text, at).size;
        const bool separator = separates(unicode::decode(text, at).value);
        std::size_t end = at + first;
        while (end < text.size()) {
            const unicode::CodePoint c = unicode::decode(text, end);
            if (separates(c.value) != separator) break;
            end += c.size;
        }
        out += unicode::to_upper(text.substr(at, first));
        out += unicode::to_lower(text.substr(at + first, end - at - first));
        at = end;
    }
    return Value::text(std::move(out));
}

Value replace(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters given("replace", arguments, {"old", "new", "count"}, 2);
    Budget& budget = interpreter.budget();
    return Value::text(replace_text(budget, to_text(budget, value), to_text(budget, given[0]),
                                    to_text(budget, given[1]), given.optional_integer(2).value_or(-1)));
}

Value format(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    if (!arguments.positional.empty() && !arguments.named.empty())
        fail(ErrorKind::invalid_input, "can't handle positional and keyword arguments at the same time");
    const Value text = soft(interpreter, value);
    if (arguments.named.empty()) return percent_format(interpreter, text, Value::tuple(arguments.positional));
    Dict named;
    for (const auto& [name, argument] : arguments.named) named.set(name, argument);
    return percent_format(interpreter, text, Value::dict(std::move(named)));
}

Value indent(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters given("indent", arguments, {"width", "first", "blank"}, 0);
    if (value.is_undefined()) fail_undefined(value);
    if (!value.is_text()) fail(ErrorKind::invalid_input, "indent wants a str, not '{}'", value.type_name());
    Budget& budget = interpreter.budget();
    std::string indention;
    if (given.given(0) && given[0].is_text()) {
        indention = value.is_markup() ? escaped(budget, given[0]) : given[0].as_text();
    } else {
        indention = pad_text(budget, "", " ", std::max<std::int64_t>(given.integer(0, 4), 0), 0);
    }
    const std::string text = value.as_text() + "\n";
    const auto lines = split_line_ends(budget, text, false);
    std::string out = given.boolean(1, false) ? indention : "";
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const bool indented = i > 0 && (given.boolean(2, false) || !lines[i].empty());
        const std::size_t more = lines[i].size() + 1 + (indented ? indention.size() : 0);
        budget.text(out.size() + more > budget.text_limit() ? out.size() + more : more);
        if (i > 0) out += "\n";
        if (indented) out += indention;
        out += lines[i];
    }
    return Value::text(std::move(out), value.is_markup());
}

Value truncate(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters given("truncate", arguments, {"length", "killwords", "end", "leeway"}, 0);
    const std::int64_t limit = given.integer(0, 255);
    const Value end = given.given(2) ? given[2] : Value::text("...");
    const std::int64_t leeway = given.optional_integer(3).value_or(5);
    const auto end_size = length(end);
    if (!end.is_text() || limit < *end_size)
        fail(ErrorKind::invalid_input, "truncate: expected length >= that of its end");
    if (leeway < 0) fail(ErrorKind::invalid_input, "truncate: expected leeway >= 0");
    const auto size = length(value);
    if (!size) fail(ErrorKind::invalid_input, "object of type '{}' has no len()", value.type_name());
    if (*size <= limit || *size - limit <= leeway) return value;
    if (!value.is_text()) fail(ErrorKind::invalid_input, "truncate wants a str, not '{}'", value.type_name());
    const Value cut =
        slice(interpreter.budget(), value, Value::none(), Value::integer(limit - *end_size), Value::none());
    Value kept = cut;
    if (!given.boolean(1, false)) {
        const std::size_t space = cut.as_text().rfind(' ');
        if (space != std::string::npos) kept = Value::text(cut.as_text().substr(0, space), cut.is_markup());
    }
    return arithmetic(interpreter, Arithmetic::add, kept, end);
}

Value word_count(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters none("wordcount", arguments, {}, 0);
    const std::string text = to_text(interpreter.budget(), value);
    std::int64_t words = 0;
    bool in_word = false;
    for (std::size_t at = 0; at < text.size();) {
        const unicode::CodePoint c = unicode::decode(text, at);
        const bool is_word = c.value == '_' || unicode::is_alnum(c.value);
        words += is_word && !in_word ? 1 : 0;
        in_word = is_word;
        at += c.size;
    }
    return Value::integer(words);
}

std::string url_quoted(std::string_view text, bool for_query) {
    std::string out;
    for (const char c : text) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (letter || c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !for_query)) {
            out.push_back(c);
        } else if (c == ' ' && for_query) {
            out.push_back('+');
        } else {
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
    return out;
}

Value url_encode(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters none("urlencode", arguments, {}, 0);
    Budget& budget = interpreter.budget();
    const auto single = [&] {
        std::string text = url_quoted(to_text(budget, value), false);
        budget.text(text.size());
        return Value::text(std::move(text));
    };
    if (value.is_text()) return single();
    const Value items = value.is(Kind::dict)
                            ? Value::object(std::make_shared<DictView>(value, DictView::Part::items))
                            : value;
    const auto pairs = try_iterate(interpreter, items);
    if (!pairs) return single();
    std::string out;
    for (Value pair; pairs->next(interpreter, pair);) {
        const Values parts = to_values(interpreter, pair);
        if (parts.size() != 2) fail(ErrorKind::invalid_input, "urlencode wants pairs");
        if (!out.empty()) out += "&";
        out +=
            url_quoted(to_text(budget, parts[0]), true) + "=" + url_quoted(to_text(budget, parts[1]), true);
        if (out.size() > budget.text_limit()) budget.text(out.size());
    }
    budget.text(out.size());
    return Value::text(std::move(out));
}

Value xml_attributes(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters given("xmlattr", arguments, {"autospace"}, 0);
    if (value.is_undefined()) fail_undefined(value);
    if (!value.is(Kind::dict))
        fail(ErrorKind::invalid_input, "xmlattr wants a mapping, not '{}'", value.type_name());
    Budget& budget = interpreter.budget();
    std::string out;
    for (const Dict::Entry& entry : value.as_dict().entries()) {
        if (entry.value.is_none() || entry.value.is_undefined()) continue;
        if (!entry.key.is_text() || entry.key.as_text().find_first_of(" \t\n\r\f\v/>=") != std::string::npos)
            fail(ErrorKind::invalid_input, "invalid character in an attribute name");
        if (!out.empty()) out += " ";
        out += escaped(budget, entry.key) + "=\"" + escaped(budget, entry.value) + "\"";
        if (out.size() > budget.text_limit()) budget.text(out.size());
    }
    if (given.boolean(0, true) && !out.empty()) out.insert(0, 1, ' ');
    return Value::text(std::move(out));
}

Value file_size(Interpreter&, const Value& value, const Arguments& arguments) {
    const Parameters given("filesizeformat", arguments, {"binary"}, 0);
    if (value.is_undefined()) fail_undefined(value);
    std::optional<double> bytes;
    if (value.is_number()) bytes = value.as_real();
    if (value.is_text()) bytes = parse_real(value.as_text());
    if (!bytes) fail(ErrorKind::invalid_input, "filesizeformat wants a number, not '{}'", value.type_name());
    const bool binary = given.boolean(0, false);
    const double base = binary ? 1024 : 1000;
    if (*bytes == 1) return Value::text("1 Byte");
    if (*bytes < base) return Value::text(fmt::format("{} Bytes", static_cast<std::int64_t>(*bytes)));
    static constexpr std::array<char, 8> kPrefixes = {'k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'};
    double unit = base;
    std::size_t i = 0;
    do {
        unit *= base;
    } while (*bytes >= unit && ++i < kPrefixes.size() - 1);
    if (*bytes >= unit) unit *= 1;
    const char prefix = binary && kPrefixes[i] == 'k' ? 'K' : kPrefixes[i];
    return Value::text(fmt::format("{:.1f} {}{}", base * *bytes / unit, prefix, binary ? "iB" : "B"));
}

Value tojson(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters given("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0);
    JsonStyle style;
    style.ensure_ascii = given.boolean(0, false);
    if (!given.is_none(1)) {
        style.indent = given[1].is_text() ? given[1].as_text()
                                          : pad_text(interpreter.budget(), "", " ",
                                                     std::max<std::int64_t>(given.integer(1, 0), 0), 0);
        style.item_separator = ",";
    }
    if (!given.is_none(2)) {
        const Values pair = to_values(interpreter, given[2]);
        if (pair.size() != 2 || !pair[0].is_text() || !pair[1].is_text())
            fail(ErrorKind::invalid_input, "tojson: separators wants a pair of str");
        style.item_separator = pair[0].as_text();
        style.key_separator = pair[1].as_text();
    }
    style.sort_keys = given.boolean(3, false);
    return Value::text(to_json(interpreter.budget(), value, style));
}

constexpr NamedFilter kFilters[] = {
    {"capitalize", capitalize},
    {"center", center},
    {"e", escape},
    {"escape", escape},
    {"filesizeformat", file_size},
    {"forceescape", force_escape},
    {"format", format},
    {"indent", indent},
    {"lower", lower},
    {"replace", replace},
    {"safe", safe},
    {"string", string},
    {"title", title},
    {"tojson", tojson},
    {"trim", trim},
    {"truncate", truncate},
    {"upper", upper},
    {"urlencode", url_encode},
    {"wordcount", word_count},
    {"xmlattr", xml_attributes},
};

}  // namespace

Filter find_text_filter(std::string_view name) {
    for (const NamedFilter& entry : kFilters)
        if (entry.name == name) return entry.filter;
    return nullptr;
}

}  // namespace sheaf::jinja
