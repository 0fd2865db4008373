// Added tokens: literals that are found in text before anything else looks at it, such as <|im_end|>.
//
// Finds them as Hugging Face does: the leftmost, of those the longest; then the token's own conditions (it
// must stand alone, it takes white space along). Used by the tokenizer; must not know merges or files.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "processor/unicode.h"

namespace sheaf {

struct AddedToken {
    int32_t id = -1;
    std::string content;
    bool single_word = false;  // only where no word character touches it
    bool lstrip = false;       // takes the white space before it along
    bool rstrip = false;       // and behind it
    bool normalized = false;   // is looked for after normalization, in its normalized spelling
    bool special = false;      // hidden when decoding with skip_special

    bool operator==(const AddedToken&) const = default;
};

class AddedTokenMatcher {
  public:
    struct Piece {
        size_t begin, end;
        int32_t id;  // -1: plain text
    };

    AddedTokenMatcher() = default;
    /// `literal`: what is looked for, when it is not the token's content. Error corrupt_file: two tokens are
    /// looked for by the same literal.
    void add(const AddedToken& token, std::string_view literal);

    bool empty() const { return tokens_.empty(); }

    /// Cuts valid UTF-8 into tokens and what stands between them, in order; nothing is left out but stripped
    /// blanks, which belong to their token. O(text x longest literal) at worst.
    std::vector<Piece> split(std::string_view text) const;

  private:
    struct Node {
        std::vector<std::pair<unsigned char, int32_t>> next;
        int32_t token = -1;
    };
    struct Match {
        size_t end = 0;
        int32_t token = -1;
    };

    int32_t child(int32_t node, unsigned char byte) const;
    Match longest(std::string_view text, size_t at) const;
    bool is(std::string_view text, size_t at, uint8_t char_class) const;
    size_t blanks_before(std::string_view text, size_t at, size_t floor) const;
    size_t blanks_behind(std::string_view text, size_t at) const;

    std::vector<AddedToken> tokens_;
    std::vector<Node> nodes_ = std::vector<Node>(1);
    std::array<bool, 256> begins_{};
};

}  // namespace sheaf
