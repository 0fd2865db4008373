// parse_literal(): JSON first, then Python's literals, which models write when a template has shown them
// str(value).
#include <optional>

#include "processor/argument_types.h"

namespace sheaf {

namespace {

using nlohmann::ordered_json;

constexpr int kDepth = 64;

std::optional<ordered_json> parse_json(std::string_view text) {
    bool too_deep = false;
    const auto watch = [&](int depth, ordered_json::parse_event_t, ordered_json&) {
        too_deep = too_deep || depth > kDepth;
        return !too_deep;
    };
    ordered_json parsed = ordered_json::parse(text, watch, false);
    if (too_deep || parsed.is_discarded()) return std::nullopt;
    return parsed;
}

class PythonLiteral {
  public:
    explicit PythonLiteral(std::string_view text) : text_(text) {}

    std::optional<ordered_json> run() {
        auto parsed = value(0);
        space();
        return parsed && at_ == text_.size() ? parsed : std::nullopt;
    }

  private:
    void space() {
        while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos)
            ++at_;
    }

    bool take(char c) {
        space();
        if (at_ >= text_.size() || text_[at_] != c) return false;
        ++at_;
        return true;
    }

    std::optional<ordered_json> value(int depth) {
        space();
        if (depth > kDepth || at_ >= text_.size()) return std::nullopt;
        const char c = text_[at_];
        if (c == '{') return dict(depth);
        if (c == '[') return sequence(depth, ']');
        if (c == '(') return sequence(depth, ')');
        if (c == '\'' || c == '"') return string();
        return word();
    }

    std::optional<ordered_json> dict(int depth) {
        ++at_;
        ordered_json out = ordered_json::object();
        while (!take('}')) {
            const auto key = value(depth + 1);
            if (!key || !key->is_string() || !take(':')) return std::nullopt;
            auto item = value(depth + 1);
            if (!item) return std::nullopt;
            out[key->get<std::string>()] = std::move(*item);
            if (take('}')) break;
            if (!take(',')) return std::nullopt;
        }
        return out;
    }

    std::optional<ordered_json> sequence(int depth, char end) {
        ++at_;
        ordered_json out = ordered_json::array();
        while (!take(end)) {
            auto item = value(depth + 1);
            if (!item) return std::nullopt;
            out.push_back(std::move(*item));
            if (take(end)) break;
            if (!take(',')) return std::nullopt;
        }
        return out;
    }

    std::optional<ordered_json> string() {
        const char quote = text_[at_++];
        std::string out;
        while (at_ < text_.size() && text_[at_] != quote) {
            if (text_[at_] != '\\') {
                out.push_back(text_[at_++]);
                continue;
            }
            if (++at_ >= text_.size()) return std::nullopt;
            static constexpr std::string_view kFrom = "\\'\"/nrtbf";
            static constexpr std::string_view kTo = "\\'\"/\n\r\t\b\f";
            if (const std::size_t simple = kFrom.find(text_[at_]); simple != kFrom.npos) {
                out.push_back(kTo[simple]);
                ++at_;
            } else if (text_[at_] == 'u' && at_ + 5 <= text_.size()) {
                // JSON knows how to read it, with its pair if it has one.
                const std::size_t size =
                    at_ + 11 <= text_.size() && text_.substr(at_ + 5, 2) == "\\u" ? 11 : 5;
                auto parsed =
                    ordered_json::parse("\"\\" + std::string(text_.substr(at_, size)) + "\"", nullptr, false);
                std::size_t taken = size;
                if (!parsed.is_string()) {
                    parsed = ordered_json::parse("\"\\" + std::string(text_.substr(at_, 5)) + "\"", nullptr,
                                                 false);
                    taken = 5;
                }
                if (!parsed.is_string()) return std::nullopt;
                out += parsed.get_ref<const std::string&>();
                at_ += taken;
            } else {
                out.push_back('\\');
            }
        }
        if (at_ >= text_.size()) return std::nullopt;
        ++at_;
        return out;
    }

    std::optional<ordered_json> word() {
        const std::size_t start = at_;
        while (at_ < text_.size() &&
               std::string_view(",:]})} \t\r\n").find(text_[at_]) == std::string_view::npos)
            ++at_;
        const std::string_view text = text_.substr(start, at_ - start);
        if (text == "True" || text == "true") return ordered_json(true);
        if (text == "False" || text == "false") return ordered_json(false);
        if (text == "None" || text == "null") return ordered_json(nullptr);
        auto number = ordered_json::parse(text, nullptr, false);
        return number.is_number() ? std::optional(std::move(number)) : std::nullopt;
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

}  // namespace

ordered_json parse_literal(std::string_view text) {
    if (auto parsed = parse_json(text)) return *parsed;
    if (auto parsed = PythonLiteral(text).run()) return *parsed;
    return ordered_json(ordered_json::value_t::discarded);
}

}  // namespace sheaf
