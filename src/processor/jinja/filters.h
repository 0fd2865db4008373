// What the filter files share. Used by filters_*.cpp alone. It must not know syntax.
#pragma once

#include <functional>
#include <optional>

#include "processor/jinja/arguments.h"
#include "processor/jinja/interpreter.h"
#include "processor/jinja/operators.h"

namespace sheaf::jinja {

/// The item's attribute by a dotted path ("a.b.0"), a number, or the item itself (None). `otherwise`: in
/// place of undefined.
class AttributePath {
  public:
    AttributePath(const Value& path, Value otherwise = Value());
    Value of(Interpreter& interpreter, const Value& item) const;

  private:
    Values parts_;
    Value otherwise_;
};

/// Text in lower case; anything else as it is.
Value ignoring_case(Interpreter& interpreter, const Value& value);

/// What a lazy filter takes from, opened when the first item is asked for.
class Source {
  public:
    explicit Source(Value value) : value_(std::move(value)) {}
    bool next(Interpreter& interpreter, Value& out) {
        if (!items_) items_ = iterate(interpreter, value_);
        return items_->next(interpreter, out);
    }
    const Value& value() const { return value_; }

  private:
    Value value_;
    std::shared_ptr<Iterator> items_;
};

/// An iterator value over `next`; `holds`: what it keeps alive.
Value lazy(const Values& holds, FunctionIterator::Next next);

/// Python's int(text, base) and float(text); none where it raises ValueError. int() fails when the number is
/// too large.
std::optional<std::int64_t> parse_integer(std::string_view text, std::int64_t base);
std::optional<double> parse_real(std::string_view text);

/// getattr() of the sandbox, without keys; missing where there is none (attributes.cpp).
Value plain_attribute(Interpreter& interpreter, const Value& value, std::string_view name);

}  // namespace sheaf::jinja
