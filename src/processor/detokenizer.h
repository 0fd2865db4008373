// The incremental detokenizer: turns a stream of token ids into a stream of text that never ends inside a
// character.
//
// One per generated sequence; the concatenation of all push() and finish() results equals Tokenizer::decode
// of all ids. Used by whatever streams a sequence to a client. It must not know stop strings, parsers or the
// engine.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sheaf {

class Tokenizer;

class Detokenizer {
  public:
    /// `tokenizer` must outlive this. `skip_special` as in Tokenizer::decode.
    explicit Detokenizer(const Tokenizer& tokenizer, bool skip_special = false);

    /// The text that became certain with this token: valid UTF-8, possibly empty.
    std::string push(int32_t id);

    /// The end of the stream: an incomplete character becomes U+FFFD. Afterwards the object is as new.
    std::string finish();

    /// Bytes (0 to 3) held back because their character is not complete.
    std::string_view pending() const { return pending_; }

  private:
    const Tokenizer* tokenizer_;
    bool skip_special_;
    std::string pending_;
};

}  // namespace sheaf
