// Filters on sequences and mappings.
#include <algorithm>

#include "processor/jinja/filters.h"
#include "processor/jinja/print.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

Value size(Interpreter&, const Value& value, const Arguments& arguments) {
    const Parameters none("length", arguments, {}, 0);
    const auto count = length(value);
    if (!count) fail(ErrorKind::invalid_input, "object of type '{}' has no len()", value.type_name());
    return Value::integer(*count);
}

Value attr(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters given("attr", arguments, {"name"}, 1);
    const Value found = plain_attribute(interpreter, value, given.text(0));
    return found.is_missing() ? Value::undefined("the object has no such attribute") : found;
}

Value otherwise(Interpreter&, const Value& value, const Arguments& arguments) {
    const Parameters given("default", arguments, {"default_value", "boolean"}, 0);
    const bool replaced = value.is_undefined() || (given.boolean(1, false) && !truthy(value));
    if (!replaced) return value;
    return given.given(0) ? given[0] : Value::text("");
}

Value first(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters none("first", arguments, {}, 0);
    Value item;
    return iterate(interpreter, value)->next(interpreter, item)
               ? item
               : Value::undefined("No first item, sequence was empty.");
}

Value last(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters none("last", arguments, {}, 0);
    const auto items = try_iterate_reversed(interpreter, value);
    if (!items) fail(ErrorKind::invalid_input, "'{}' object is not reversible", value.type_name());
    Value item;
    return items->next(interpreter, item) ? item : Value::undefined("No last item, sequence was empty.");
}

Value list(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters none("list", arguments, {}, 0);
    return Value::list(to_values(interpreter, value));
}

Value items(Interpreter&, const Value& value, const Arguments& arguments) {
    const Parameters none("items", arguments, {}, 0);
    return lazy({value}, [value, at = std::size_t{0}](Interpreter&, Value& out) mutable {
        if (value.is_undefined()) return false;
        if (!value.is(Kind::dict)) fail(ErrorKind::invalid_input, "Can only get item pairs from a mapping.");
        const auto& entries = value.as_dict().entries();
        if (at >= entries.size()) return false;
        out = Value::tuple({entries[at].key, entries[at].value});
        ++at;
        return true;
    });
}

Value reverse(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters none("reverse", arguments, {}, 0);
    if (value.is_text())
        return slice(interpreter.budget(), value, Value::none(), Value::none(), Value::integer(-1));
    if (auto reversed = try_iterate_reversed(interpreter, value)) return Value::object(std::move(reversed));
    Values all = to_values(interpreter, value);
    std::reverse(all.begin(), all.end());
    return Value::list(std::move(all));
}

Value join(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters given("join", arguments, {"d", "attribute"}, 0);
    Budget& budget = interpreter.budget();
    const std::string separator = given.given(0) ? to_text(budget, given[0]) : "";
    const AttributePath path(given.is_none(1) ? Value::none() : given[1]);
    const auto all = iterate(interpreter, value);
    const Value between = Value::text(separator);
    std::string out;
    bool is_first = true;
    for (Value item; all->next(interpreter, item);) {
        if (!is_first) append_text(budget, out, between);
        is_first = false;
        append_text(budget, out, path.of(interpreter, item));
    }
    return Value::text(std::move(out));
}

/// Items with the keys that they are ordered by.
using Keyed = std::vector<std::pair<Value, Value>>;

void sort_by_key(Interpreter& interpreter, Keyed& keyed, bool descending) {
    Budget& budget = interpreter.budget();
    std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
        return descending ? compare(budget, Comparison::less, b.first, a.first)
                          : compare(budget, Comparison::less, a.first, b.first);
    });
}

Value items_of(Keyed& keyed) {
    Values out;
    out.reserve(keyed.size());
    for (auto& [key, item] : keyed) out.push_back(std::move(item));
    return Value::list(std::move(out));
}

