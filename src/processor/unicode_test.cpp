#include "processor/unicode.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <cstdlib>
#include <map>
#include <random>

namespace sheaf::unicode {
namespace {

std::string utf8(char32_t c) {
    std::string s;
    append(s, c);
    return s;
}

bool is_scalar(char32_t c) {
    return c < 0xD800 || c > 0xDFFF;
}

/// NFC by another library, with another version of Unicode.
std::string utf8proc_nfc(std::string_view text) {
    utf8proc_uint8_t* out = nullptr;
    auto flags = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                             static_cast<utf8proc_ssize_t>(text.size()), &out, flags);
    std::string result(reinterpret_cast<char*>(out), size < 0 ? 0 : static_cast<size_t>(size));
    std::free(out);
    return result;
}

TEST(Unicode, ClassesOfWellKnownCharacters) {
    const ClassTable& classes = ClassTable::instance();
    EXPECT_EQ(classes['a'], letter | word);
    EXPECT_EQ(classes['7'], number | word);
    EXPECT_EQ(classes['_'], word);
    EXPECT_EQ(classes[' '], space);
    EXPECT_EQ(classes['\n'], space);
    EXPECT_EQ(classes['.'], 0);
    EXPECT_EQ(classes[0x0301], mark | word | reorders | changes);
    EXPECT_EQ(classes[0x093E], mark | word);              // a vowel sign of class 0
    EXPECT_EQ(classes[0x00B2], number);                   // superscript two
    EXPECT_EQ(classes[0x3000], space);                    // ideographic space
    EXPECT_EQ(classes[0x200B], 0);                        // zero width space is none
    EXPECT_EQ(classes[0x4E2D], letter | word);            // a Chinese character
    EXPECT_EQ(classes[0x1F600], 0);                       // an emoji
    EXPECT_EQ(classes[0xAC00] & letter, letter);          // a Hangul syllable
    EXPECT_EQ(classes[0x212B], letter | word | changes);  // the Angstrom sign
    EXPECT_EQ(classes[0x10FFFF], 0);
}

// The tables come from the library that is the reference; utf8proc knows Unicode 15.0 in Debian 12. Where the
// two differ is a character one of them does not know yet, and never in what an assigned character is.
TEST(Unicode, ClassesAgreeWithUtf8procOnAssignedCharacters) {
    const ClassTable& classes = ClassTable::instance();
    size_t assigned = 0, later = 0;
    for (char32_t c = 0; c < 0x110000; ++c) {
        if (!is_scalar(c)) continue;
        auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
        uint8_t expected = 0;
        if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) expected = letter;
        if (category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME) expected = mark;
        if (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) expected = number;
        uint8_t got = classes[c] & (letter | mark | number);
        if (category == UTF8PROC_CATEGORY_CN) {
            later += got != 0;
        } else {
            ++assigned;
            EXPECT_EQ(got, expected) << std::hex << static_cast<uint32_t>(c);
        }
    }
    EXPECT_GT(assigned, 280000u);
    EXPECT_GT(later, 0u);
    EXPECT_LT(later, 6000u);
}

TEST(Unicode, NfcOfEveryCodePointAgreesWithUtf8proc) {
    for (char32_t c = 1; c < 0x110000; ++c) {
        if (!is_scalar(c)) continue;
        std::string s = utf8(c), expected = utf8proc_nfc(s);
        ASSERT_EQ(nfc(s), expected) << std::hex << static_cast<uint32_t>(c);
        if (s != expected) {
            ASSERT_FALSE(surely_nfc(s)) << std::hex << static_cast<uint32_t>(c);
        }
    }
}

TEST(Unicode, NfcUndoesEveryDecomposition) {
    size_t decomposed = 0;
    for (char32_t c = 1; c < 0x110000; ++c) {
        utf8proc_int32_t parts[8];
        int boundary = 0;
        auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, 8, UTF8PROC_DECOMPOSE,
                                             &boundary);
        if (!is_scalar(c) || count < 2) continue;
        if (c == 0x11938) continue;  // newer than the reference's normalizer, which leaves its parts apart
        std::string apart;
        for (utf8proc_ssize_t i = 0; i < count; ++i) append(apart, static_cast<char32_t>(parts[i]));
        ASSERT_EQ(nfc(apart), utf8proc_nfc(apart)) << std::hex << static_cast<uint32_t>(c);
        ++decomposed;
    }
    EXPECT_GT(decomposed, 12000u);  // Hangul and about a thousand others
}

