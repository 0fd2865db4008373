// The pre-tokenizer: cuts text into the words that byte-pair merging never crosses.
//
// A checkpoint names its cut with a regular expression. No regular-expression engine runs here: each
// expression in use is recognised by its spelling and turned into the few parameters by which they differ,
// and one scanner walks the text, every character at most a fixed number of times. Used by the tokenizer;
// must not know tokens or merges.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "processor/unicode.h"

namespace sheaf {

/// By what the known expressions differ.
struct PretokenizerPattern {
    std::string_view name;
    bool any_case_contractions;  // 'S as well as 's; the old Kelvin-like spelling 'ſ too
    uint8_t word;                // classes that make words: letters, or letters and marks
    uint32_t digits;             // longest run of numbers in one piece; 0: any length
    bool space_before_number;    // " 12" is one piece
    bool any_lead;   // one character that is no letter, number or line end may lead a word; else a space
    bool line_ends;  // punctuation takes line ends along, and white space is cut after them
};

class Pretokenizer {
  public:
    /// The scanner for a regular expression; nothing when it is none of the known ones:
    /// Qwen3.5 (marks belong to words), Qwen2 and Qwen3, cl100k (two spellings), GPT-2.
    static std::optional<Pretokenizer> from_regex(std::string_view regex);
    /// What the ByteLevel pre-tokenizer does by itself when `use_regex` is true.
    static Pretokenizer gpt2();

    std::string_view name() const { return pattern_.name; }

    /// End of the piece that begins at `at` (a character's begin, < text.size()). Valid UTF-8. What stands
    /// before `at` is not looked at.
    size_t next(std::string_view text, size_t at) const;

  private:
    explicit Pretokenizer(const PretokenizerPattern& pattern);

    struct Character {
        char32_t code_point;
        uint8_t bits;
        size_t end;
    };
    Character read(std::string_view text, size_t at) const;
    /// End of the longest run from `at` on of characters that have (want) or lack (!want) any of the classes.
    size_t run(std::string_view text, size_t at, uint8_t classes, bool want) const;

    size_t contraction(std::string_view text, size_t at) const;
    size_t numbers(std::string_view text, size_t at) const;
    size_t white_space(std::string_view text, size_t at) const;

    PretokenizerPattern pattern_;
    const unicode::ClassTable* classes_;
};

}  // namespace sheaf
