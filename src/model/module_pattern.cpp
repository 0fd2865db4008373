#include "model/module_pattern.h"

namespace sheaf {
namespace {

/// The pattern's pieces between ".*", each a list of characters to match, -1 for any.
struct Pieces {
    std::vector<std::vector<int>> parts;
    bool from_start = false, to_end = false;
};

Pieces parse(std::string_view pattern) {
    Pieces pieces;
    pieces.parts.emplace_back();
    for (size_t i = 0; i < pattern.size(); ++i) {
        const char c = pattern[i];
        if (c == '^' && i == 0) {
            pieces.from_start = true;
        } else if (c == '$' && i + 1 == pattern.size()) {
            pieces.to_end = true;
        } else if (c == '\\' && i + 1 < pattern.size()) {
            pieces.parts.back().push_back(static_cast<unsigned char>(pattern[++i]));
        } else if (c == '.' && i + 1 < pattern.size() && (pattern[i + 1] == '*' || pattern[i + 1] == '+')) {
            if (pattern[i + 1] == '+') pieces.parts.back().push_back(-1);
            pieces.parts.emplace_back();
            ++i;
        } else if (c == '*') {  // a glob's star
            pieces.parts.emplace_back();
        } else {
            pieces.parts.back().push_back(c == '.' ? -1 : static_cast<unsigned char>(c));
        }
    }
    return pieces;
}

bool matches_at(const std::vector<int>& part, std::string_view text, size_t at) {
    if (at + part.size() > text.size()) return false;
    for (size_t i = 0; i < part.size(); ++i)
        if (part[i] >= 0 && part[i] != static_cast<unsigned char>(text[at + i])) return false;
    return true;
}

}  // namespace

bool matches_module(std::string_view pattern, std::string_view module) {
    const Pieces pieces = parse(pattern);
    size_t at = 0;
    for (size_t p = 0; p < pieces.parts.size(); ++p) {
        const auto& part = pieces.parts[p];
        const bool last = p + 1 == pieces.parts.size();
        if (p == 0 && pieces.from_start) {
            if (!matches_at(part, module, 0)) return false;
            at = part.size();
            if (last && pieces.to_end) return at == module.size();
            continue;
        }
        if (last && pieces.to_end) {
            return module.size() >= at + part.size() && matches_at(part, module, module.size() - part.size());
        }
        while (at + part.size() <= module.size() && !matches_at(part, module, at)) ++at;
        if (at + part.size() > module.size()) return false;
        at += part.size();
    }
    return true;
}

bool matches_any_module(const std::vector<std::string>& patterns, std::string_view module) {
    for (const std::string& pattern : patterns) {
        const std::string_view plain =
            pattern.starts_with("re:") ? std::string_view(pattern).substr(3) : pattern;
        if (!plain.empty() && matches_module(plain, module)) return true;
    }
    return false;
}

}  // namespace sheaf
