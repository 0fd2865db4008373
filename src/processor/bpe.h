// Byte-pair encoding of one word: the merge of lowest rank first, the leftmost of equals, until none applies.
//
// Holds the vocabulary as bytes and the merges as pairs of ids. Immutable after its construction, so any
// number of threads may encode with it, each with its own Scratch. Used by the tokenizer; must not know
// files, text or regular expressions. A word of n bytes costs O(n log n), whatever it holds; a word that is
// one token costs one look-up.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "processor/bpe_index.h"

namespace sheaf {

class Bpe {
  public:
    struct Token {
        std::string bytes;
        int32_t id;
        bool literal = false;  // spelled outside the byte alphabet: text never becomes it, it only decodes
    };
    struct Merge {
        int32_t left, right, result;
    };

    /// `tokens`: distinct ids >= 0; apart from literals distinct bytes, all 256 single bytes among them.
    /// `merges`: in the order of their rank; a pair that comes twice has the rank of its last place, as in
    /// Hugging Face. `ignore_merges`: a word that is in the vocabulary is that token even when merges would
    /// not lead there. Error corrupt_file: a single byte is missing, or two tokens share an id or their
    /// bytes.
    Bpe(const std::vector<Token>& tokens, const std::vector<Merge>& merges, bool ignore_merges);

    /// Working memory of one thread.
    struct Scratch {
        struct Symbol {
            int32_t id, previous, next;
        };
        std::vector<Symbol> symbols;
        std::vector<uint64_t> queue;  // rank << 32 | index of the left symbol
    };

    /// Appends the tokens of `word`.
    void encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const;

    /// Empty for unknown ids.
    std::string_view bytes(int32_t id) const {
        if (id < 0 || id >= size()) return {};
        return std::string_view(arena_).substr(offsets_[id], offsets_[id + 1] - offsets_[id]);
    }
    std::optional<int32_t> find(std::string_view bytes) const;

    bool is_literal(int32_t id) const;

    /// Highest id + 1.
    int32_t size() const { return static_cast<int32_t>(offsets_.size()) - 1; }
    size_t longest() const { return longest_; }

  private:
    struct MergeSlot {
        uint64_t pair = ~uint64_t{0};
        uint32_t rank = 0;
        int32_t result = 0;
    };

    void add_tokens(const std::vector<Token>& tokens);
    void add_merges(const std::vector<Merge>& merges);
    const MergeSlot* merge(int32_t left, int32_t right) const;
    void encode_short(std::string_view word, std::vector<int32_t>& out) const;
    void encode_long(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const;

    std::string arena_;
    std::vector<uint32_t> offsets_;
    TokenIndex index_;
    std::vector<MergeSlot> merges_;
    size_t merge_mask_ = 0;
    std::array<int32_t, 256> byte_ids_{};
    std::vector<bool> whole_;        // per id: encoding its bytes gives the id itself
    std::vector<int32_t> literals_;  // sorted
    size_t longest_ = 0;
};

}  // namespace sheaf
