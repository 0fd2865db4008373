#include "processor/argument_types.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/error.h"

namespace sheaf {

namespace {

using nlohmann::ordered_json;

constexpr int kSchemaDepth = 32;
constexpr int kSchemaSteps = 2000;

/// The JSON types that a schema allows. None at all: it does not say.
struct Types {
    bool null = false;
    bool integer = false;
    bool number = false;
    bool boolean = false;
    bool object = false;
    bool array = false;
    bool string = false;

    bool any() const { return null || integer || number || boolean || object || array || string; }

    void add(const Types& other) {
        null |= other.null;
        integer |= other.integer;
        number |= other.number;
        boolean |= other.boolean;
        object |= other.object;
        array |= other.array;
        string |= other.string;
    }

    void limit(const Types& other) {
        null &= other.null;
        integer &= other.integer || other.number;
        number &= other.number;
        boolean &= other.boolean;
        object &= other.object;
        array &= other.array;
        string &= other.string;
    }
};

Types type_named(const ordered_json& name) {
    Types out;
    if (!name.is_string()) return out;
    const auto& text = name.get_ref<const std::string&>();
    out.null = text == "null";
    out.integer = text == "integer";
    out.number = text == "number";
    out.boolean = text == "boolean";
    out.object = text == "object";
    out.array = text == "array";
    out.string = text == "string";
    return out;
}

Types type_of(const ordered_json& value) {
    Types out;
    out.null = value.is_null();
    out.integer = value.is_number_integer();
    out.number = value.is_number_float();
    out.boolean = value.is_boolean();
    out.object = value.is_object();
    out.array = value.is_array();
    out.string = value.is_string();
    return out;
}

const ordered_json* member(const ordered_json& object, std::string_view name) {
    if (!object.is_object()) return nullptr;
    const auto found = object.find(name);
    return found == object.end() ? nullptr : &*found;
}

/// One schema within a root; follows references.
class Schema {
  public:
    Schema(const ordered_json& root, const ordered_json& node, int depth)
        : root_(root), node_(&node), depth_(depth) {
        for (int hops = 0; hops < kSchemaDepth; ++hops) {
            const ordered_json* reference = member(*node_, "$ref");
            if (reference == nullptr || !reference->is_string()) return;
            const ordered_json* target = resolve(reference->get_ref<const std::string&>());
            if (target == nullptr) return;
            node_ = target;
        }
    }

    Types types() const {
        int steps = kSchemaSteps;
        return types_within(steps);
    }
    /// The values of enum and const, if any.
    std::vector<ordered_json> choices() const {
        std::vector<ordered_json> out;
        if (const ordered_json* values = member(*node_, "enum"); values != nullptr && values->is_array())
            out.assign(values->begin(), values->end());
        if (const ordered_json* value = member(*node_, "const")) out.push_back(*value);
        return out;
    }

    /// `value` with the strings inside it that must not be strings turned into what they must be.
    ordered_json coerced(const ordered_json& value) const {
        if (depth_ > kSchemaDepth) return value;
        if (value.is_object()) {
            ordered_json out = ordered_json::object();
            for (const auto& [key, item] : value.items()) {
                const ordered_json* inner = property(key);
                out[key] = inner == nullptr ? item : at(*inner).coerced(item);
            }
            return out;
        }
        if (value.is_array()) {
            const ordered_json* inner = find("items");
            ordered_json out = ordered_json::array();
            for (const ordered_json& item : value)
                out.push_back(inner != nullptr && inner->is_object() ? at(*inner).coerced(item) : item);
            return out;
        }
        const Types allowed = types();
        if (!value.is_string() || allowed.string || !allowed.any()) return value;
        if (const auto scalar = scalar_text(allowed, value.get_ref<const std::string&>()))
            return ordered_json::parse(*scalar, nullptr, false);
        return value;
    }

    /// JSON text of the null, number or boolean that `text` is; none where it is none of those allowed.
    static std::optional<std::string> scalar_text(const Types& allowed, std::string_view text);

    const ordered_json* property(std::string_view name) const {
        const ordered_json* properties = find("properties");
        if (properties != nullptr)
            if (const ordered_json* found = member(*properties, name)) return found;
        const ordered_json* others = find("additionalProperties");
        return others != nullptr && others->is_object() ? others : nullptr;
    }

