// value.name and value[key], and the methods of dicts, lists, tuples and numbers.
#include <algorithm>
#include <cmath>

#include "processor/jinja/filters.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

struct Method {
    std::string_view name;
    Function function;
};

Value dict_get(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters given("get", arguments, {"/key", "/default"}, 1);
    const Value* found = self.as_dict().find(interpreter.budget(), given[0]);
    if (found != nullptr) return *found;
    return given.given(1) ? given[1] : Value::none();
}

template <DictView::Part part>
Value dict_view(Interpreter&, const Value& self, const Arguments& arguments) {
    const Parameters none("dict view", arguments, {}, 0);
    return Value::object(std::make_shared<DictView>(self, part));
}

Value copy(Interpreter&, const Value& self, const Arguments& arguments) {
    const Parameters none("copy", arguments, {}, 0);
    return self;  // values never change
}

Value sequence_count(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters given("count", arguments, {"/value"}, 1);
    return Value::integer(std::count_if(self.items().begin(), self.items().end(), [&](const Value& item) {
        return item.same_as(given[0]) || equal(interpreter.budget(), item, given[0]);
    }));
}

Value sequence_index(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
    const Parameters given("index", arguments, {"/value", "/start", "/stop"}, 1);
    const Values& items = self.items();
    const auto size = static_cast<std::int64_t>(items.size());
    const auto bound = [&](std::size_t index, std::int64_t otherwise) {
        const std::int64_t at = given.integer(index, otherwise);
        return std::clamp<std::int64_t>(at < 0 ? at + size : at, 0, size);
    };
    for (std::int64_t i = bound(1, 0), end = bound(2, size); i < end; ++i) {
        const Value& item = items[static_cast<std::size_t>(i)];
        if (item.same_as(given[0]) || equal(interpreter.budget(), item, given[0])) return Value::integer(i);
    }
    fail(ErrorKind::invalid_input, "index(): the value is not there");
}

Value is_whole(Interpreter&, const Value& self, const Arguments& arguments) {
    const Parameters none("is_integer", arguments, {}, 0);
    return Value::boolean(std::trunc(self.as_real()) == self.as_real());
}

Value bit_length(Interpreter&, const Value& self, const Arguments& arguments) {
    const Parameters none("bit_length", arguments, {}, 0);
    auto left = static_cast<std::uint64_t>(self.as_integer());
    if (self.as_integer() < 0) left = 0 - left;
    std::int64_t bits = 0;
    for (; left != 0; left >>= 1) ++bits;
    return Value::integer(bits);
}

constexpr Method kDictMethods[] = {
    {"get", dict_get},
    {"items", dict_view<DictView::Part::items>},
    {"keys", dict_view<DictView::Part::keys>},
    {"values", dict_view<DictView::Part::values>},
    {"copy", copy},
};
constexpr Method kListMethods[] = {{"count", sequence_count}, {"index", sequence_index}, {"copy", copy}};
constexpr Method kTupleMethods[] = {{"count", sequence_count}, {"index", sequence_index}};
constexpr Method kRealMethods[] = {{"is_integer", is_whole}};
constexpr Method kIntegerMethods[] = {{"bit_length", bit_length}};

template <std::size_t N>
Value bound(const Method (&methods)[N], const Value& self, std::string_view name) {
    for (const Method& method : methods)
        if (method.name == name)
            return Value::object(std::make_shared<Callable>(method.name.data(), self, method.function));
    return {};
}

Value no_attribute(const Value& value, std::string_view name) {
    const std::string_view shown = unicode::cut(name, Limits::quoted_bytes);
    return Value::undefined(value.is_none()
                                ? fmt::format("'None' has no attribute '{}'", shown)
                                : fmt::format("'{} object' has no attribute '{}'", value.type_name(), shown));
}

Value unsafe_attribute(const Value& value, std::string_view name) {
    return Value::undefined(fmt::format("access to attribute '{}' of '{}' object is unsafe.",
                                        unicode::cut(name, Limits::quoted_bytes), value.type_name()));
}

bool is_hashable(const Value& value) {
    if (value.is(Kind::list) || value.is(Kind::dict)) return false;
    return !value.is(Kind::tuple) || std::all_of(value.items().begin(), value.items().end(), is_hashable);
}

