// Code points, as the template dialect sees text: every length, index, case and class is by code point, with
// Python's meaning of each class. Used by all of processor/jinja. It must not know values or templates. Bytes
// that are no UTF-8 never fail here: each counts as one code point, U+FFFD.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace sheaf::jinja::unicode {

struct CodePoint {
    char32_t value = 0;
    std::size_t size = 1;  // bytes in the text
};

/// The code point at byte `at` (< text.size()).
CodePoint decode(std::string_view text, std::size_t at);
/// The code point that ends before byte `end` (> 0).
CodePoint decode_before(std::string_view text, std::size_t end);
void append(std::string& out, char32_t c);

bool is_ascii(std::string_view text);
/// Number of code points.
std::size_t length(std::string_view text);
/// The byte where code point `index` starts; text.size() when there are fewer.
std::size_t offset_of(std::string_view text, std::size_t index);

// Python's str predicates, for one code point.
bool is_space(char32_t c);
bool is_alpha(char32_t c);
bool is_decimal(char32_t c);
bool is_digit(char32_t c);
bool is_numeric(char32_t c);
bool is_alnum(char32_t c);
bool is_lower(char32_t c);
bool is_upper(char32_t c);
bool is_title(char32_t c);
bool is_printable(char32_t c);
bool is_identifier_start(char32_t c);
bool is_identifier_part(char32_t c);
/// 0-9 for a decimal digit of any script, -1 otherwise.
int decimal_value(char32_t c);

// Full case mappings (one code point may become several).
std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string to_title(std::string_view text);
std::string capitalize(std::string_view text);
std::string swap_case(std::string_view text);
std::string fold_case(std::string_view text);

/// Without white space at its ends.
std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);

/// The longest prefix of at most `bytes` bytes that does not cut a character.
std::string_view cut(std::string_view text, std::size_t bytes);

// unicode_case.cpp: code points whose upper or title form has several code points; "" where it has one.
std::string_view special_upper(char32_t c);
std::string_view special_title(char32_t c);

}  // namespace sheaf::jinja::unicode
