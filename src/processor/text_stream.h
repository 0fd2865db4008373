// TextStream: turns one request's tokens into text as they come, watches for stop strings, and never lets go
// of half a character or of text that may still become a stop string. Used by serve, generate and chat. Must
// not know the engine or JSON.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "processor/detokenizer.h"

namespace sheaf {

class TextStream {
  public:
    /// `stop`: strings that end the text; they are not part of it unless `include_stop`.
    TextStream(const Tokenizer& tokenizer, std::vector<std::string> stop, bool include_stop,
               bool skip_special);

    /// The text that is certain after this token. Once stopped() nothing more comes.
    std::string push(int32_t token);
    /// What was held back; call once after the last token.
    std::string finish();

    bool stopped() const { return matched_.has_value(); }
    /// The stop string that ended the text.
    const std::optional<std::string>& matched() const { return matched_; }

  private:
    std::string release(bool last);

    Detokenizer detokenizer_;
    std::vector<std::string> stop_;
    bool include_stop_;
    std::string held_;
    std::optional<std::string> matched_;
};

}  // namespace sheaf
