// Python's operators on template values: arithmetic, comparison, `in`, slices, iteration. Used by the
// interpreter and the filters. It must not know syntax.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "processor/jinja/object.h"

namespace sheaf::jinja {

enum class Arithmetic : std::uint8_t { add, subtract, multiply, divide, floor_divide, modulo, power };
enum class Comparison : std::uint8_t {
    equal,
    not_equal,
    less,
    less_equal,
    greater,
    greater_equal,
    in,
    not_in
};

/// a op b. Whole numbers are 64 bits wide; what does not fit is an error. Errors: invalid_input, as where
/// Python raises.
Value arithmetic(Interpreter& interpreter, Arithmetic op, const Value& a, const Value& b);
Value negate(const Value& value);
/// Unary plus.
Value posit(const Value& value);

/// All comparisons but `in` and `not in`.
bool compare(Budget& budget, Comparison op, const Value& a, const Value& b);
/// item in container.
bool contains(Interpreter& interpreter, const Value& container, const Value& item);

/// value[start:stop:step]; a missing bound is None.
Value slice(Budget& budget, const Value& value, const Value& start, const Value& stop, const Value& step);

/// iter(value). Null where Python has no iterator.
std::shared_ptr<Iterator> try_iterate(Interpreter& interpreter, const Value& value);
/// The same; an error instead of null.
std::shared_ptr<Iterator> iterate(Interpreter& interpreter, const Value& value);
/// reversed(value). Null where Python has none.
std::shared_ptr<Iterator> try_iterate_reversed(Interpreter& interpreter, const Value& value);
/// list(value), under the budget.
Values to_values(Interpreter& interpreter, const Value& value);
/// len(value), none where Python has none.
std::optional<std::int64_t> length(const Value& value);

/// Where `needle` first stands in `text` at or after `from`; npos: nowhere. Linear time.
std::size_t find_text(std::string_view text, std::string_view needle, std::size_t from = 0);
/// Where it last stands.
std::size_t find_last_text(std::string_view text, std::string_view needle);

/// HTML-escaped, as Markup does it.
std::string escape_html(Budget& budget, std::string_view text);
/// What stands in a Markup text for `value`: itself if Markup, else str(value) escaped.
std::string escaped(Budget& budget, const Value& value);

/// The message of an undefined value as an error.
[[noreturn]] void fail_undefined(const Value& value);

}  // namespace sheaf::jinja
