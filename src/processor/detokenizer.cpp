#include "processor/detokenizer.h"

#include "processor/tokenizer.h"
#include "processor/unicode.h"

namespace sheaf {

Detokenizer::Detokenizer(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(&tokenizer), skip_special_(skip_special) {}

std::string Detokenizer::push(int32_t id) {
    if (skip_special_ && tokenizer_->is_special(id)) return {};
    pending_ += tokenizer_->token_bytes(id);
    // At most the last three bytes can be the begin of a character whose end has yet to come.
    size_t keep = 0;
    for (size_t back = 1; back <= 3 && back <= pending_.size(); ++back) {
        std::string_view tail = std::string_view(pending_).substr(pending_.size() - back);
        if ((static_cast<unsigned char>(tail[0]) & 0xC0) == 0x80) continue;
        if (unicode::scan(tail).kind == unicode::Scanned::incomplete) keep = back;
        break;
    }
    std::string text;
    unicode::append_lossy(text, std::string_view(pending_).substr(0, pending_.size() - keep));
    pending_.erase(0, pending_.size() - keep);
    return text;
}

std::string Detokenizer::finish() {
    std::string text;
    unicode::append_lossy(text, pending_);
    pending_.clear();
    return text;
}

}  // namespace sheaf