  private:
    Schema at(const ordered_json& node) const { return {root_, node, depth_ + 1}; }

    /// Alternatives may refer to each other: their number is bounded, not only their depth.
    Types types_within(int& steps) const {
        if (depth_ > kSchemaDepth || --steps < 0) return {};
        Types out = declared();
        for (const char* name : {"anyOf", "oneOf"}) {
            const ordered_json* choices = member(*node_, name);
            if (choices == nullptr || !choices->is_array()) continue;
            Types either;
            for (const ordered_json& choice : *choices) either.add(at(choice).types_within(steps));
            combine(out, either);
        }
        if (const ordered_json* all = member(*node_, "allOf"); all != nullptr && all->is_array())
            for (const ordered_json& part : *all) combine(out, at(part).types_within(steps));
        if (const ordered_json* nullable = member(*node_, "nullable");
            nullable != nullptr && *nullable == true && out.any())
            out.null = true;
        return out;
    }

    static void combine(Types& out, const Types& more) {
        if (!more.any()) return;
        if (out.any()) {
            out.limit(more);
        } else {
            out = more;
        }
    }

    Types declared() const {
        Types out;
        if (const ordered_json* type = member(*node_, "type")) {
            if (type->is_array()) {
                for (const ordered_json& name : *type) out.add(type_named(name));
            } else {
                out = type_named(*type);
            }
        }
        if (!out.any())
            for (const ordered_json& choice : choices()) out.add(type_of(choice));
        if (!out.any() && member(*node_, "properties") != nullptr) out.object = true;
        if (!out.any() && member(*node_, "items") != nullptr) out.array = true;
        return out;
    }

    /// A keyword of this schema or of the first alternative that has it.
    const ordered_json* find(const char* keyword) const {
        int steps = kSchemaSteps;
        return find_within(keyword, steps);
    }

    const ordered_json* find_within(const char* keyword, int& steps) const {
        if (const ordered_json* found = member(*node_, keyword)) return found;
        if (depth_ > kSchemaDepth || --steps < 0) return nullptr;
        for (const char* name : {"anyOf", "oneOf", "allOf"}) {
            const ordered_json* choices = member(*node_, name);
            if (choices == nullptr || !choices->is_array()) continue;
            for (const ordered_json& choice : *choices)
                if (const ordered_json* found = at(choice).find_within(keyword, steps)) return found;
        }
        return nullptr;
    }

    /// "#/$defs/Name" and the like.
    const ordered_json* resolve(const std::string& reference) const {
        if (reference == "#") return &root_;
        if (!reference.starts_with("#/")) return nullptr;
        const ordered_json* node = &root_;
        std::size_t at = 2;
        while (at <= reference.size()) {
            const std::size_t end = std::min(reference.find('/', at), reference.size());
            std::string key = reference.substr(at, end - at);
            for (const auto& [from, to] : {std::pair{"~1", "/"}, std::pair{"~0", "~"}})
                for (std::size_t place = key.find(from); place != std::string::npos;
                     place = key.find(from, place + 1))
                    key.replace(place, 2, to);
            node = member(*node, key);
            if (node == nullptr) return nullptr;
            at = end + 1;
        }
        return node;
    }

