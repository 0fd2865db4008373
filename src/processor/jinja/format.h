// Python's two ways of formatting: "..." % values and "...".format(values). Used by operators, filters and
// string methods. It must not know syntax.
#pragma once

#include <string_view>

#include "processor/jinja/object.h"

namespace sheaf::jinja {

/// format % arguments. Errors: invalid_input, where Python raises.
Value percent_format(Interpreter& interpreter, const Value& format, const Value& arguments);

/// format.format(*positional, **named).
Value brace_format(Interpreter& interpreter, const Value& format, const Arguments& arguments);

/// format(value, spec).
std::string format_value(Interpreter& interpreter, const Value& value, std::string_view spec);

}  // namespace sheaf::jinja
