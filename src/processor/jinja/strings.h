// Python's operations on text that methods and filters share: strip, split, replace, padding. Used by them
// alone. It must not know values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "processor/jinja/budget.h"

namespace sheaf::jinja {

enum class Side : std::uint8_t { left, right, both };

/// `characters` null: white space.
std::string strip_text(Budget& budget, std::string_view text, Side side, const std::string* characters);

/// str.split (left) and str.rsplit (right); `separator` null: runs of white space. `most` < 0: no limit.
std::vector<std::string_view> split_text(Budget& budget, std::string_view text, const std::string* separator,
                                         std::int64_t most, Side side);

std::vector<std::string_view> split_line_ends(Budget& budget, std::string_view text, bool keep_ends);

/// str.replace; `most` < 0: all.
std::string replace_text(Budget& budget, std::string_view text, std::string_view from, std::string_view to,
                         std::int64_t most);

/// `left` and `right` times `fill` around `text`.
std::string pad_text(Budget& budget, std::string_view text, std::string_view fill, std::int64_t left,
                     std::int64_t right);

/// str.islower() and str.isupper().
bool is_all_lower(Budget& budget, std::string_view text);
bool is_all_upper(Budget& budget, std::string_view text);

}  // namespace sheaf::jinja