    const ordered_json& root_;
    const ordered_json* node_;
    int depth_;
};

std::string_view trimmed(std::string_view text) {
    const std::size_t first = text.find_first_not_of(" \t\r\n");
    if (first == text.npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

bool equals_lower(std::string_view text, std::string_view lower) {
    return text.size() == lower.size() &&
           std::equal(text.begin(), text.end(), lower.begin(),
                      [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
}

/// JSON's grammar of numbers.
bool is_json_number(std::string_view text) {
    return !text.empty() && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9')) &&
           ordered_json::accept(text);
}

/// A whole number, also written as 5.0 or +5; as JSON text.
std::optional<std::string> whole_text(std::string_view text) {
    if (text.starts_with('+')) text.remove_prefix(1);
    if (!is_json_number(text)) return std::nullopt;
    if (text.find_first_of(".eE") == text.npos) return std::string(text);
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || std::trunc(value) != value || std::fabs(value) > 9007199254740992.0)
        return std::nullopt;
    return fmt::format("{}", static_cast<long long>(value));
}

std::optional<std::string> real_text(std::string_view text) {
    if (text.starts_with('+')) text.remove_prefix(1);
    if (is_json_number(text)) return std::string(text);
    // Python's 1. and .5
    std::string repaired(text);
    const std::size_t sign = repaired.starts_with('-') ? 1 : 0;
    if (repaired.size() > sign && repaired[sign] == '.') repaired.insert(sign, 1, '0');
    if (repaired.ends_with('.')) repaired.push_back('0');
    return is_json_number(repaired) ? std::optional(repaired) : std::nullopt;
}

std::string quoted(std::string_view text) {
    return "\"" + json_escaped(text) + "\"";
}

}  // namespace

std::optional<std::string> Schema::scalar_text(const Types& allowed, std::string_view given) {
    const std::string_view text = trimmed(given);
    if (allowed.null && (equals_lower(text, "null") || text == "None")) return "null";
    if (allowed.integer)
        if (auto whole = whole_text(text)) return whole;
    if (allowed.number)
        if (auto real = real_text(text)) return real;
    if (allowed.boolean) {
        if (equals_lower(text, "true") || text == "1") return "true";
        if (equals_lower(text, "false") || text == "0") return "false";
    }
    return std::nullopt;
}

ToolSchema::ToolSchema(ordered_json parameters) : root_(std::move(parameters)) {}

const ordered_json* ToolSchema::property(std::string_view name) const {
    return root_.is_object() ? Schema(root_, root_, 0).property(name) : nullptr;
}

bool ToolSchema::accepts(std::string_view name) const {
    const ordered_json* properties = member(root_, "properties");
    if (properties == nullptr || !properties->is_object() || properties->empty()) return true;
    if (properties->contains(name)) return true;
    const ordered_json* others = member(root_, "additionalProperties");
    return others != nullptr && (others->is_object() || *others == true);
}

bool ToolSchema::is_text(std::string_view name) const {
    const ordered_json* schema = property(name);
    if (schema == nullptr) return true;
    const Types types = Schema(root_, *schema, 0).types();
    if (!types.any()) return true;
    return types.string && !types.null && !types.integer && !types.number && !types.boolean &&
           !types.object && !types.array;
}

bool ToolSchema::may_be_text(std::string_view name) const {
    const ordered_json* schema = property(name);
    if (schema == nullptr) return true;
    const Types types = Schema(root_, *schema, 0).types();
    return !types.any() || types.string;
}

std::string ToolSchema::value(std::string_view name, std::string_view text, bool& fits) const {
    fits = true;
    if (is_text(name)) return quoted(text);
    const Schema schema(root_, *property(name), 0);
    const Types types = schema.types();
    for (const ordered_json& choice : schema.choices())
        if (choice.is_string() && choice.get_ref<const std::string&>() == text) return quoted(text);
    if (auto scalar = Schema::scalar_text(types, text)) return *scalar;
    if (types.object || types.array) {
        const ordered_json parsed = parse_literal(text);
        if ((types.object && parsed.is_object()) || (types.array && parsed.is_array())) {
            const ordered_json coerced = schema.coerced(parsed);
            const std::string_view given = trimmed(text);
            // As written, digit for digit, where that is JSON and nothing had to change.
            if (coerced == parsed && ordered_json::accept(given)) return std::string(given);
            return coerced.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
        }
    }
    fits = types.string;
    return quoted(text);
}

std::string json_escaped(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        switch (c) {
            case '"':
                out += "\\\"";
                break;
            case '\\':
                out += "\\\\";
                break;
            case '\n':
                out += "\\n";
                break;
            case '\r':
                out += "\\r";
                break;
            case '\t':
                out += "\\t";
                break;
            case '\b':
                out += "\\b";
                break;
            case '\f':
                out += "\\f";
                break;
            default:
                if (static_cast<unsigned char>(c) < 0x20) {
                    out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
                } else {
                    out.push_back(c);
                }
        }
    }
    return out;
}

}  // namespace sheaf
