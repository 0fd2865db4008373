#include "processor/jinja/format.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "processor/jinja/interpreter.h"
#include "processor/jinja/operators.h"
#include "processor/jinja/print.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

constexpr std::int64_t kMaxPrecision = 1000;

/// What both notations can ask for.
struct Spec {
    std::string fill = " ";
    char align = 0;  // < > = ^, 0: the type's own
    char sign = '-';
    bool alternate = false;
    bool zero = false;
    std::int64_t width = 0;
    char grouping = 0;
    std::int64_t precision = -1;
    char type = 0;
};

std::string c_format(const char* format, int precision, double value) {
    std::array<char, 2048> buffer{};
    const int size = std::snprintf(buffer.data(), buffer.size(), format, precision, value);
    return {buffer.data(), static_cast<std::size_t>(std::max(size, 0))};
}

std::string grouped(const std::string& digits, char separator, std::size_t every) {
    const std::size_t whole = digits.find_first_not_of("0123456789abcdefABCDEF");
    const std::size_t end = whole == std::string::npos ? digits.size() : whole;
    std::string out;
    for (std::size_t i = 0; i < end; ++i) {
        if (i != 0 && (end - i) % every == 0) out.push_back(separator);
        out.push_back(digits[i]);
    }
    return out + digits.substr(end);
}

/// `prefix` (sign, base) and `body` in the spec's width; `left`: the type's own alignment.
std::string padded(Interpreter& interpreter, const Spec& spec, const std::string& prefix,
                   const std::string& body, bool left) {
    const auto size = static_cast<std::int64_t>(unicode::length(prefix) + unicode::length(body));
    if (spec.width <= size) return prefix + body;
    const auto room = static_cast<std::size_t>(spec.width - size);
    interpreter.budget().text(room * spec.fill.size() + prefix.size() + body.size());
    const auto fill = [&](std::size_t count) {
        std::string out;
        for (std::size_t i = 0; i < count; ++i) out += spec.fill;
        return out;
    };
    const char align = spec.align != 0 ? spec.align : (left ? '<' : '>');
    switch (align) {
        case '<':
            return prefix + body + fill(room);
        case '=':
            return prefix + fill(room) + body;
        case '^':
            return fill(room / 2) + prefix + body + fill(room - room / 2);
        default:
            return fill(room) + prefix + body;
    }
}

std::string sign_of(const Spec& spec, bool negative) {
    if (negative) return "-";
    return spec.sign == '-' ? std::string() : std::string(1, spec.sign);
}

std::string whole_digits(std::uint64_t value, char type) {
    std::array<char, 72> buffer{};
    const int base = type == 'x' || type == 'X' ? 16 : (type == 'o' ? 8 : (type == 'b' ? 2 : 10));
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, base).ptr;
    std::string digits(buffer.data(), end);
    if (type == 'X')
        for (char& c : digits) c = static_cast<char>(c >= 'a' && c <= 'f' ? c - 32 : c);
    return digits;
}

std::string format_whole(Interpreter& interpreter, const Spec& spec, std::int64_t value) {
    const auto magnitude =
        value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
    std::string digits = whole_digits(magnitude, spec.type);
    if (spec.precision > static_cast<std::int64_t>(digits.size()))
        digits.insert(0, static_cast<std::size_t>(spec.precision) - digits.size(), '0');
    if (spec.grouping != 0)
        digits = grouped(digits, spec.grouping, spec.type == 0 || spec.type == 'd' ? 3 : 4);
    std::string prefix = sign_of(spec, value < 0);
    if (spec.alternate && (spec.type == 'x' || spec.type == 'X' || spec.type == 'o' || spec.type == 'b'))
        prefix += std::string("0") + spec.type;
    return padded(interpreter, spec, prefix, digits, false);
}

