#include "processor/jinja/print.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "processor/jinja/objects.h"
#include "processor/jinja/operators.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

/// Appends under the budget.
class Writer {
  public:
    Writer(Budget& budget, std::string& out) : budget_(budget), out_(out) {}

    void put(std::string_view piece) {
        budget_.work(piece.size());
        if (out_.size() + piece.size() > budget_.text_limit())
            fail(ErrorKind::invalid_input, "the template makes a text of more than {} bytes",
                 budget_.text_limit());
        out_.append(piece);
    }

    void repr(const Value& value);

  private:
    void quoted(std::string_view text);
    void sequence(const Values& items);
    void dict(const Dict& dict);

    Budget& budget_;
    std::string& out_;
};

void Writer::quoted(std::string_view text) {
    const bool double_quotes = text.find('\'') != text.npos && text.find('"') == text.npos;
    const char quote = double_quotes ? '"' : '\'';
    std::string piece(1, quote);
    for (std::size_t at = 0; at < text.size();) {
        const unicode::CodePoint c = unicode::decode(text, at);
        if (c.value == static_cast<unsigned char>(quote) || c.value == '\\') {
            piece.push_back('\\');
            piece.push_back(static_cast<char>(c.value));
        } else if (c.value == '\n') {
            piece += "\\n";
        } else if (c.value == '\r') {
            piece += "\\r";
        } else if (c.value == '\t') {
            piece += "\\t";
        } else if (unicode::is_printable(c.value)) {
            piece.append(text.substr(at, c.size));
        } else if (c.value < 0x100) {
            piece += fmt::format("\\x{:02x}", static_cast<unsigned>(c.value));
        } else if (c.value < 0x10000) {
            piece += fmt::format("\\u{:04x}", static_cast<unsigned>(c.value));
        } else {
            piece += fmt::format("\\U{:08x}", static_cast<unsigned>(c.value));
        }
        at += c.size;
    }
    piece.push_back(quote);
    put(piece);
}

void Writer::sequence(const Values& items) {
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (i != 0) put(", ");
        repr(items[i]);
    }
}

void Writer::dict(const Dict& dict) {
    bool first = true;
    for (const Dict::Entry& entry : dict.entries()) {
        if (!first) put(", ");
        first = false;
        repr(entry.key);
        put(": ");
        repr(entry.value);
    }
}

void Writer::repr(const Value& value) {
    budget_.step();
    switch (value.kind()) {
        case Kind::undefined:
            put("Undefined");
            break;
        case Kind::none:
            put("None");
            break;
        case Kind::boolean:
            put(value.as_boolean() ? "True" : "False");
            break;
        case Kind::integer:
            put(fmt::format("{}", value.as_integer()));
            break;
        case Kind::real:
            put(real_text(value.as_real()));
            break;
        case Kind::string:
            if (value.is_markup()) put("Markup(");
            quoted(value.as_text());
            if (value.is_markup()) put(")");
            break;
        case Kind::list:
            put("[");
            sequence(value.items());
            put("]");
            break;
        case Kind::tuple:
            put("(");
            sequence(value.items());
            put(value.items().size() == 1 ? ",)" : ")");
            break;
        case Kind::dict:
            put("{");
            dict(value.as_dict());
            put("}");
            break;
        case Kind::object:
            if (const auto* view = value.object_as<DictView>()) {
                put(view->type_name());
                put("([");
                const Values listed = view->listed();
                sequence(listed);
                put("])");
            } else {
                put(value.as_object().repr());
            }
            break;
    }
}

/// json.dumps.
class JsonWriter {
  public:
    JsonWriter(Budget& budget, const JsonStyle& style, std::string& out)
        : budget_(budget), style_(style), writer_(budget, out) {}

    void value(const Value& value, int level);

  private:
    void text(std::string_view text);
    void list(const Values& items, int level);
    void dict(const Dict& dict, int level);
    std::string key(const Value& key);
    void line(int level);

    Budget& budget_;
    const JsonStyle& style_;
    Writer writer_;
};

std::string json_real(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    return real_text(value);
}

void JsonWriter::line(int level) {
    if (!style_.indent) return;
    writer_.put("\n");
    for (int i = 0; i < level; ++i) writer_.put(*style_.indent);
}

void append_json_escape(std::string& piece, char32_t c) {
    const auto unit = [&](char32_t u) { piece += fmt::format("\\u{:04x}", static_cast<unsigned>(u)); };
    if (c < 0x10000) {
        unit(c);
    } else {
        unit(0xd800 + ((c - 0x10000) >> 10));
        unit(0xdc00 + ((c - 0x10000) & 0x3ff));
    }
}

