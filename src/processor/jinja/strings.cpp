#include "processor/jinja/strings.h"

#include <algorithm>
#include <unordered_set>

#include "processor/jinja/operators.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

/// Runs of white space; `most` splits at most, from the left.
std::vector<std::string_view> split_spaces(std::string_view text, std::int64_t most) {
    std::vector<std::string_view> out;
    text = unicode::strip_left(text);
    while (!text.empty()) {
        if (most >= 0 && static_cast<std::int64_t>(out.size()) >= most) {
            out.push_back(text);  // the rest keeps the space at its end
            return out;
        }
        std::size_t end = 0;
        while (end < text.size()) {
            const unicode::CodePoint c = unicode::decode(text, end);
            if (unicode::is_space(c.value)) break;
            end += c.size;
        }
        out.push_back(text.substr(0, end));
        text = unicode::strip_left(text.substr(end));
    }
    return out;
}

std::vector<std::string_view> split_spaces_right(std::string_view text, std::int64_t most) {
    std::vector<std::string_view> out;
    text = unicode::strip_right(text);
    while (!text.empty()) {
        if (most >= 0 && static_cast<std::int64_t>(out.size()) >= most) {
            out.push_back(text);
            break;
        }
        std::size_t start = text.size();
        while (start > 0) {
            const unicode::CodePoint c = unicode::decode_before(text, start);
            if (unicode::is_space(c.value)) break;
            start -= c.size;
        }
        out.push_back(text.substr(start));
        text = unicode::strip_right(text.substr(0, start));
    }
    std::reverse(out.begin(), out.end());
    return out;
}

bool is_line_end(char32_t c) {
    return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

}  // namespace

std::string strip_text(Budget& budget, std::string_view text, Side side, const std::string* characters) {
    budget.text(text.size());
    if (characters == nullptr) {
        if (side != Side::right) text = unicode::strip_left(text);
        if (side != Side::left) text = unicode::strip_right(text);
        return std::string(text);
    }
    std::unordered_set<char32_t> set;
    for (std::size_t at = 0; at < characters->size();) {
        const unicode::CodePoint c = unicode::decode(*characters, at);
        set.insert(c.value);
        at += c.size;
    }
    budget.work(characters->size());
    while (side != Side::right && !text.empty()) {
        const unicode::CodePoint c = unicode::decode(text, 0);
        if (set.count(c.value) == 0) break;
        text.remove_prefix(c.size);
    }
    while (side != Side::left && !text.empty()) {
        const unicode::CodePoint c = unicode::decode_before(text, text.size());
        if (set.count(c.value) == 0) break;
        text.remove_suffix(c.size);
    }
    return std::string(text);
}

std::vector<std::string_view> split_text(Budget& budget, std::string_view text, const std::string* separator,
                                         std::int64_t most, Side side) {
    budget.work(text.size());
    if (separator == nullptr)
        return side == Side::left ? split_spaces(text, most) : split_spaces_right(text, most);
    std::vector<std::string_view> out;
    if (side == Side::left) {
        std::size_t from = 0;
        while (most < 0 || static_cast<std::int64_t>(out.size()) < most) {
            const std::size_t at = find_text(text, *separator, from);
            if (at == std::string_view::npos) break;
            out.push_back(text.substr(from, at - from));
            from = at + separator->size();
        }
        out.push_back(text.substr(from));
        return out;
    }
    while (most < 0 || static_cast<std::int64_t>(out.size()) < most) {
        const std::size_t at = find_last_text(text, *separator);
        if (at == std::string_view::npos) break;
        out.push_back(text.substr(at + separator->size()));
        text = text.substr(0, at);
    }
    out.push_back(text);
    std::reverse(out.begin(), out.end());
    return out;
}

std::vector<std::string_view> split_line_ends(Budget& budget, std::string_view text, bool keep_ends) {
    budget.work(text.size());
    std::vector<std::string_view> out;
    std::size_t start = 0;
    for (std::size_t at = 0; at < text.size();) {
        const unicode::CodePoint c = unicode::decode(text, at);
        std::size_t end = at + c.size;
        if (is_line_end(c.value)) {
            if (c.value == '\r' && end < text.size() && text[end] == '\n') ++end;
            out.push_back(text.substr(start, (keep_ends ? end : at) - start));
            start = end;
        }
        at = end;
    }
    if (start < text.size()) out.push_back(text.substr(start));
    return out;
}

std::string replace_text(Budget& budget, std::string_view text, std::string_view from, std::string_view to,
                         std::int64_t most) {
    std::string out;
    std::size_t at = 0;
    const auto put = [&](std::string_view piece) {
        if (out.size() + piece.size() > budget.text_limit()) budget.text(out.size() + piece.size());
        budget.work(piece.size());
        out += piece;
    };
    budget.work(text.size());
    for (std::int64_t done = 0; most < 0 || done < most; ++done) {
        if (from.empty()) {
            // Between all characters and at both ends.
            put(to);
            if (at >= text.size()) return out;
            const std::size_t size = unicode::decode(text, at).size;
            put(text.substr(at, size));
            at += size;
            continue;
        }
        const std::size_t found = find_text(text, from, at);
        if (found == std::string_view::npos) break;
        put(text.substr(at, found - at));
        put(to);
        at = found + from.size();
    }
    put(text.substr(at));
    return out;
}

std::string pad_text(Budget& budget, std::string_view text, std::string_view fill, std::int64_t left,
                     std::int64_t right) {
    const auto limit = static_cast<std::int64_t>(budget.text_limit());
    if (left > limit || right > limit) budget.text(budget.text_limit() + 1);
    budget.text(static_cast<std::size_t>(left + right) * fill.size() + text.size());
    std::string out;
    for (std::int64_t i = 0; i < left; ++i) out += fill;
    out += text;
    for (std::int64_t i = 0; i < right; ++i) out += fill;
    return out;
}

bool is_all_lower(Budget& budget, std::string_view text) {
    budget.work(text.size());
    bool cased = false;
    for (std::size_t at = 0; at < text.size();) {
        const unicode::CodePoint c = unicode::decode(text, at);
        if (unicode::is_upper(c.value) || unicode::is_title(c.value)) return false;
        cased = cased || unicode::is_lower(c.value);
        at += c.size;
    }
    return cased;
}

bool is_all_upper(Budget& budget, std::string_view text) {
    budget.work(text.size());
    bool cased = false;
    for (std::size_t at = 0; at < text.size();) {
        const unicode::CodePoint c = unicode::decode(text, at);
        if (unicode::is_lower(c.value) || unicode::is_title(c.value)) return false;
        cased = cased || unicode::is_upper(c.value);
        at += c.size;
    }
    return cased;
}

}  // namespace sheaf::jinja
