#include "processor/unicode.h"

#include <algorithm>
#include <cstring>

#include "processor/unicode_tables.h"

namespace sheaf::unicode {

ClassTable::ClassTable() {
    std::array<uint8_t, 256> block{};
    size_t next = 0;
    uint8_t bits = 0;
    for (uint32_t first = 0; first < 0x110000; first += 256) {
        for (uint32_t c = first; c < first + 256; ++c) {
            if (next < tables::class_changes_count && tables::class_changes[next] >> 8 == c) {
                bits = tables::class_changes[next++] & 0xFF;
            }
            block[c - first] = bits;
        }
        // Most blocks are one value throughout: looking through the few distinct ones is cheap.
        size_t found = 0;
        while (found < blocks_.size() && std::memcmp(&blocks_[found], block.data(), 256) != 0) found += 256;
        if (found == blocks_.size()) blocks_.insert(blocks_.end(), block.begin(), block.end());
        index_[first >> 8] = static_cast<uint16_t>(found >> 8);
    }
}

const ClassTable& ClassTable::instance() {
    static const ClassTable table;
    return table;
}

void append(std::string& out, char32_t c) {
    if (c < 0x80) {
        out += static_cast<char>(c);
        return;
    }
    char bytes[4];
    size_t size = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = size; i-- > 1; c >>= 6) bytes[i] = static_cast<char>(0x80 | (c & 0x3F));
    bytes[0] = static_cast<char>((0xF00 >> size) | c);
    out.append(bytes, size);
}

Scanned scan(std::string_view bytes) {
    const auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
    unsigned char lead = p[0];
    if (lead < 0x80) return {Scanned::valid, 1};
    if (lead < 0xC2 || lead > 0xF4) return {Scanned::broken, 1};
    uint32_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    // The second byte's range excludes overlong forms, surrogates and what lies beyond U+10FFFF.
    unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    for (uint32_t i = 1; i < size; ++i, low = 0x80, high = 0xBF) {
        if (i == bytes.size()) return {Scanned::incomplete, i};
        if (p[i] < low || p[i] > high) return {Scanned::broken, i};
    }
    return {Scanned::valid, size};
}

std::optional<size_t> find_invalid(std::string_view bytes) {
    size_t at = 0;
    while (at < bytes.size()) {
        uint64_t eight;
        if (bytes.size() - at >= 8) {
            std::memcpy(&eight, bytes.data() + at, 8);
            if ((eight & 0x8080808080808080u) == 0) {
                at += 8;
                continue;
            }
        }
        Scanned s = scan(bytes.substr(at));
        if (s.kind != Scanned::valid) return at;
        at += s.size;
    }
    return std::nullopt;
}

void append_lossy(std::string& out, std::string_view bytes) {
    while (!bytes.empty()) {
        size_t good = find_invalid(bytes).value_or(bytes.size());
        out.append(bytes.substr(0, good));
        bytes.remove_prefix(good);
        if (bytes.empty()) return;
        out.append(replacement);
        bytes.remove_prefix(scan(bytes).size);
    }
}

}  // namespace sheaf::unicode
