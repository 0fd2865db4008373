#include "processor/jinja/arguments.h"

#include <algorithm>
#include <string_view>

#include "processor/jinja/operators.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

Parameters::Parameters(const char* function, const Arguments& arguments,
                       std::initializer_list<const char*> names, std::size_t required)
    : function_(function), values_(names.size()) {
    if (arguments.positional.size() > names.size())
        fail(ErrorKind::invalid_input, "{}() takes at most {} arguments ({} given)", function, names.size(),
             arguments.positional.size());
    std::copy(arguments.positional.begin(), arguments.positional.end(), values_.begin());
    for (const auto& [name, value] : arguments.named) {
        const auto* found =
            std::find_if(names.begin(), names.end(), [&](const char* n) { return name == n; });
        if (found == names.end())
            fail(ErrorKind::invalid_input, "{}() has no argument named '{}'", function,
                 unicode::cut(name, Limits::quoted_bytes));
        Value& slot = values_[static_cast<std::size_t>(found - names.begin())];
        if (!slot.is_missing())
            fail(ErrorKind::invalid_input, "{}() got several values for argument '{}'", function, name);
        slot = value;
    }
    for (std::size_t i = 0; i < required; ++i)
        if (values_[i].is_missing())
            fail(ErrorKind::invalid_input, "{}() misses the argument '{}'", function,
                 std::string_view(names.begin()[i]).substr(names.begin()[i][0] == '/' ? 1 : 0));
}

std::int64_t Parameters::integer(std::size_t index, std::int64_t otherwise) const {
    if (!given(index)) return otherwise;
    const Value& value = values_[index];
    if (value.is_undefined()) fail_undefined(value);
    if (!value.is_integral())
        fail(ErrorKind::invalid_input, "{}() wants a whole number, not '{}'", function_, value.type_name());
    return value.as_integer();
}

std::optional<std::int64_t> Parameters::optional_integer(std::size_t index) const {
    if (is_none(index)) return std::nullopt;
    return integer(index, 0);
}

bool Parameters::boolean(std::size_t index, bool otherwise) const {
    return given(index) ? truthy(values_[index]) : otherwise;
}

const std::string& Parameters::text(std::size_t index) const {
    const Value& value = values_[index];
    if (value.is_undefined()) fail_undefined(value);
    if (!value.is_text())
        fail(ErrorKind::invalid_input, "{}() wants a str, not '{}'", function_, value.type_name());
    return value.as_text();
}

std::string Parameters::text_or(std::size_t index, std::string otherwise) const {
    return given(index) ? text(index) : std::move(otherwise);
}

}  // namespace sheaf::jinja
