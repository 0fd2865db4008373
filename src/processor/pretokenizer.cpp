#include "processor/pretokenizer.h"

namespace sheaf {
namespace {

using unicode::CharClass;

constexpr uint8_t letters = CharClass::letter;
constexpr uint8_t letters_and_marks = CharClass::letter | CharClass::mark;

constexpr PretokenizerPattern gpt2_pattern = {"GPT-2", false, letters, 0, true, false, false};
constexpr PretokenizerPattern cl100k_pattern = {"cl100k", true, letters, 3, false, true, true};

struct Known {
    std::string_view regex;
    PretokenizerPattern pattern;
};

constexpr Known known[] = {
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     {"Qwen3.5", true, letters_and_marks, 1, false, true, true}},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     {"Qwen2", true, letters, 1, false, true, true}},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     cl100k_pattern},
    {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)",
     cl100k_pattern},
    {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", gpt2_pattern},
    {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", gpt2_pattern},
};

bool is_line_end(char32_t c) {
    return c == '\r' || c == '\n';
}

}  // namespace

Pretokenizer::Pretokenizer(const PretokenizerPattern& pattern)
    : pattern_(pattern), classes_(&unicode::ClassTable::instance()) {}

std::optional<Pretokenizer> Pretokenizer::from_regex(std::string_view regex) {
    for (const Known& candidate : known) {
        if (candidate.regex == regex) return Pretokenizer(candidate.pattern);
    }
    return std::nullopt;
}

Pretokenizer Pretokenizer::gpt2() {
    return Pretokenizer(gpt2_pattern);
}

Pretokenizer::Character Pretokenizer::read(std::string_view text, size_t at) const {
    auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x80) return {byte, classes_->ascii(byte), at + 1};
    unicode::Decoded d = unicode::decode(text, at);
    return {d.code_point, (*classes_)[d.code_point], at + d.size};
}

size_t Pretokenizer::run(std::string_view text, size_t at, uint8_t classes, bool want) const {
    while (at < text.size()) {
        auto byte = static_cast<unsigned char>(text[at]);
        if (byte < 0x80) {
            if (((classes_->ascii(byte) & classes) != 0) != want) return at;
            ++at;
        } else {
            unicode::Decoded d = unicode::decode(text, at);
            if ((((*classes_)[d.code_point] & classes) != 0) != want) return at;
            at += d.size;
        }
    }
    return at;
}

/// After an apostrophe at `at`: end of the contraction, or `at` when there is none.
size_t Pretokenizer::contraction(std::string_view text, size_t at) const {
    std::string_view rest = text.substr(at + 1);
    auto letter = [&](size_t i) {
        if (i >= rest.size()) return '\0';
        char c = rest[i];
        return pattern_.any_case_contractions && c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    };
    char first = letter(0);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
    if ((first == 'r' || first == 'v') && letter(1) == 'e') return at + 3;
    if (first == 'l' && letter(1) == 'l') return at + 3;
    constexpr std::string_view long_s = "\xC5\xBF";  // U+017F, which folds to s
    if (pattern_.any_case_contractions && rest.starts_with(long_s)) return at + 1 + long_s.size();
    return at;
}

size_t Pretokenizer::numbers(std::string_view text, size_t at) const {
    if (pattern_.digits == 0) return run(text, at, CharClass::number, true);
    for (uint32_t count = 0; count < pattern_.digits && at < text.size(); ++count) {
        Character c = read(text, at);
        if ((c.bits & CharClass::number) == 0) break;
        at = c.end;
    }
    return at;
}

size_t Pretokenizer::white_space(std::string_view text, size_t at) const {
    size_t end = at, last = at, after_line_end = at;
    while (end < text.size()) {
        Character c = read(text, end);
        if ((c.bits & CharClass::space) == 0) break;
        last = end;
        end = c.end;
        if (is_line_end(c.code_point)) after_line_end = end;
    }
    if (pattern_.line_ends && after_line_end != at) return after_line_end;  // \s*[\r\n]+
    if (end == text.size() || last == at) return end;  // \s+(?!\S) at the end; \s+ for one
    return last;                                       // the last one leads the next piece
}

size_t Pretokenizer::next(std::string_view text, size_t at) const {
    Character c = read(text, at);
    if (c.code_point == '\'') {
        size_t end = contraction(text, at);
        if (end != at) return end;
    }
    uint8_t other = pattern_.word | CharClass::number | CharClass::space;  // what punctuation is not
    if (c.bits & pattern_.word & CharClass::letter) return run(text, c.end, pattern_.word, true);
    if (c.bits & CharClass::number) return numbers(text, at);

    bool may_lead = pattern_.any_lead ? !is_line_end(c.code_point) : c.code_point == ' ';
    if (may_lead && c.end < text.size()) {
        Character second = read(text, c.end);
        if (second.bits & pattern_.word) return run(text, second.end, pattern_.word, true);
        if (pattern_.space_before_number && (second.bits & CharClass::number)) return numbers(text, c.end);
        if (c.code_point == ' ' && (second.bits & other) == 0) {
            size_t end = run(text, second.end, other, false);
            while (pattern_.line_ends && end < text.size() &&
                   is_line_end(static_cast<unsigned char>(text[end])))
                ++end;
            return end;
        }
    }
    if (c.bits & pattern_.word) return c.end;  // a mark with nothing of its kind behind
    if (c.bits & CharClass::space) return white_space(text, at);
    size_t end = run(text, c.end, other, false);
    while (pattern_.line_ends && end < text.size() && is_line_end(static_cast<unsigned char>(text[end])))
        ++end;
    return end;
}

}  // namespace sheaf
