// A hash table from strings to token ids: the strings live elsewhere and are found by their id.
//
// Used by the byte-pair encoder (bytes to id, once a word of the text) and while a tokenizer file is read
// (spellings). Open addressing, at most half full; nothing is ever removed. Must not know what the strings
// mean.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace sheaf {

class TokenIndex {
  public:
    static constexpr int32_t none = -1;

    explicit TokenIndex(size_t expected) : slots_(slots_for(expected)), mask_(slots_.size() - 1) {}

    /// The id of a string or `none`. `text_of(id)` gives the string of an id that was inserted.
    template <class TextOf>
    int32_t find(std::string_view text, const TextOf& text_of) const {
        return slots_[locate(text, text_of)].id;
    }

    /// The id that already stands for this string, or `none` after inserting. At most `expected` insertions.
    template <class TextOf>
    int32_t insert(std::string_view text, int32_t id, const TextOf& text_of) {
        Slot& slot = slots_[locate(text, text_of)];
        if (slot.id != none) return slot.id;
        slot = {static_cast<uint32_t>(hash(text) >> 32), id};
        return none;
    }

    /// A power of two that leaves half of the slots free.
    static size_t slots_for(size_t count) { return std::bit_ceil(std::max<size_t>(count * 2, 16)); }

    static uint64_t mix(uint64_t x, uint64_t y) {
        auto product = static_cast<unsigned __int128>(x ^ 0x9E3779B97F4A7C15u) * (y ^ 0xD6E8FEB86659FD93u);
        return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
    }

  private:
    struct Slot {
        uint32_t tag = 0;  // upper half of the hash
        int32_t id = none;
    };

    static uint64_t load(const char* p, size_t size) {
        uint64_t value = 0;
        std::memcpy(&value, p, size);
        return value;
    }

    static uint64_t hash(std::string_view text) {
        uint64_t h = text.size();
        const char* p = text.data();
        size_t left = text.size();
        for (; left > 8; left -= 8, p += 8) h = mix(h, load(p, 8));
        return mix(h, load(p, left));
    }

    template <class TextOf>
    size_t locate(std::string_view text, const TextOf& text_of) const {
        uint64_t h = hash(text);
        auto tag = static_cast<uint32_t>(h >> 32);
        size_t i = h & mask_;
        while (slots_[i].id != none && (slots_[i].tag != tag || text_of(slots_[i].id) != text))
            i = (i + 1) & mask_;
        return i;
    }

    std::vector<Slot> slots_;
    size_t mask_;
};

}  // namespace sheaf
