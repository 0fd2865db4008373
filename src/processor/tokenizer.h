// The tokenizer: text to token ids and back, exactly as Hugging Face's `tokenizers` does it for a checkpoint
// folder.
//
// A Tokenizer is read once from a folder and never changes afterwards, so every thread may use the same one.
// It is used by the chat template (Prompt building), by the server's /tokenize and by the commands. Work is
// linear (long words: n log n) in the bytes of the text, whatever the text is. It must not know templates,
// messages or the engine.
//
// What is understood: byte-level BPE, optional NFC, the regular expressions listed in pretokenizer.h, added
// tokens. Everything else a tokenizer.json may hold is refused by name rather than tokenized a little wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sheaf {

class Tokenizer {
  public:
    /// Reads tokenizer.json and, where present, tokenizer_config.json of a checkpoint folder: added tokens
    /// that exist only there, and the names of the eos, bos and pad tokens. Errors: not_found (no
    /// tokenizer.json), corrupt_file (contradicts itself, or the two files contradict each other),
    /// unsupported (well-formed, but not a byte-level BPE of the kinds above; the message names what it is).
    static Tokenizer load(const std::filesystem::path& folder);
    /// For a checkpoint without one: knows no token, decodes everything to nothing, and encode() is Error
    /// not_found. Token ids can still go through the model.
    static Tokenizer none();

    Tokenizer(Tokenizer&&) noexcept;
    Tokenizer& operator=(Tokenizer&&) noexcept;
    ~Tokenizer();

    /// Token ids of `text`, which must be valid UTF-8 (else Error invalid_input). With `parse_special` an
    /// added token that is spelled in the text becomes its id, as in Hugging Face; without, no text can
    /// become an added token (what clients send is encoded so). Nothing is put in front or behind.
    std::vector<int32_t> encode(std::string_view text, bool parse_special = true) const;

    /// The same, but stops early once more than `limit` tokens exist; then, and only then, size() == limit
    /// + 1.
    std::vector<int32_t> encode(std::string_view text, bool parse_special, size_t limit) const;

    /// Text of the ids. Bytes that are not UTF-8 become U+FFFD, one per maximal broken part. Ids outside the
    /// vocabulary are left out. `skip_special` leaves out added tokens whose special flag is set.
    std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

    /// The bytes a token stands for: any piece of UTF-8, also half a character. Empty for ids outside the
    /// vocabulary. Valid as long as the tokenizer lives.
    std::string_view token_bytes(int32_t id) const;

    /// As Hugging Face spells the token ("Ġthe"); empty for ids outside the vocabulary.
    std::string id_to_token(int32_t id) const;

    /// The id of an added token's content, or of the vocabulary entry that stands for exactly these bytes.
    std::optional<int32_t> token_to_id(std::string_view token) const;

    bool is_added(int32_t id) const;
    /// Added and flagged special: hidden by decode(..., skip_special = true).
    bool is_special(int32_t id) const;

    /// Highest id + 1. The model's logits may be wider: rows from here on are padding and must never be
    /// sampled.
    int32_t vocabulary_size() const;

    /// The most bytes of text that one token can stand for, shrinking by normalization included: a text of n
    /// bytes has at least n / max_bytes_per_token() tokens. No bound (the largest size_t) where added tokens
    /// swallow blanks.
    size_t max_bytes_per_token() const;

    std::optional<int32_t> eos_token_id() const;
    std::optional<int32_t> bos_token_id() const;
    std::optional<int32_t> pad_token_id() const;

  private:
    struct Parts;
    explicit Tokenizer(std::unique_ptr<const Parts> parts);

    std::unique_ptr<const Parts> parts_;
};

}  // namespace sheaf