Value sort(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters given("sort", arguments, {"reverse", "case_sensitive", "attribute"}, 0);
    const bool exact = given.boolean(1, false);
    // "a,b" sorts by a, then by b.
    std::vector<AttributePath> paths;
    if (given.given(2) && given[2].is_text()) {
        std::string_view rest = given[2].as_text();
        for (;;) {
            const std::size_t comma = std::min(rest.find(','), rest.size());
            paths.emplace_back(Value::text(std::string(rest.substr(0, comma))));
            if (comma == rest.size()) break;
            rest.remove_prefix(comma + 1);
        }
    } else {
        paths.emplace_back(given.is_none(2) ? Value::none() : given[2]);
    }
    Keyed keyed;
    for (const Value& item : to_values(interpreter, value)) {
        Values key;
        for (const AttributePath& path : paths) {
            Value part = path.of(interpreter, item);
            key.push_back(exact ? part : ignoring_case(interpreter, part));
        }
        interpreter.budget().work(2 * sizeof(Value));
        keyed.emplace_back(Value::list(std::move(key)), item);
    }
    sort_by_key(interpreter, keyed, given.boolean(0, false));
    return items_of(keyed);
}

Value dict_sort(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters given("dictsort", arguments, {"case_sensitive", "by", "reverse"}, 0);
    const bool exact = given.boolean(0, false);
    const std::string by = given.text_or(1, "key");
    if (by != "key" && by != "value")
        fail(ErrorKind::invalid_input, "You can only sort by either \"key\" or \"value\"");
    if (value.is_undefined()) fail_undefined(value);
    if (!value.is(Kind::dict))
        fail(ErrorKind::invalid_input, "dictsort wants a mapping, not '{}'", value.type_name());
    Keyed keyed;
    for (const Dict::Entry& entry : value.as_dict().entries()) {
        interpreter.budget().work(4 * sizeof(Value));
        const Value& key = by == "key" ? entry.key : entry.value;
        keyed.emplace_back(exact ? key : ignoring_case(interpreter, key),
                           Value::tuple({entry.key, entry.value}));
    }
    sort_by_key(interpreter, keyed, given.boolean(2, false));
    return items_of(keyed);
}

