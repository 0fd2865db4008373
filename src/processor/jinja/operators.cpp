#include "processor/jinja/operators.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "processor/jinja/format.h"
#include "processor/jinja/interpreter.h"
#include "processor/jinja/objects.h"
#include "processor/jinja/print.h"

namespace sheaf::jinja {

namespace {

const char* symbol(Arithmetic op) {
    switch (op) {
        case Arithmetic::add:
            return "+";
        case Arithmetic::subtract:
            return "-";
        case Arithmetic::multiply:
            return "*";
        case Arithmetic::divide:
            return "/";
        case Arithmetic::floor_divide:
            return "//";
        case Arithmetic::modulo:
            return "%";
        case Arithmetic::power:
            return "**";
    }
    return "?";
}

const char* symbol(Comparison op) {
    switch (op) {
        case Comparison::equal:
            return "==";
        case Comparison::not_equal:
            return "!=";
        case Comparison::less:
            return "<";
        case Comparison::less_equal:
            return "<=";
        case Comparison::greater:
            return ">";
        case Comparison::greater_equal:
            return ">=";
        case Comparison::in:
            return "in";
        case Comparison::not_in:
            return "not in";
    }
    return "?";
}

[[noreturn]] void too_large() {
    fail(ErrorKind::invalid_input, "a whole number of the template does not fit into 64 bits");
}

[[noreturn]] void division_by_zero() {
    fail(ErrorKind::invalid_input, "division by zero");
}

Value whole_power(std::int64_t base, std::int64_t exponent) {
    if (exponent < 0) {
        if (base == 0) division_by_zero();
        return Value::real(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
    }
    std::int64_t result = 1;
    while (exponent > 0) {
        if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) too_large();
        exponent >>= 1;
        if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) too_large();
    }
    return Value::integer(result);
}

/// Rounds towards minus infinity; the remainder has the divisor's sign.
std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
    if (b == 0) division_by_zero();
    if (b == -1) {
        std::int64_t result = 0;
        if (__builtin_sub_overflow(std::int64_t{0}, a, &result)) too_large();
        return result;
    }
    return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}

