// What a checkpoint folder says about its tokenizer: tokenizer.json and tokenizer_config.json, checked and
// typed. Used by Tokenizer::load alone. It must not know how text is encoded.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "processor/bpe.h"
#include "processor/pretokenizer.h"
#include "processor/tokenizer_added.h"

namespace sheaf {

struct TokenizerFile {
    std::vector<Bpe::Token> tokens;
    std::vector<Bpe::Merge> merges;
    bool ignore_merges = false;
    bool nfc = false;
    std::optional<Pretokenizer> pretokenizer;  // always set after reading
    std::vector<AddedToken> added;             // by id, of both files
    std::optional<int32_t> eos, bos, pad;
};

/// Errors as Tokenizer::load.
TokenizerFile read_tokenizer_file(const std::filesystem::path& folder);

/// The GPT-2 alphabet: every byte has a printable character. The bytes that a token's spelling stands for;
/// nothing when a character is not of the alphabet.
std::optional<std::string> bytes_of_spelling(std::string_view spelling);
std::string spelling_of_bytes(std::string_view bytes);

}  // namespace sheaf
