// Special tokens spelled by clients: text such as "<|im_end|>" inside a message must stay text and never end
// the turn. Before rendering, such spellings in messages are marked with a character that Unicode reserves
// for internal use; after rendering the marks are taken out and what they marked is encoded as plain text.
// Used by the prompt builder. Must not know HTTP.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sheaf {

class Tokenizer;

/// A rendered prompt whose marks were taken out.
struct MarkedText {
    explicit MarkedText(std::string marked);

    std::string text;
    std::vector<size_t> marks;  // where in `text` a mark stood, ascending
};

class SpecialText {
  public:
    /// `tokenizer` must outlive this.
    explicit SpecialText(const Tokenizer& tokenizer);

    /// Marks special tokens (those that skip_special hides) in every string of `value`, keys included, and
    /// removes marks that a client put there. `value` must not be nested deeper than 100 levels.
    void mark(nlohmann::ordered_json& value) const;

    /// Token ids: as Tokenizer::encode with special tokens parsed, but for the marked ones; stops once more
    /// than `limit` exist.
    std::vector<int32_t> encode(const MarkedText& marked, size_t limit) const;

  private:
    struct Added {
        std::string spelling;
        int32_t id;
        bool special;
    };

    const Added* find(std::string_view text, size_t at) const;
    std::optional<std::string> marked(const std::string& text) const;
    void mark_within(nlohmann::ordered_json& value, int depth) const;

    const Tokenizer* tokenizer_;
    std::array<std::vector<Added>, 256> by_first_byte_;  // longest first
};

}  // namespace sheaf
