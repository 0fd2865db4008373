// The filters, tests and globals of the dialect, by name. Implemented in filters_*.cpp, tests.cpp and
// globals.cpp; asked by the parser and by filters that take the name of another (map, select ...). It must
// not know syntax.
#pragma once

#include <string_view>

#include "processor/jinja/object.h"

namespace sheaf::jinja {

using Filter = Value (*)(Interpreter& interpreter, const Value& value, const Arguments& arguments);
using Predicate = bool (*)(Interpreter& interpreter, const Value& value, const Arguments& arguments);

/// Null: there is none of that name.
Filter find_filter(std::string_view name);
Predicate find_test(std::string_view name);

/// range, dict, namespace, cycler, joiner, raise_exception, strftime_now. Missing: no such global.
Value find_global(std::string_view name);

/// What raise_exception throws: an Error whose text is the template's own.
class Raised final : public Error {
  public:
    explicit Raised(std::string message) : Error(ErrorKind::invalid_input, std::move(message)) {}
};

// The parts of the filter table.
struct NamedFilter {
    std::string_view name;
    Filter filter;
};
Filter find_text_filter(std::string_view name);
Filter find_number_filter(std::string_view name);
Filter find_sequence_filter(std::string_view name);
Filter find_selection_filter(std::string_view name);

}  // namespace sheaf::jinja
