// Python's rules for passing arguments, for the functions, methods, filters and tests that C++ implements.
// Used by them. It must not know what they do.
#pragma once

#include <initializer_list>
#include <optional>

#include "processor/jinja/object.h"

namespace sheaf::jinja {

/// The arguments of one call, by parameter.
class Parameters {
  public:
    /// `names`: the parameters in order, the first `required` of which must be given; one that starts with
    /// '/' cannot be given by name. Errors: invalid_input, where Python raises TypeError.
    Parameters(const char* function, const Arguments& arguments, std::initializer_list<const char*> names,
               std::size_t required);

    bool given(std::size_t index) const { return !values_[index].is_missing(); }
    const Value& operator[](std::size_t index) const { return values_[index]; }

    /// The argument as a whole number, or `otherwise` where it is not given. Errors: invalid_input on another
    /// type.
    std::int64_t integer(std::size_t index, std::int64_t otherwise) const;
    /// None where not given or None.
    std::optional<std::int64_t> optional_integer(std::size_t index) const;
    bool boolean(std::size_t index, bool otherwise) const;
    /// The argument as text. Errors: invalid_input on another type.
    const std::string& text(std::size_t index) const;
    std::string text_or(std::size_t index, std::string otherwise) const;
    /// Not given, or None.
    bool is_none(std::size_t index) const { return !given(index) || values_[index].is_none(); }

  private:
    const char* function_;
    Values values_;
};

}  // namespace sheaf::jinja
