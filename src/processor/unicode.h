// Unicode for the tokenizer: UTF-8, the character classes that pre-tokenizers ask for, and normalization form
// C.
//
// The data are what Hugging Face's `tokenizers` uses (three versions of Unicode at once, see
// tools/golden/tokenizer_unicode.py), not what the system's libraries know: a text must become the same
// tokens on every machine, and the tokens the model was trained on. Used by the tokenizer and the
// detokenizer; must not know tokens.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sheaf::unicode {

/// What a code point is; a code point may be several things.
enum CharClass : uint8_t {
    letter = 1,     // \p{L}
    mark = 2,       // \p{M}
    number = 4,     // \p{N}
    space = 8,      // \s
    word = 16,      // \w, for added tokens that must stand alone
    reorders = 32,  // canonical combining class other than 0
    changes = 64,   // NFC replaces it, or may compose it with what stands before
};

/// Class bits of every code point, in one table of 256-point blocks with equal blocks shared.
class ClassTable {
  public:
    /// The one table; built on the first call (a millisecond).
    static const ClassTable& instance();

    uint8_t ascii(unsigned char c) const { return blocks_[c]; }
    /// `c` must be below 0x110000.
    uint8_t operator[](char32_t c) const { return blocks_[size_t{index_[c >> 8]} << 8 | (c & 0xFF)]; }

  private:
    ClassTable();

    std::array<uint16_t, 0x1100> index_{};
    std::vector<uint8_t> blocks_;
};

struct Decoded {
    char32_t code_point;
    uint32_t size;  // bytes
};

/// The character that begins at `at`. The text must be valid UTF-8 and at < text.size().
inline Decoded decode(std::string_view text, size_t at) {
    const auto* p = reinterpret_cast<const unsigned char*>(text.data()) + at;
    if (p[0] < 0x80) return {p[0], 1};
    if (p[0] < 0xE0) return {char32_t((p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu)), 2};
    if (p[0] < 0xF0) return {char32_t((p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu)), 3};
    return {char32_t((p[0] & 7u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu)), 4};
}

/// Where the character that ends at `at` (exclusive) begins. Valid UTF-8, at > 0.
inline size_t previous(std::string_view text, size_t at) {
    do --at;
    while ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
    return at;
}

void append(std::string& out, char32_t code_point);

/// One character at the front of any bytes: its size when it is whole and valid; otherwise the size of the
/// longest broken part that is to become one U+FFFD, as the Unicode standard recommends (3.9, "maximal
/// subpart").
struct Scanned {
    enum Kind : uint8_t {
        valid,
        broken,
        incomplete
    } kind;  // incomplete: broken only because the bytes end here
    uint32_t size;
};
Scanned scan(std::string_view bytes);

/// The first byte that is not part of a valid character; nothing when all of it is UTF-8.
std::optional<size_t> find_invalid(std::string_view bytes);

inline constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD

/// Appends `bytes` to `out` with every broken part replaced by U+FFFD.
void append_lossy(std::string& out, std::string_view bytes);

/// Whether nfc() would surely leave the text alone; false may be a false alarm. One pass, valid UTF-8.
bool surely_nfc(std::string_view text);

/// Normalization form C of valid UTF-8. Linear in the text, but n log n in runs of combining marks.
std::string nfc(std::string_view text);

}  // namespace sheaf::unicode
