// Filters that make numbers.
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "processor/jinja/filters.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

/// Without white space around it, decimal digits of any script as ASCII, single underscores between digits
/// dropped; none where an underscore stands wrongly.
std::optional<std::string> plain_number(std::string_view text) {
    text = unicode::strip_right(unicode::strip_left(text));
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
        const unicode::CodePoint c = unicode::decode(text, at);
        at += c.size;
        if (c.value == '_') {
            const bool between = !out.empty() && std::isalnum(static_cast<unsigned char>(out.back())) != 0 &&
                                 at < text.size() && std::isalnum(static_cast<unsigned char>(text[at])) != 0;
            if (!between) return std::nullopt;
            continue;
        }
        const int digit = unicode::decimal_value(c.value);
        if (digit >= 0) {
            out.push_back(static_cast<char>('0' + digit));
        } else if (c.value < 0x80) {
            out.push_back(static_cast<char>(c.value));
        } else {
            return std::nullopt;
        }
    }
    return out;
}

bool is_decimal_real(std::string_view text) {
    std::size_t at = 0;
    const auto digits = [&] {
        const std::size_t start = at;
        while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
        return at - start;
    };
    const std::size_t whole = digits();
    std::size_t fraction = 0;
    if (at < text.size() && text[at] == '.') {
        ++at;
        fraction = digits();
    }
    if (whole + fraction == 0) return false;
    if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
        ++at;
        if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
        if (digits() == 0) return false;
    }
    return at == text.size();
}

Value absolute(Interpreter&, const Value& value, const Arguments& arguments) {
    const Parameters none("abs", arguments, {}, 0);
    if (value.is(Kind::real)) return Value::real(std::fabs(value.as_real()));
    if (!value.is_integral())
        fail(ErrorKind::invalid_input, "bad operand type for abs(): '{}'", value.type_name());
    const Value whole = posit(value);
    return whole.as_integer() < 0 ? negate(whole) : whole;
}

Value whole_of(double value) {
    if (!(std::fabs(value) < 9223372036854775808.0))
        fail(ErrorKind::invalid_input, "a whole number of the template does not fit into 64 bits");
    return Value::integer(static_cast<std::int64_t>(value));
}

Value to_integer(Interpreter&, const Value& value, const Arguments& arguments) {
    const Parameters given("int", arguments, {"default", "base"}, 0);
    const Value otherwise = given.given(0) ? given[0] : Value::integer(0);
    if (value.is_undefined()) fail_undefined(value);
    if (value.is_integral()) return Value::integer(value.as_integer());
    if (value.is(Kind::real)) {
        if (std::isnan(value.as_real())) return otherwise;
        return whole_of(value.as_real());
    }
    if (!value.is_text()) return otherwise;
    if (const auto whole = parse_integer(value.as_text(), given.integer(1, 10)))
        return Value::integer(*whole);
    const auto real = parse_real(value.as_text());
    return real && std::isfinite(*real) ? whole_of(*real) : otherwise;
}

Value to_real(Interpreter&, const Value& value, const Arguments& arguments) {
    const Parameters given("float", arguments, {"default"}, 0);
    const Value otherwise = given.given(0) ? given[0] : Value::real(0.0);
    if (value.is_undefined()) fail_undefined(value);
    if (value.is_number()) return Value::real(value.as_real());
    if (!value.is_text()) return otherwise;
    const auto real = parse_real(value.as_text());
    return real ? Value::real(*real) : otherwise;
}

/// Python's round(float, digits): halves of the decimal form go to even.
double rounded(double value, std::int64_t digits) {
    if (!std::isfinite(value) || digits > 340) return value;
    if (digits >= 0) {
        std::array<char, 800> buffer{};
        const int size = std::snprintf(buffer.data(), buffer.size(), "%.*f", static_cast<int>(digits), value);
        double out = value;
        std::from_chars(buffer.data(), buffer.data() + size, out);
        return out;
    }
    if (digits < -308) return std::copysign(0.0, value);
    const double scale = std::pow(10.0, static_cast<double>(-digits));
    return std::nearbyint(value / scale) * scale;
}