std::string real_digits(const Spec& spec, double magnitude) {
    const auto precision = static_cast<int>(spec.precision < 0 ? 6 : spec.precision);
    if (std::isnan(magnitude) || std::isinf(magnitude)) {
        const bool upper = spec.type == 'E' || spec.type == 'F' || spec.type == 'G';
        std::string name = std::isnan(magnitude) ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf");
        return spec.type == '%' ? name + "%" : name;
    }
    switch (spec.type) {
        case 'e':
            return c_format(spec.alternate ? "%#.*e" : "%.*e", precision, magnitude);
        case 'E':
            return c_format(spec.alternate ? "%#.*E" : "%.*E", precision, magnitude);
        case 'f':
        case 'F':
            return c_format(spec.alternate ? "%#.*f" : "%.*f", precision, magnitude);
        case 'G':
            return c_format(spec.alternate ? "%#.*G" : "%.*G", precision, magnitude);
        case '%':
            return c_format("%.*f", precision, magnitude * 100) + "%";
        case 0:
            if (spec.precision < 0) return real_text(magnitude);
            break;
        default:
            return c_format(spec.alternate ? "%#.*g" : "%.*g", precision, magnitude);
    }
    // No type, but a precision: like g, with at least one digit behind the point.
    const int digits = std::max(precision, 1);
    std::string text = c_format("%.*g", digits, magnitude);
    if (text.find_first_of(".e") == std::string::npos) {
        if (static_cast<int>(text.size()) >= digits) return c_format("%.*e", digits - 1, magnitude);
        text += ".0";
    }
    return text;
}

std::string format_real(Interpreter& interpreter, const Spec& spec, double value) {
    std::string digits = real_digits(spec, std::fabs(value));
    if (spec.grouping != 0) digits = grouped(digits, spec.grouping, 3);
    return padded(interpreter, spec, sign_of(spec, std::signbit(value) && !std::isnan(value)), digits, false);
}

std::string format_text(Interpreter& interpreter, const Spec& spec, std::string_view text) {
    if (spec.precision >= 0)
        text = text.substr(0, unicode::offset_of(text, static_cast<std::size_t>(spec.precision)));
    return padded(interpreter, spec, "", std::string(text), true);
}

std::int64_t number(std::string_view text, std::size_t& at, std::int64_t otherwise) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), value);
    if (end == text.data() + at) return otherwise;
    if (error != std::errc()) fail(ErrorKind::invalid_input, "a width or precision of a format is too large");
    at = static_cast<std::size_t>(end - text.data());
    return value;
}

void check_precision(const Spec& spec) {
    if (spec.precision > kMaxPrecision && spec.type != 's' && spec.type != 'r' && spec.type != 0)
        fail(ErrorKind::invalid_input, "a format asks for more than {} digits", kMaxPrecision);
}

bool is_align(char32_t c) {
    return c == '<' || c == '>' || c == '=' || c == '^';
}

Spec parse_spec(std::string_view text) {
    Spec spec;
    std::size_t at = 0;
    bool filled = false;
    if (!text.empty()) {
        const unicode::CodePoint first = unicode::decode(text, 0);
        if (first.size < text.size() && is_align(static_cast<unsigned char>(text[first.size]))) {
            spec.fill = text.substr(0, first.size);
            spec.align = text[first.size];
            at = first.size + 1;
            filled = true;
        } else if (is_align(first.value)) {
            spec.align = text[0];
            at = 1;
        }
    }
    const auto take = [&](std::string_view any) -> char {
        return at < text.size() && any.find(text[at]) != any.npos ? text[at++] : '\0';
    };
    if (const char sign = take("+- ")) spec.sign = sign;
    spec.alternate = take("#") != 0;
    if (!filled && take("0") != 0) {
        spec.zero = true;
        spec.fill = "0";
    }
    spec.width = at < text.size() && text[at] >= '0' && text[at] <= '9' ? number(text, at, 0) : 0;
    spec.grouping = take(",_");
    if (take(".") != 0) {
        if (at >= text.size() || text[at] < '0' || text[at] > '9')
            fail(ErrorKind::invalid_input, "Format specifier missing precision");
        spec.precision = number(text, at, 0);
    }
    spec.type = take("bcdeEfFgGnosxX%");
    if (at != text.size()) fail(ErrorKind::invalid_input, "Invalid format specifier");
    return spec;
}

[[noreturn]] void bad_type(const Value& value) {
    fail(ErrorKind::invalid_input, "unsupported format for an object of type '{}'", value.type_name());
}

