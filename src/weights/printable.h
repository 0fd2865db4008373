// Text from a file as it may stand in a message: short, without control characters that a terminal would
// obey. Used by the readers of this folder. Must not know formats.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace sheaf {

inline bool is_control_character(char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

/// At most 160 bytes, cut between UTF-8 characters; control characters become '?'.
inline std::string printable(std::string_view name) {
    constexpr size_t limit = 160;
    size_t size = std::min(name.size(), limit);
    while (size < name.size() && size > 0 && (static_cast<unsigned char>(name[size]) & 0xc0u) == 0x80u)
        --size;
    std::string text(name.substr(0, size));
    std::replace_if(text.begin(), text.end(), is_control_character, '?');
    return size < name.size() ? text + "..." : text;
}

}  // namespace sheaf
