// The generated Unicode data, as Hugging Face's `tokenizers` has it (tools/golden/tokenizer_unicode.py
// measures it). Used by unicode.cpp and unicode_nfc.cpp alone, which turn it into look-up tables. Must not
// know any algorithm.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sheaf::unicode::tables {

struct Pair {
    uint32_t composed, first, second;
};
struct Single {
    uint32_t from, to;
};

extern const uint32_t class_changes[];
extern const size_t class_changes_count;

extern const uint32_t combining_changes[];
extern const size_t combining_changes_count;
extern const Pair pairs[];
extern const size_t pairs_count;
extern const Single singles[];
extern const size_t singles_count;
extern const Pair split_pairs[];
extern const size_t split_pairs_count;

}  // namespace sheaf::unicode::tables