/// One "%..." of a format and its argument.
class PercentFormatter {
  public:
    PercentFormatter(Interpreter& interpreter, const Value& format, const Value& arguments)
        : interpreter_(interpreter),
          format_(format.as_text()),
          markup_(format.is_markup()),
          arguments_(arguments) {
        is_tuple_ = arguments.is(Kind::tuple);
        const auto* object = arguments.is(Kind::object) ? &arguments.as_object() : nullptr;
        is_mapping_ = arguments.is(Kind::dict) || arguments.is(Kind::list) || arguments.is_undefined() ||
                      (object != nullptr && object->is_indexable());
    }

    Value run();

  private:
    void conversion();
    std::int64_t star_or_number();
    Value next_argument();
    std::string convert(const Spec& spec, const Value& value);
    std::string character(const Value& value);

    Interpreter& interpreter_;
    const std::string& format_;
    bool markup_;
    const Value& arguments_;
    bool is_tuple_ = false;
    bool is_mapping_ = false;
    std::size_t at_ = 0;
    std::size_t used_ = 0;
    std::string out_;
};

Value PercentFormatter::run() {
    while (at_ < format_.size()) {
        const std::size_t percent = std::min(format_.find('%', at_), format_.size());
        out_.append(format_, at_, percent - at_);
        at_ = percent + 1;
        if (percent < format_.size()) conversion();
        interpreter_.budget().text(out_.size() / 16);
    }
    const std::size_t count = is_tuple_ ? arguments_.items().size() : 1;
    if (used_ < count && !is_mapping_)
        fail(ErrorKind::invalid_input, "not all arguments converted during string formatting");
    interpreter_.budget().text(out_.size());
    return Value::text(std::move(out_), markup_);
}

Value PercentFormatter::next_argument() {
    if (is_tuple_ ? used_ < arguments_.items().size() : used_ == 0)
        return is_tuple_ ? arguments_.items()[used_++] : (++used_, arguments_);
    fail(ErrorKind::invalid_input, "not enough arguments for format string");
}

std::int64_t PercentFormatter::star_or_number() {
    if (at_ < format_.size() && format_[at_] == '*') {
        ++at_;
        const Value value = next_argument();
        if (!value.is_integral()) fail(ErrorKind::invalid_input, "* wants int");
        return value.as_integer();
    }
    return at_ < format_.size() && format_[at_] >= '0' && format_[at_] <= '9' ? number(format_, at_, 0) : 0;
}

void PercentFormatter::conversion() {
    Value keyed;
    if (at_ < format_.size() && format_[at_] == '(') {
        if (!arguments_.is(Kind::dict)) fail(ErrorKind::invalid_input, "format requires a mapping");
        int open = 1;
        const std::size_t start = ++at_;
        for (; at_ < format_.size() && open > 0; ++at_)
            open += format_[at_] == '(' ? 1 : (format_[at_] == ')' ? -1 : 0);
        if (open > 0) fail(ErrorKind::invalid_input, "incomplete format key");
        const Value* found =
            arguments_.as_dict().find(std::string_view(format_).substr(start, at_ - 1 - start));
        if (found == nullptr) fail(ErrorKind::invalid_input, "a format names a key that is not there");
        keyed = *found;
    }
    Spec spec;
    for (; at_ < format_.size(); ++at_) {
        const char c = format_[at_];
        if (c == '-') {
            spec.align = '<';
        } else if (c == '+' || (c == ' ' && spec.sign != '+')) {
            spec.sign = c;
        } else if (c == '#') {
            spec.alternate = true;
        } else if (c == '0') {
            spec.zero = true;
        } else if (c != ' ') {
            break;
        }
    }
    spec.width = star_or_number();
    if (spec.width < 0) {
        spec.align = '<';
        spec.width = spec.width == INT64_MIN ? INT64_MAX : -spec.width;
    }
    if (at_ < format_.size() && format_[at_] == '.') {
        ++at_;
        spec.precision = std::max<std::int64_t>(star_or_number(), 0);
    }
    while (at_ < format_.size() && (format_[at_] == 'h' || format_[at_] == 'l' || format_[at_] == 'L')) ++at_;
    if (at_ >= format_.size()) fail(ErrorKind::invalid_input, "incomplete format");
    spec.type = format_[at_++];
    if (spec.type == '%') {
        out_.push_back('%');
        return;
    }
    out_ += convert(spec, keyed.is_missing() ? next_argument() : keyed);
}

