#include "processor/output_markup.h"

#include <algorithm>

namespace sheaf::markup {

namespace {

constexpr std::size_t kLongestName = 256;
constexpr std::size_t kLongestSpace = 64;

}  // namespace

bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

Match View::literal(std::size_t at, std::string_view what) const {
    const std::string_view rest = text_.substr(std::min(at, text_.size()));
    if (rest.starts_with(what)) return {Found::yes, at + what.size(), {}};
    return {!final_ && what.starts_with(rest) ? Found::maybe : Found::no, at, {}};
}

Match View::named(std::size_t at, std::string_view open) const {
    Match match = literal(at, open);
    if (!match) return match;
    const std::string_view rest = text_.substr(match.end);
    const std::size_t stop = rest.substr(0, kLongestName + 1).find_first_of(">\n<");
    if (stop == rest.npos) return {!final_ && rest.size() <= kLongestName ? Found::maybe : Found::no, at, {}};
    std::string_view name = rest.substr(0, stop);
    while (!name.empty() && is_space(name.front())) name.remove_prefix(1);
    while (!name.empty() && is_space(name.back())) name.remove_suffix(1);
    if (rest[stop] != '>' || name.empty()) return {Found::no, at, {}};
    return {Found::yes, match.end + stop + 1, std::string(name)};
}

Match View::skip_space(std::size_t at) const {
    std::size_t end = at;
    while (end < text_.size() && is_space(text_[end]) && end - at < kLongestSpace) ++end;
    return {end >= text_.size() && !final_ && end - at < kLongestSpace ? Found::maybe : Found::yes, end, {}};
}

Match View::call(std::size_t at) const {
    const Match open = literal(at, kCall);
    if (!open) return open;
    const Match space = skip_space(open.end);
    return space ? named(space.end, kFunction) : space;
}

}  // namespace sheaf::markup