std::int64_t floor_modulo(std::int64_t a, std::int64_t b) {
    if (b == 0) division_by_zero();
    if (b == -1) return 0;
    const std::int64_t rest = a % b;
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

Value whole_arithmetic(Arithmetic op, std::int64_t a, std::int64_t b) {
    std::int64_t result = 0;
    bool overflow = false;
    switch (op) {
        case Arithmetic::add:
            overflow = __builtin_add_overflow(a, b, &result);
            break;
        case Arithmetic::subtract:
            overflow = __builtin_sub_overflow(a, b, &result);
            break;
        case Arithmetic::multiply:
            overflow = __builtin_mul_overflow(a, b, &result);
            break;
        case Arithmetic::divide:
            if (b == 0) division_by_zero();
            return Value::real(
                static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
        case Arithmetic::floor_divide:
            result = floor_divide(a, b);
            break;
        case Arithmetic::modulo:
            result = floor_modulo(a, b);
            break;
        case Arithmetic::power:
            return whole_power(a, b);
    }
    if (overflow) too_large();
    return Value::integer(result);
}

/// The quotient and remainder of Python's floats.
std::pair<double, double> real_divmod(double a, double b) {
    if (b == 0) division_by_zero();
    double rest = std::fmod(a, b);
    double quotient = (a - rest) / b;
    if (rest != 0) {
        if ((b < 0) != (rest < 0)) {
            rest += b;
            quotient -= 1.0;
        }
    } else {
        rest = std::copysign(0.0, b);
    }
    if (quotient != 0) {
        const double whole = std::floor(quotient);
        return {quotient - whole > 0.5 ? whole + 1.0 : whole, rest};
    }
    return {std::copysign(0.0, a / b), rest};
}

Value real_power(double a, double b) {
    if (a == 0 && b < 0) division_by_zero();
    const double result = std::pow(a, b);
    if (std::isnan(result) && !std::isnan(a) && !std::isnan(b))
        fail(ErrorKind::invalid_input, "a negative number has no real power with a fractional exponent");
    if (std::isinf(result) && std::isfinite(a) && std::isfinite(b))
        fail(ErrorKind::invalid_input, "the result of ** is too large");
    return Value::real(result);
}

Value real_arithmetic(Arithmetic op, double a, double b) {
    switch (op) {
        case Arithmetic::add:
            return Value::real(a + b);
        case Arithmetic::subtract:
            return Value::real(a - b);
        case Arithmetic::multiply:
            return Value::real(a * b);
        case Arithmetic::divide:
            if (b == 0) division_by_zero();
            return Value::real(a / b);
        case Arithmetic::floor_divide:
            return Value::real(real_divmod(a, b).first);
        case Arithmetic::modulo:
            return Value::real(real_divmod(a, b).second);
        case Arithmetic::power:
            return real_power(a, b);
    }
    return Value::none();
}

std::size_t repeated(Budget& budget, std::size_t bytes, std::int64_t count) {
    if (count <= 0 || bytes == 0) return 0;
    std::size_t total = 0;
    if (__builtin_mul_overflow(bytes, static_cast<std::size_t>(count), &total) ||
        total > budget.text_limit() * 32)
        fail(ErrorKind::invalid_input, "the template repeats a text or list too often");
    return total;
}

Value repeat(Budget& budget, const Value& value, std::int64_t count) {
    if (value.is_text()) {
        const std::string& unit = value.as_text();
        const std::size_t total = repeated(budget, unit.size(), count);
        budget.text(total);
        std::string out;
        out.reserve(total);
        while (out.size() < total) out += unit;
        return Value::text(std::move(out), value.is_markup());
    }
    const Values& unit = value.items();
    const std::size_t total = repeated(budget, unit.size() * sizeof(Value), count);
    budget.work(total);
    Values out;
    out.reserve(total / sizeof(Value));
    while (out.size() < total / sizeof(Value)) out.insert(out.end(), unit.begin(), unit.end());
    return value.is(Kind::list) ? Value::list(std::move(out)) : Value::tuple(std::move(out));
}

Value concatenate(Budget& budget, const Value& a, const Value& b) {
    if (a.is_text()) {
        const bool markup = a.is_markup() || b.is_markup();
        const std::string left = markup && !a.is_markup() ? escape_html(budget, a.as_text()) : std::string();
        const std::string right = markup && !b.is_markup() ? escape_html(budget, b.as_text()) : std::string();
        const std::string& x = markup && !a.is_markup() ? left : a.as_text();
        const std::string& y = markup && !b.is_markup() ? right : b.as_text();
        budget.text(x.size() + y.size());
        std::string out;
        out.reserve(x.size() + y.size());
        out += x;
        out += y;
        return Value::text(std::move(out), markup);
    }
    budget.work((a.items().size() + b.items().size()) * sizeof(Value));
    Values out = a.items();
    out.insert(out.end(), b.items().begin(), b.items().end());
    return a.is(Kind::list) ? Value::list(std::move(out)) : Value::tuple(std::move(out));
}

/// -1, 0, 1, or 2 for unordered; fails for types without an order.
int order(Budget& budget, Comparison op, const Value& a, const Value& b) {
    budget.step();
    if (a.is_undefined()) fail_undefined(a);
    if (b.is_undefined()) fail_undefined(b);
    if (a.is_number() && b.is_number()) return compare_numbers(a, b);
    if (a.is_text() && b.is_text()) {
        budget.work(std::min(a.as_text().size(), b.as_text().size()) / 8);
        const int sign = a.as_text().compare(b.as_text());  // UTF-8 sorts as its code points do
        return sign < 0 ? -1 : (sign > 0 ? 1 : 0);
    }
    if (a.is_sequence() && a.kind() == b.kind()) {
        const Values& x = a.items();
        const Values& y = b.items();
        for (std::size_t i = 0; i < x.size() && i < y.size(); ++i)
            if (!x[i].same_as(y[i]) && !equal(budget, x[i], y[i])) return order(budget, op, x[i], y[i]);
        return x.size() < y.size() ? -1 : (x.size() > y.size() ? 1 : 0);
    }
    fail(ErrorKind::invalid_input, "'{}' not supported between instances of '{}' and '{}'", symbol(op),
         a.type_name(), b.type_name());
}

}  // namespace

void fail_undefined(const Value& value) {
    throw Error(ErrorKind::invalid_input, value.message());
}

Value arithmetic(Interpreter& interpreter, Arithmetic op, const Value& a, const Value& b) {
    Budget& budget = interpreter.budget();
    if (a.is_number() && b.is_number()) {
        return a.is_integral() && b.is_integral() ? whole_arithmetic(op, a.as_integer(), b.as_integer())
                                                  : real_arithmetic(op, a.as_real(), b.as_real());
    }
    if (op == Arithmetic::modulo && a.is_text()) return percent_format(interpreter, a, b);
    if (a.is_undefined()) fail_undefined(a);
    if (b.is_undefined()) fail_undefined(b);
    if (op == Arithmetic::add) {
        // Markup takes anything on its other side; str wants str.
        if (a.is_text() && b.is_text()) return concatenate(budget, a, b);
        if (a.is_sequence() && a.kind() == b.kind()) return concatenate(budget, a, b);
    }
    if (op == Arithmetic::multiply) {
        const auto repeats = [](const Value& value) { return value.is_text() || value.is_sequence(); };
        if (repeats(a) && b.is_integral()) return repeat(budget, a, b.as_integer());
        if (repeats(b) && a.is_integral()) return repeat(budget, b, a.as_integer());
    }
    fail(ErrorKind::invalid_input, "unsupported operand types for {}: '{}' and '{}'", symbol(op),
         a.type_name(), b.type_name());
}

Value negate(const Value& value) {
    if (value.is_undefined()) fail_undefined(value);
    if (value.is(Kind::real)) return Value::real(-value.as_real());
    if (!value.is_integral())
        fail(ErrorKind::invalid_input, "bad operand type for unary -: '{}'", value.type_name());
    return whole_arithmetic(Arithmetic::subtract, 0, value.as_integer());
}

Value posit(const Value& value) {
    if (value.is_undefined()) fail_undefined(value);
    if (value.is(Kind::real)) return value;
    if (!value.is_integral())
        fail(ErrorKind::invalid_input, "bad operand type for unary +: '{}'", value.type_name());
    return Value::integer(value.as_integer());
}

bool compare(Budget& budget, Comparison op, const Value& a, const Value& b) {
    if (op == Comparison::equal) return equal(budget, a, b);
    if (op == Comparison::not_equal) return !equal(budget, a, b);
    const int sign = order(budget, op, a, b);
    switch (op) {
        case Comparison::less:
            return sign == -1;
        case Comparison::less_equal:
            return sign == -1 || sign == 0;
        case Comparison::greater:
            return sign == 1;
        default:
            return sign == 1 || sign == 0;
    }
}

bool contains(Interpreter& interpreter, const Value& container, const Value& item) {
    Budget& budget = interpreter.budget();
    switch (container.kind()) {
        case Kind::string:
            if (!item.is_text())
                fail(ErrorKind::invalid_input, "'in <string>' requires string as left operand, not {}",
                     item.type_name());
            budget.work(container.as_text().size() / 8);
            return find_text(container.as_text(), item.as_text()) != std::string_view::npos;
        case Kind::dict:
            return container.as_dict().find(budget, item) != nullptr;
        case Kind::list:
        case Kind::tuple:
            for (const Value& element : container.items())
                if (element.same_as(item) || equal(budget, element, item)) return true;
            return false;
        default:
            break;
    }
    const auto iterator = try_iterate(interpreter, container);
    if (!iterator)
        fail(ErrorKind::invalid_input, "argument of type '{}' is not iterable", container.type_name());
    Value element;
    while (iterator->next(interpreter, element))
        if (element.same_as(item) || equal(budget, element, item)) return true;
    return false;
}

std::size_t find_text(std::string_view text, std::string_view needle, std::size_t from) {
    if (from > text.size()) return std::string_view::npos;
    if (needle.empty()) return from;
    const void* found = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
    return found == nullptr ? std::string_view::npos
                            : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

std::size_t find_last_text(std::string_view text, std::string_view needle) {
    constexpr std::size_t kShort = 32;
    if (needle.size() <= kShort || needle.size() > text.size()) return text.rfind(needle);
    // Knuth, Morris and Pratt from the end, so that no text makes it slow.
    const std::size_t size = needle.size();
    const auto from_end = [](std::string_view of, std::size_t i) { return of[of.size() - 1 - i]; };
    std::vector<std::size_t> border(size, 0);
    for (std::size_t i = 1, matched = 0; i < size; ++i) {
        while (matched > 0 && from_end(needle, i) != from_end(needle, matched)) matched = border[matched - 1];
        if (from_end(needle, i) == from_end(needle, matched)) ++matched;
        border[i] = matched;
    }
    for (std::size_t i = 0, matched = 0; i < text.size(); ++i) {
        while (matched > 0 && from_end(text, i) != from_end(needle, matched)) matched = border[matched - 1];
        if (from_end(text, i) == from_end(needle, matched)) ++matched;
        if (matched == size) return text.size() - 1 - i;
    }
    return std::string_view::npos;
}

std::string escape_html(Budget& budget, std::string_view text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '"':
                out += "&#34;";
                break;
            case '\'':
                out += "&#39;";
                break;
            default:
                out.push_back(c);
        }
    }
    budget.text(out.size());
    return out;
}

std::string escaped(Budget& budget, const Value& value) {
    return value.is_markup() ? value.as_text() : escape_html(budget, to_text(budget, value));
}

}  // namespace sheaf::jinja