void JsonWriter::text(std::string_view text) {
    std::string piece = "\"";
    for (std::size_t at = 0; at < text.size();) {
        const unicode::CodePoint c = unicode::decode(text, at);
        switch (c.value) {
            case '"':
                piece += "\\\"";
                break;
            case '\\':
                piece += "\\\\";
                break;
            case '\n':
                piece += "\\n";
                break;
            case '\r':
                piece += "\\r";
                break;
            case '\t':
                piece += "\\t";
                break;
            case '\b':
                piece += "\\b";
                break;
            case '\f':
                piece += "\\f";
                break;
            default:
                if (c.value < 0x20 || (style_.ensure_ascii && c.value > 0x7e)) {
                    append_json_escape(piece, c.value);
                } else {
                    piece.append(text.substr(at, c.size));
                }
        }
        at += c.size;
    }
    piece.push_back('"');
    writer_.put(piece);
}

std::string JsonWriter::key(const Value& key) {
    switch (key.kind()) {
        case Kind::string:
            return key.as_text();
        case Kind::boolean:
            return key.as_boolean() ? "true" : "false";
        case Kind::none:
            return "null";
        case Kind::integer:
            return fmt::format("{}", key.as_integer());
        case Kind::real:
            return json_real(key.as_real());
        default:
            fail(ErrorKind::invalid_input, "keys must be str, int, float, bool or None, not {}",
                 key.type_name());
    }
}

void JsonWriter::list(const Values& items, int level) {
    if (items.empty()) {
        writer_.put("[]");
        return;
    }
    writer_.put("[");
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (i != 0) writer_.put(style_.item_separator);
        line(level + 1);
        value(items[i], level + 1);
    }
    line(level);
    writer_.put("]");
}

void JsonWriter::dict(const Dict& dict, int level) {
    if (dict.size() == 0) {
        writer_.put("{}");
        return;
    }
    std::vector<const Dict::Entry*> order;
    for (const Dict::Entry& entry : dict.entries()) order.push_back(&entry);
    if (style_.sort_keys)
        std::stable_sort(order.begin(), order.end(), [&](const Dict::Entry* a, const Dict::Entry* b) {
            return compare(budget_, Comparison::less, a->key, b->key);
        });
    writer_.put("{");
    bool first = true;
    for (const Dict::Entry* entry : order) {
        if (!first) writer_.put(style_.item_separator);
        first = false;
        line(level + 1);
        text(key(entry->key));
        writer_.put(style_.key_separator);
        value(entry->value, level + 1);
    }
    line(level);
    writer_.put("}");
}

void JsonWriter::value(const Value& value, int level) {
    budget_.step();
    switch (value.kind()) {
        case Kind::none:
            writer_.put("null");
            break;
        case Kind::boolean:
            writer_.put(value.as_boolean() ? "true" : "false");
            break;
        case Kind::integer:
            writer_.put(fmt::format("{}", value.as_integer()));
            break;
        case Kind::real:
            writer_.put(json_real(value.as_real()));
            break;
        case Kind::string:
            text(value.as_text());
            break;
        case Kind::list:
        case Kind::tuple:
            list(value.items(), level);
            break;
        case Kind::dict:
            dict(value.as_dict(), level);
            break;
        case Kind::undefined:
        case Kind::object:
            if (const auto* big = value.object_as<BigInteger>()) {
                writer_.put(big->repr());
                break;
            }
            fail(ErrorKind::invalid_input, "Object of type {} is not JSON serializable", value.type_name());
    }
}

}  // namespace

std::string real_text(double value) {
    if (std::isnan(value)) return "nan";
    if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
    std::array<char, 32> buffer{};
    const auto end =
        std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific).ptr;
    const std::string_view shortest(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
    const std::size_t e = shortest.find('e');
    int exponent = 0;
    std::from_chars(shortest.data() + e + (shortest[e + 1] == '+' ? 2 : 1), end, exponent);
    const bool negative = shortest[0] == '-';
    std::string digits;
    for (const char c : shortest.substr(0, e))
        if (c >= '0' && c <= '9') digits.push_back(c);

    std::string out = negative ? "-" : "";
    if (exponent < -4 || exponent >= 16) {
        out.push_back(digits[0]);
        if (digits.size() > 1) out += "." + digits.substr(1);
        return out + fmt::format("e{}{:02d}", exponent < 0 ? '-' : '+', std::abs(exponent));
    }
    if (exponent < 0) return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
    const auto whole = static_cast<std::size_t>(exponent) + 1;
    if (digits.size() <= whole) return out + digits + std::string(whole - digits.size(), '0') + ".0";
    return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

void append_text(Budget& budget, std::string& out, const Value& value) {
    Writer writer(budget, out);
    if (value.is_text()) {
        writer.put(value.as_text());
    } else if (!value.is_undefined()) {
        writer.repr(value);
    }
}

std::string to_text(Budget& budget, const Value& value) {
    std::string out;
    append_text(budget, out, value);
    return out;
}

void append_repr(Budget& budget, std::string& out, const Value& value) {
    Writer(budget, out).repr(value);
}

std::string to_repr(Budget& budget, const Value& value) {
    std::string out;
    append_repr(budget, out, value);
    return out;
}

std::string to_json(Budget& budget, const Value& value, const JsonStyle& style) {
    std::string out;
    JsonWriter(budget, style, out).value(value, 0);
    return out;
}

}  // namespace sheaf::jinja
