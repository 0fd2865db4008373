// map, select, reject and their attribute forms: filters that apply other filters and tests; and the table of
// all filters.
#include <algorithm>

#include "processor/jinja/filters.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

Arguments without_first(const Arguments& arguments, std::size_t count) {
    Arguments out = arguments;
    out.positional.erase(
        out.positional.begin(),
        out.positional.begin() + static_cast<std::ptrdiff_t>(std::min(count, out.positional.size())));
    return out;
}

Values held(const Value& value, const Arguments& arguments) {
    Values out = {value};
    out.insert(out.end(), arguments.positional.begin(), arguments.positional.end());
    for (const auto& [name, argument] : arguments.named) out.push_back(argument);
    return out;
}

const std::string& name_of(const Value& value) {
    if (!value.is_text()) fail(ErrorKind::invalid_input, "the name of a filter or test must be a str");
    return value.as_text();
}

/// Jinja's `if value: for item in value`.
bool next_of(const std::shared_ptr<Source>& source, Interpreter& interpreter, Value& out) {
    return truthy(source->value()) && source->next(interpreter, out);
}

Value map(Interpreter&, const Value& value, const Arguments& arguments) {
    auto source = std::make_shared<Source>(value);
    const auto named = [&](std::string_view name) {
        return std::find_if(arguments.named.begin(), arguments.named.end(),
                            [&](const auto& entry) { return entry.first == name; });
    };
    if (arguments.positional.empty() && named("attribute") != arguments.named.end()) {
        const auto fallback = named("default");
        const bool has_default = fallback != arguments.named.end();
        const AttributePath path(named("attribute")->second,
                                 has_default && !fallback->second.is_none() ? fallback->second : Value());
        const bool too_many = arguments.named.size() > (has_default ? 2U : 1U);
        return lazy(held(value, arguments), [=](Interpreter& inner, Value& out) {
            if (!next_of(source, inner, out)) return false;
            if (too_many) fail(ErrorKind::invalid_input, "map: unexpected keyword argument");
            out = path.of(inner, out);
            return true;
        });
    }
    return lazy(held(value, arguments), [=](Interpreter& inner, Value& out) {
        if (!next_of(source, inner, out)) return false;
        if (arguments.positional.empty()) fail(ErrorKind::invalid_input, "map requires a filter argument");
        out = inner.apply_filter(name_of(arguments.positional[0]), out, without_first(arguments, 1));
        return true;
    });
}

enum class By : std::uint8_t { item, attribute };
enum class Keep : std::uint8_t { true_ones, false_ones };

template <By by, Keep keep>
Value select(Interpreter&, const Value& value, const Arguments& arguments) {
    auto source = std::make_shared<Source>(value);
    constexpr std::size_t skipped = by == By::attribute ? 1 : 0;
    return lazy(held(value, arguments), [=](Interpreter& inner, Value& out) {
        while (next_of(source, inner, out)) {
            if (arguments.positional.size() < skipped)
                fail(ErrorKind::invalid_input, "Missing parameter for attribute name");
            Value subject = out;
            if (by == By::attribute) subject = AttributePath(arguments.positional[0]).of(inner, out);
            const bool holds = arguments.positional.size() > skipped
                                   ? inner.apply_test(name_of(arguments.positional[skipped]), subject,
                                                      without_first(arguments, skipped + 1))
                                   : truthy(subject);
            if (holds == (keep == Keep::true_ones)) return true;
        }
        return false;
    });
}

constexpr NamedFilter kFilters[] = {
    {"map", map},
    {"reject", select<By::item, Keep::false_ones>},
    {"rejectattr", select<By::attribute, Keep::false_ones>},
    {"select", select<By::item, Keep::true_ones>},
    {"selectattr", select<By::attribute, Keep::true_ones>},
};

}  // namespace

AttributePath::AttributePath(const Value& path, Value otherwise) : otherwise_(std::move(otherwise)) {
    if (path.is_none() || path.is_missing()) return;
    if (!path.is_text()) {
        parts_.push_back(path);
        return;
    }
    std::string_view rest = path.as_text();
    for (;;) {
        const std::size_t dot = std::min(rest.find('.'), rest.size());
        const std::string_view part = rest.substr(0, dot);
        const bool is_number = !part.empty() && std::all_of(part.begin(), part.end(),
                                                            [](char c) { return c >= '0' && c <= '9'; });
        const auto number = is_number ? parse_integer(part, 10) : std::nullopt;
        parts_.push_back(number ? Value::integer(*number) : Value::text(std::string(part)));
        if (dot == rest.size()) return;
        rest.remove_prefix(dot + 1);
    }
}

Value AttributePath::of(Interpreter& interpreter, const Value& item) const {
    Value value = item;
    for (const Value& part : parts_) {
        value = interpreter.subscript(value, part);
        if (value.is_undefined() && !otherwise_.is_missing()) value = otherwise_;
    }
    return value;
}

Value ignoring_case(Interpreter& interpreter, const Value& value) {
    if (!value.is_text()) return value;
    interpreter.budget().text(value.as_text().size());
    return Value::text(unicode::to_lower(value.as_text()));
}

Value lazy(const Values& holds, FunctionIterator::Next next) {
    int depth = 0;
    for (const Value& value : holds) depth = std::max(depth, value.depth());
    return Value::object(std::make_shared<FunctionIterator>(depth + 1, std::move(next)));
}

Filter find_selection_filter(std::string_view name) {
    for (const NamedFilter& entry : kFilters)
        if (entry.name == name) return entry.filter;
    return nullptr;
}

Filter find_filter(std::string_view name) {
    for (const auto find :
         {find_text_filter, find_sequence_filter, find_selection_filter, find_number_filter})
        if (const Filter found = find(name)) return found;
    return nullptr;
}

}  // namespace sheaf::jinja
