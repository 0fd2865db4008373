// The tests of the dialect: what may follow `is`.
#include <algorithm>

#include "processor/jinja/arguments.h"
#include "processor/jinja/interpreter.h"
#include "processor/jinja/print.h"
#include "processor/jinja/strings.h"

namespace sheaf::jinja {

namespace {

void no_arguments(const Arguments& arguments) {
    const Parameters none("test", arguments, {}, 0);
}

bool leaves(Interpreter& interpreter, const Value& value, const Value& divisor, std::int64_t rest) {
    return equal(interpreter.budget(), arithmetic(interpreter, Arithmetic::modulo, value, divisor),
                 Value::integer(rest));
}

bool odd(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    no_arguments(arguments);
    return leaves(interpreter, value, Value::integer(2), 1);
}

bool even(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    no_arguments(arguments);
    return leaves(interpreter, value, Value::integer(2), 0);
}

bool divisible_by(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters given("divisibleby", arguments, {"num"}, 1);
    return leaves(interpreter, value, given[0], 0);
}

template <bool (*property)(const Value&)>
bool plain(Interpreter&, const Value& value, const Arguments& arguments) {
    no_arguments(arguments);
    return property(value);
}

bool is_defined(const Value& value) {
    return !value.is_undefined();
}
bool is_undefined(const Value& value) {
    return value.is_undefined();
}
bool is_none(const Value& value) {
    return value.is_none();
}
bool is_boolean(const Value& value) {
    return value.is(Kind::boolean);
}
bool is_false(const Value& value) {
    return value.is(Kind::boolean) && !value.as_boolean();
}
bool is_true(const Value& value) {
    return value.is(Kind::boolean) && value.as_boolean();
}
bool is_integer(const Value& value) {
    return value.is(Kind::integer) || value.object_as<BigInteger>() != nullptr;
}
bool is_real(const Value& value) {
    return value.is(Kind::real);
}
bool is_number(const Value& value) {
    return value.is_number() || value.object_as<BigInteger>() != nullptr;
}
bool is_string(const Value& value) {
    return value.is_text();
}
bool is_mapping(const Value& value) {
    return value.is(Kind::dict);
}
bool is_escaped(const Value& value) {
    return value.is_markup();
}

bool is_callable(const Value& value) {
    // An undefined value has a __call__, if only one that fails.
    return value.is_undefined() || (value.is(Kind::object) && value.as_object().is_callable());
}

bool is_sequence(const Value& value) {
    if (value.is(Kind::object)) return value.as_object().is_indexable();
    return value.is_undefined() || value.is_text() || value.is_sequence() || value.is(Kind::dict);
}

bool iterable(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    no_arguments(arguments);
    return try_iterate(interpreter, value) != nullptr;
}

bool lower(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    no_arguments(arguments);
    return is_all_lower(interpreter.budget(), to_text(interpreter.budget(), value));
}

bool upper(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    no_arguments(arguments);
    return is_all_upper(interpreter.budget(), to_text(interpreter.budget(), value));
}

bool same_as(Interpreter&, const Value& value, const Arguments& arguments) {
    const Parameters given("sameas", arguments, {"other"}, 1);
    return value.same_as(given[0]);
}

bool in(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters given("in", arguments, {"seq"}, 1);
    return contains(interpreter, given[0], value);
}

bool names_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    no_arguments(arguments);
    (void)hash(interpreter.budget(), value);  // a list is no name, nor anything else one may ask for
    return value.is_text() && find_filter(value.as_text()) != nullptr;
}

bool names_test(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    no_arguments(arguments);
    (void)hash(interpreter.budget(), value);
    return value.is_text() && find_test(value.as_text()) != nullptr;
}

template <Comparison op>
bool compared(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters given("comparison", arguments, {"/other"}, 1);
    return compare(interpreter.budget(), op, value, given[0]);
}

struct Named {
    std::string_view name;
    Predicate test;
};

constexpr Named kTests[] = {
    {"!=", compared<Comparison::not_equal>},
    {"<", compared<Comparison::less>},
    {"<=", compared<Comparison::less_equal>},
    {"==", compared<Comparison::equal>},
    {">", compared<Comparison::greater>},
    {">=", compared<Comparison::greater_equal>},
    {"boolean", plain<is_boolean>},
    {"callable", plain<is_callable>},
    {"defined", plain<is_defined>},
    {"divisibleby", divisible_by},
    {"eq", compared<Comparison::equal>},
    {"equalto", compared<Comparison::equal>},
    {"escaped", plain<is_escaped>},
    {"even", even},
    {"false", plain<is_false>},
    {"filter", names_filter},
    {"float", plain<is_real>},
    {"ge", compared<Comparison::greater_equal>},
    {"greaterthan", compared<Comparison::greater>},
    {"gt", compared<Comparison::greater>},
    {"in", in},
    {"integer", plain<is_integer>},
    {"iterable", iterable},
    {"le", compared<Comparison::less_equal>},
    {"lessthan", compared<Comparison::less>},
    {"lower", lower},
    {"lt", compared<Comparison::less>},
    {"mapping", plain<is_mapping>},
    {"ne", compared<Comparison::not_equal>},
    {"none", plain<is_none>},
    {"number", plain<is_number>},
    {"odd", odd},
    {"sameas", same_as},
    {"sequence", plain<is_sequence>},
    {"string", plain<is_string>},
    {"test", names_test},
    {"true", plain<is_true>},
    {"undefined", plain<is_undefined>},
    {"upper", upper},
};

}  // namespace

Predicate find_test(std::string_view name) {
    const auto* const found =
        std::lower_bound(std::begin(kTests), std::end(kTests), name,
                         [](const Named& entry, std::string_view key) { return entry.name < key; });
    return found != std::end(kTests) && found->name == name ? found->test : nullptr;
}

}  // namespace sheaf::jinja