Value group_by(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters given("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
    const AttributePath path(given[0], given.is_none(1) ? Value() : given[1]);
    const bool exact = given.boolean(2, false);
    Keyed keyed;
    for (const Value& item : to_values(interpreter, value)) {
        Value key = path.of(interpreter, item);
        interpreter.budget().work(2 * sizeof(Value));
        keyed.emplace_back(exact ? key : ignoring_case(interpreter, key), item);
    }
    sort_by_key(interpreter, keyed, false);
    Values groups;
    for (std::size_t start = 0; start < keyed.size();) {
        std::size_t end = start + 1;
        while (end < keyed.size() && equal(interpreter.budget(), keyed[start].first, keyed[end].first)) ++end;
        Values members;
        for (std::size_t i = start; i < end; ++i) members.push_back(keyed[i].second);
        Value grouper = exact ? keyed[start].first : path.of(interpreter, keyed[start].second);
        groups.push_back(Value::group(std::move(grouper), Value::list(std::move(members))));
        start = end;
    }
    return Value::list(std::move(groups));
}

Value unique(Interpreter&, const Value& value, const Arguments& arguments) {
    const Parameters given("unique", arguments, {"case_sensitive", "attribute"}, 0);
    const bool exact = given.boolean(0, false);
    const AttributePath path(given.is_none(1) ? Value::none() : given[1]);
    const auto source = std::make_shared<Source>(value);
    const auto seen = std::make_shared<Dict>();
    return lazy({value}, [=](Interpreter& inner, Value& out) {
        while (source->next(inner, out)) {
            Value key = path.of(inner, out);
            if (!exact) key = ignoring_case(inner, key);
            if (seen->find(inner.budget(), key) != nullptr) continue;
            inner.budget().work(2 * sizeof(Value));
            seen->set(inner.budget(), key, Value::none());
            return true;
        }
        return false;
    });
}

template <Comparison better>
Value extreme(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters given("min or max", arguments, {"case_sensitive", "attribute"}, 0);
    const bool exact = given.boolean(0, false);
    const AttributePath path(given.is_none(1) ? Value::none() : given[1]);
    const auto source = iterate(interpreter, value);
    Value best;
    Value best_key;
    bool found = false;
    for (Value item; source->next(interpreter, item);) {
        Value key = path.of(interpreter, item);
        if (!exact) key = ignoring_case(interpreter, key);
        if (found && !compare(interpreter.budget(), better, key, best_key)) continue;
        found = true;
        best = item;
        best_key = key;
    }
    return found ? best : Value::undefined("No aggregated item, sequence was empty.");
}

Value sum(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters given("sum", arguments, {"attribute", "start"}, 0);
    const AttributePath path(given.is_none(0) ? Value::none() : given[0]);
    Value total = given.given(1) ? given[1] : Value::integer(0);
    if (total.is_text()) fail(ErrorKind::invalid_input, "sum() can't sum strings [use ''.join(seq) instead]");
    const auto source = iterate(interpreter, value);
    for (Value item; source->next(interpreter, item);)
        total = arithmetic(interpreter, Arithmetic::add, total, path.of(interpreter, item));
    return total;
}

Value batch(Interpreter&, const Value& value, const Arguments& arguments) {
    const Parameters given("batch", arguments, {"linecount", "fill_with"}, 1);
    const Value wanted = given[0];
    const Value fill = given.is_none(1) ? Value() : given[1];
    const auto source = std::make_shared<Source>(value);
    const auto pending = std::make_shared<Values>();
    const auto ended = std::make_shared<bool>(false);
    const auto size_of = [](const Values& items) {
        return Value::integer(static_cast<std::int64_t>(items.size()));
    };
    return lazy({value, fill}, [=](Interpreter& inner, Value& out) {
        if (*ended) return false;
        for (Value item; source->next(inner, item);) {
            inner.budget().work(sizeof(Value));
            if (equal(inner.budget(), size_of(*pending), wanted)) {
                out = Value::list(std::exchange(*pending, {item}));
                return true;
            }
            pending->push_back(item);
        }
        *ended = true;
        if (pending->empty()) return false;
        while (!fill.is_missing() && compare(inner.budget(), Comparison::less, size_of(*pending), wanted)) {
            inner.budget().work(sizeof(Value));
            pending->push_back(fill);
        }
        out = Value::list(std::move(*pending));
        return true;
    });
}

Value slices(Interpreter&, const Value& value, const Arguments& arguments) {
    const Parameters given("slice", arguments, {"slices", "fill_with"}, 1);
    const Value wanted = given[0];
    const Value fill = given.is_none(1) ? Value() : given[1];
    return lazy({value, fill}, [=, all = Value(), number = std::int64_t{0}, start = std::int64_t{0}](
                                   Interpreter& inner, Value& out) mutable {
        if (all.is_missing()) all = Value::list(to_values(inner, value));
        if (!wanted.is_integral())
            fail(ErrorKind::invalid_input, "slice wants a whole number, not '{}'", wanted.type_name());
        const std::int64_t count = wanted.as_integer();
        if (count == 0) fail(ErrorKind::invalid_input, "division by zero");
        if (number >= count) return false;
        const auto total = static_cast<std::int64_t>(all.items().size());
        const bool longer = number < total % count;
        const std::int64_t end = start + total / count + (longer ? 1 : 0);
        inner.budget().work(static_cast<std::size_t>(end - start + 1) * sizeof(Value));
        Values part(all.items().begin() + start, all.items().begin() + end);
        if (!fill.is_missing() && !longer) part.push_back(fill);
        out = Value::list(std::move(part));
        start = end;
        ++number;
        return true;
    });
}

constexpr NamedFilter kFilters[] = {
    {"attr", attr},
    {"batch", batch},
    {"count", size},
    {"d", otherwise},
    {"default", otherwise},
    {"dictsort", dict_sort},
    {"first", first},
    {"groupby", group_by},
    {"items", items},
    {"join", join},
    {"last", last},
    {"length", size},
    {"list", list},
    {"max", extreme<Comparison::greater>},
    {"min", extreme<Comparison::less>},
    {"reverse", reverse},
    {"slice", slices},
    {"sort", sort},
    {"sum", sum},
    {"unique", unique},
};

}  // namespace

Filter find_sequence_filter(std::string_view name) {
    for (const NamedFilter& entry : kFilters)
        if (entry.name == name) return entry.filter;
    return nullptr;
}

}  // namespace sheaf::jinja