/// getattr(value, name); missing where Python raises AttributeError.
Value python_attribute(Interpreter& interpreter, const Value& value, std::string_view name) {
    // Every Python object has double underscore attributes, all of which the sandbox hides.
    if (name.size() > 4 && name.substr(0, 2) == "__" && name.substr(name.size() - 2) == "__")
        return unsafe_attribute(value, name);
    if (value.is(Kind::object)) {
        if (!name.empty() && name.front() == '_') return {};
        return value.as_object().attribute(interpreter, value, name).value_or(Value());
    }
    if (is_hidden_method(value.kind(), name)) return unsafe_attribute(value, name);
    return find_method(value, name);
}

/// value[key]; missing where Python raises.
Value python_item(Interpreter& interpreter, const Value& value, const Value& key) {
    switch (value.kind()) {
        case Kind::dict: {
            if (!is_hashable(key)) return {};
            const Value* found = value.as_dict().find(interpreter.budget(), key);
            return found == nullptr ? Value() : *found;
        }
        case Kind::list:
        case Kind::tuple:
        case Kind::string: {
            if (!key.is_integral()) return {};
            const auto size = *length(value);
            std::int64_t at = key.as_integer();
            if (at < 0) at += size;
            if (at < 0 || at >= size) return {};
            if (value.is_sequence()) return value.items()[static_cast<std::size_t>(at)];
            return slice(interpreter.budget(), value, Value::integer(at), Value::integer(at + 1),
                         Value::none());
        }
        case Kind::object: {
            if (!value.as_object().is_indexable() || !key.is_integral()) return {};
            return value.as_object().item(key.as_integer()).value_or(Value());
        }
        default:
            return {};
    }
}

}  // namespace

bool is_hidden_method(Kind kind, std::string_view name) {
    static constexpr std::string_view kDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
    static constexpr std::string_view kList[] = {"append", "clear", "pop",    "reverse",
                                                 "insert", "sort",  "extend", "remove"};
    if (kind == Kind::dict) return std::find(std::begin(kDict), std::end(kDict), name) != std::end(kDict);
    if (kind == Kind::list) return std::find(std::begin(kList), std::end(kList), name) != std::end(kList);
    return false;
}

Value find_method(const Value& self, std::string_view name) {
    switch (self.kind()) {
        case Kind::string: {
            const char* known = nullptr;
            const Function function = find_string_method(name, &known);
            return function == nullptr ? Value()
                                       : Value::object(std::make_shared<Callable>(known, self, function));
        }
        case Kind::dict:
            return bound(kDictMethods, self, name);
        case Kind::list:
            return bound(kListMethods, self, name);
        case Kind::tuple:
            if (self.is_group() && name == "grouper") return self.items()[0];
            if (self.is_group() && name == "list") return self.items()[1];
            return bound(kTupleMethods, self, name);
        case Kind::real:
            return bound(kRealMethods, self, name);
        case Kind::integer:
            return bound(kIntegerMethods, self, name);
        default:
            return {};
    }
}

Value plain_attribute(Interpreter& interpreter, const Value& value, std::string_view name) {
    if (value.is_undefined()) fail_undefined(value);
    return python_attribute(interpreter, value, name);
}

Value Interpreter::attribute(const Value& value, std::string_view name) {
    budget_.step();
    if (value.is_undefined()) fail_undefined(value);
    Value found = python_attribute(*this, value, name);
    if (!found.is_missing()) return found;
    if (value.is(Kind::dict))
        if (const Value* item = value.as_dict().find(name)) return *item;
    return no_attribute(value, name);
}

Value Interpreter::subscript(const Value& value, const Value& key) {
    budget_.step();
    if (value.is_undefined()) fail_undefined(value);
    if (value.is_text() && !value.is_ascii()) budget_.work(value.as_text().size() / 8);
    Value found = python_item(*this, value, key);
    if (!found.is_missing()) return found;
    if (key.is_text()) {
        found = python_attribute(*this, value, key.as_text());
        return found.is_missing() ? no_attribute(value, key.as_text()) : found;
    }
    if (key.is_integral()) return no_attribute(value, fmt::format("{}", key.as_integer()));
    return Value::undefined(fmt::format("{} object has no such element", value.type_name()));
}

}  // namespace sheaf::jinja
