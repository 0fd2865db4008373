// Values as text: Python's str() and repr(), and JSON as json.dumps writes it. Used by output, filters and
// operators of the template dialect. It must not know where the text goes.
#pragma once

#include <optional>
#include <string>

#include "processor/jinja/value.h"

namespace sheaf::jinja {

/// str(value) at the end of `out`. Errors: invalid_input when `out` would pass the budget's text limit.
void append_text(Budget& budget, std::string& out, const Value& value);
std::string to_text(Budget& budget, const Value& value);
void append_repr(Budget& budget, std::string& out, const Value& value);
std::string to_repr(Budget& budget, const Value& value);

/// repr(float): the shortest digits that read back as the same number.
std::string real_text(double value);

struct JsonStyle {
    bool ensure_ascii = false;
    std::optional<std::string> indent;  // of one level; none: all on one line
    std::string item_separator = ", ";
    std::string key_separator = ": ";
    bool sort_keys = false;
};

/// json.dumps(value). Errors: invalid_input for what JSON has no form for.
std::string to_json(Budget& budget, const Value& value, const JsonStyle& style);

}  // namespace sheaf::jinja