// Tokenizer::max_bytes_per_token relies on it: no spelling is more than four times as long as the composed
// character.
TEST(Unicode, NfcShrinksTextFourTimesAtMost) {
    std::map<std::u32string, size_t> longest;  // bytes of the longest character with this decomposition
    std::vector<std::pair<char32_t, std::u32string>> decompositions;
    for (char32_t c = 1; c < 0x110000; ++c) {
        utf8proc_int32_t parts[8];
        int boundary = 0;
        auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, 8, UTF8PROC_DECOMPOSE,
                                             &boundary);
        if (!is_scalar(c) || count < 1) continue;
        std::u32string decomposition(parts, parts + count);
        size_t& bytes = longest[decomposition];
        bytes = std::max(bytes, utf8(c).size());
        decompositions.emplace_back(c, decomposition);
    }
    double most = 0;
    for (const auto& [c, decomposition] : decompositions) {
        size_t bytes = 0;
        for (char32_t part : decomposition) bytes += longest[std::u32string(1, part)];
        bytes = std::max(bytes, longest[decomposition]);
        most = std::max(most, static_cast<double>(bytes) / static_cast<double>(nfc(utf8(c)).size()));
    }
    EXPECT_EQ(most, 3.5);
}

TEST(Unicode, NfcOfRandomRunsAgreesWithUtf8proc) {
    // Characters that compose, sort or stand in the way, all older than Unicode 9.
    const char32_t alphabet[] = {'a',    'e',     'q',    0x0300, 0x0301, 0x0302, 0x0315, 0x031B,
                                 0x0323, 0x0327,  0x0334, 0x0345, 0x1E9B, 0x03B1, 0x1F00, 0x1100,
                                 0x1161, 0x11A8,  0xAC00, 0xAC01, 0x05B0, 0x05BC, 0x0653, 0x0627,
                                 0x093C, 0x094D,  0x09C7, 0x09BE, 0x0F71, 0x0F72, 0x0F73, 0x0344,
                                 0x212B, 0x1D15E, 0xFB2C, 0x3099, 0x304B, 0x302A, 0x2ADC};
    std::mt19937 random(3);
    for (int i = 0; i < 200000; ++i) {
        std::string text;
        for (size_t n = random() % 9; n > 0; --n) append(text, alphabet[random() % std::size(alphabet)]);
        std::string expected = utf8proc_nfc(text);
        ASSERT_EQ(nfc(text), expected) << text;
        ASSERT_EQ(nfc(expected), expected);
        if (surely_nfc(text)) {
            ASSERT_EQ(text, expected);
        }
    }
}

TEST(Unicode, NfcLeavesNewerMarksAlone) {
    // U+0899 has combining class 220 since Unicode 14; the reference's normalizer is older and does not sort
    // it.
    std::string text = "x\u0301\u0899";
    EXPECT_EQ(nfc(text), text);
    EXPECT_NE(utf8proc_nfc(text), text);
}

TEST(Unicode, ScanFindsMaximalBrokenParts) {
    auto lossy = [](std::string_view bytes) {
        std::string out;
        append_lossy(out, bytes);
        return out;
    };
    EXPECT_EQ(lossy("plain é 中 😀"), "plain é 中 😀");
    EXPECT_EQ(lossy("\x80"), "\uFFFD");
    EXPECT_EQ(lossy("\xC3"), "\uFFFD");
    EXPECT_EQ(lossy("\xC3("), "\uFFFD(");
    EXPECT_EQ(lossy("\xC0\xAF"), "\uFFFD\uFFFD");                      // overlong
    EXPECT_EQ(lossy("\xE0\x80\xAF"), "\uFFFD\uFFFD\uFFFD");            // overlong
    EXPECT_EQ(lossy("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");            // surrogate
    EXPECT_EQ(lossy("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");  // beyond U+10FFFF
    EXPECT_EQ(lossy("\xF0\x9F\x98"), "\uFFFD");                        // cut short: one part
    EXPECT_EQ(lossy("\xF0\x9F\x98z"), "\uFFFDz");
    EXPECT_EQ(lossy("\xE4\xB8\xE4\xB8\xAD"), "\uFFFD中");
    EXPECT_EQ(lossy("a\xFF\xFE b"), "a\uFFFD\uFFFD b");
}

TEST(Unicode, FindInvalid) {
    EXPECT_EQ(find_invalid(""), std::nullopt);
    EXPECT_EQ(find_invalid("0123456789 é 中 😀"), std::nullopt);
    EXPECT_EQ(find_invalid("01234567\xFF"), 8u);
    EXPECT_EQ(find_invalid("é\xED\xB0\x80"), 2u);
    EXPECT_EQ(find_invalid("12345678901234567890\xE4\xB8"), 20u);
}

TEST(Unicode, AppendAndDecodeAreInverse) {
    for (char32_t c : {0x0u, 0x7Fu, 0x80u, 0x7FFu, 0x800u, 0xFFFFu, 0x10000u, 0x10FFFFu}) {
        std::string s = utf8(c);
        EXPECT_EQ(decode(s, 0).code_point, c);
        EXPECT_EQ(decode(s, 0).size, s.size());
        EXPECT_EQ(previous("x" + s, 1 + s.size()), 1u);
    }
}

}  // namespace
}  // namespace sheaf::unicode