Value whole_rounded(Interpreter& interpreter, std::int64_t value, std::int64_t digits) {
    if (digits >= 0) return Value::integer(value);
    if (digits < -18) return Value::integer(0);
    const Value scale =
        arithmetic(interpreter, Arithmetic::power, Value::integer(10), Value::integer(-digits));
    const std::int64_t unit = scale.as_integer();
    const std::int64_t rest =
        arithmetic(interpreter, Arithmetic::modulo, Value::integer(value), scale).as_integer();
    std::int64_t low = 0;
    if (__builtin_sub_overflow(value, rest, &low)) return whole_of(-1e19);
    const bool is_odd = (low / unit) % 2 != 0;
    if (rest * 2 < unit || (rest * 2 == unit && !is_odd)) return Value::integer(low);
    return arithmetic(interpreter, Arithmetic::add, Value::integer(low), scale);
}

Value round(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
    const Parameters given("round", arguments, {"precision", "method"}, 0);
    const std::string method = given.text_or(1, "common");
    if (method != "common" && method != "ceil" && method != "floor")
        fail(ErrorKind::invalid_input, "method must be common, ceil or floor");
    const std::int64_t digits = given.integer(0, 0);
    if (value.is_undefined()) fail_undefined(value);
    if (!value.is_number())
        fail(ErrorKind::invalid_input, "type {} doesn't define __round__ method", value.type_name());
    if (method == "common") {
        return value.is_integral() ? whole_rounded(interpreter, value.as_integer(), digits)
                                   : Value::real(rounded(value.as_real(), digits));
    }
    const Value scale =
        arithmetic(interpreter, Arithmetic::power, Value::integer(10), Value::integer(digits));
    const Value scaled = arithmetic(interpreter, Arithmetic::multiply, value, scale);
    Value whole = scaled;
    if (scaled.is(Kind::real) && std::fabs(scaled.as_real()) < 9e18)
        whole = whole_of(method == "ceil" ? std::ceil(scaled.as_real()) : std::floor(scaled.as_real()));
    return arithmetic(interpreter, Arithmetic::divide, whole, scale);
}

constexpr NamedFilter kFilters[] = {
    {"abs", absolute}, {"float", to_real}, {"int", to_integer}, {"round", round}};

}  // namespace

std::optional<std::int64_t> parse_integer(std::string_view given, std::int64_t base) {
    if (base != 0 && (base < 2 || base > 36)) return std::nullopt;
    const auto plain = plain_number(given);
    if (!plain || plain->empty()) return std::nullopt;
    std::string_view text = *plain;
    const bool negative = text[0] == '-';
    if (text[0] == '-' || text[0] == '+') text.remove_prefix(1);
    if (text.size() > 2 && text[0] == '0') {
        const char mark = static_cast<char>(text[1] | 0x20);
        const int marked = mark == 'x' ? 16 : (mark == 'o' ? 8 : (mark == 'b' ? 2 : 0));
        if (marked != 0 && (base == 0 || base == marked)) {
            base = marked;
            text.remove_prefix(2);
        }
    }
    if (base == 0) {
        base = 10;
        if (text.size() > 1 && text[0] == '0' && text.find_first_not_of('0') != text.npos)
            return std::nullopt;
    }
    if (text.empty() || text[0] == '-' || text[0] == '+') return std::nullopt;
    std::uint64_t value = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), value, static_cast<int>(base));
    if (end != text.data() + text.size()) return std::nullopt;
    if (error != std::errc() || value > static_cast<std::uint64_t>(INT64_MAX) + (negative ? 1 : 0))
        fail(ErrorKind::invalid_input, "a whole number of the template does not fit into 64 bits");
    return static_cast<std::int64_t>(negative ? 0 - value : value);
}

std::optional<double> parse_real(std::string_view given) {
    const auto plain = plain_number(given);
    if (!plain || plain->empty()) return std::nullopt;
    std::string_view text = *plain;
    const double sign = text[0] == '-' ? -1.0 : 1.0;
    if (text[0] == '-' || text[0] == '+') text.remove_prefix(1);
    const std::string name = unicode::to_lower(text);
    if (name == "inf" || name == "infinity") return sign * HUGE_VAL;
    if (name == "nan") return std::nan("");
    if (!is_decimal_real(text)) return std::nullopt;
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc::result_out_of_range) value = std::strtod(std::string(text).c_str(), nullptr);
    return sign * value;
}

Filter find_number_filter(std::string_view name) {
    for (const NamedFilter& entry : kFilters)
        if (entry.name == name) return entry.filter;
    return nullptr;
}

}  // namespace sheaf::jinja