std::string PercentFormatter::character(const Value& value) {
    std::string out;
    if (value.is_text() && length(value) == 1) return value.as_text();
    if (!value.is_integral() || value.as_integer() < 0 || value.as_integer() > 0x10ffff ||
        (value.as_integer() >= 0xd800 && value.as_integer() < 0xe000))
        fail(ErrorKind::invalid_input, "%c requires int or char");
    unicode::append(out, static_cast<char32_t>(value.as_integer()));
    return out;
}

std::string PercentFormatter::convert(const Spec& given, const Value& value) {
    Spec spec = given;
    const auto as_text = [&](std::string text) {
        spec.type = 's';
        if (spec.align == 0) spec.align = '>';
        return format_text(interpreter_, spec, text);
    };
    Budget& budget = interpreter_.budget();
    switch (spec.type) {
        case 's':
            return as_text(markup_ ? escaped(budget, value) : to_text(budget, value));
        case 'r':
        case 'a': {
            const std::string text = to_repr(budget, value);
            return as_text(markup_ ? escape_html(budget, text) : text);
        }
        case 'c':
            return as_text(character(value));
        default:
            break;
    }
    if (value.is_undefined()) fail_undefined(value);
    if (!value.is_number())
        fail(ErrorKind::invalid_input, "%{} format: a real number is required, not {}", spec.type,
             value.type_name());
    if (spec.zero && spec.align == 0) {
        spec.fill = "0";
        spec.align = '=';
    }
    check_precision(spec);
    switch (spec.type) {
        case 'd':
        case 'i':
        case 'u': {
            spec.type = 'd';
            if (value.is_integral()) return format_whole(interpreter_, spec, value.as_integer());
            if (!(std::fabs(value.as_real()) < 9.2e18))
                fail(ErrorKind::invalid_input, "a whole number of the template does not fit into 64 bits");
            return format_whole(interpreter_, spec, static_cast<std::int64_t>(value.as_real()));
        }
        case 'o':
        case 'x':
        case 'X':
            if (!value.is_integral())
                fail(ErrorKind::invalid_input, "%{} format: an integer is required, not float", spec.type);
            return format_whole(interpreter_, spec, value.as_integer());
        case 'e':
        case 'E':
        case 'f':
        case 'F':
        case 'g':
        case 'G':
            return format_real(interpreter_, spec, value.as_real());
        default:
            fail(ErrorKind::invalid_input, "unsupported format character");
    }
}

}  // namespace

Value percent_format(Interpreter& interpreter, const Value& format, const Value& arguments) {
    return PercentFormatter(interpreter, format, arguments).run();
}

std::string format_value(Interpreter& interpreter, const Value& value, std::string_view text) {
    if (text.empty()) return to_text(interpreter.budget(), value);
    Spec spec = parse_spec(text);
    if (value.is_text()) {
        if ((spec.type != 0 && spec.type != 's') || spec.align == '=' || spec.grouping != 0 ||
            spec.sign != '-')
            bad_type(value);
        spec.type = 's';
        return format_text(interpreter, spec, value.as_text());
    }
    if (!value.is_number()) bad_type(value);
    check_precision(spec);
    if (spec.zero && spec.align == 0) spec.align = '=';
    if (value.is_integral()) {
        switch (spec.type) {
            case 0:
            case 'n':
                spec.type = 'd';
                [[fallthrough]];
            case 'd':
            case 'b':
            case 'o':
            case 'x':
            case 'X':
                if (spec.precision >= 0)
                    fail(ErrorKind::invalid_input, "Precision not allowed in integer format specifier");
                return format_whole(interpreter, spec, value.as_integer());
            case 'c':
            case 's':
                bad_type(value);
            default:
                break;
        }
    } else if (spec.type == 'n') {
        spec.type = 'g';
    } else if (spec.type != 0 && std::string_view("eEfFgG%").find(spec.type) == std::string_view::npos) {
        bad_type(value);
    }
    return format_real(interpreter, spec, value.as_real());
}

}  // namespace sheaf::jinja
