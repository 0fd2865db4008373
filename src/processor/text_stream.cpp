#include "processor/text_stream.h"

#include <algorithm>

namespace sheaf {

TextStream::TextStream(const Tokenizer& tokenizer, std::vector<std::string> stop, bool include_stop,
                       bool skip_special)
    : detokenizer_(tokenizer, skip_special), stop_(std::move(stop)), include_stop_(include_stop) {
    std::erase_if(stop_, [](const std::string& text) { return text.empty(); });
}

std::string TextStream::push(int32_t token) {
    if (stopped()) return {};
    held_ += detokenizer_.push(token);
    return release(false);
}

std::string TextStream::finish() {
    if (stopped()) return {};
    held_ += detokenizer_.finish();
    return release(true);
}

std::string TextStream::release(bool last) {
    size_t first = std::string::npos;
    for (const std::string& stop : stop_) {
        const size_t at = held_.find(stop);
        if (at >= first) continue;
        first = at;
        matched_ = stop;
    }
    if (stopped()) {
        std::string text = held_.substr(0, include_stop_ ? first + matched_->size() : first);
        held_.clear();
        return text;
    }
    size_t keep = 0;  // the longest end of the text that may still grow into a stop string
    if (!last) {
        for (const std::string& stop : stop_) {
            for (size_t size = std::min(stop.size() - 1, held_.size()); size > keep; --size) {
                if (std::string_view(held_).substr(held_.size() - size) ==
                    std::string_view(stop).substr(0, size)) {
                    keep = size;
                    break;
                }
            }
        }
        // A held-back end must begin at a character, or the released text would end in half of one.
        while (keep > 0 && keep < held_.size() && (held_[held_.size() - keep] & 0xc0) == 0x80) ++keep;
    }
    std::string text = held_.substr(0, held_.size() - keep);
    held_.erase(0, text.size());
    return text;
}

}  // namespace sheaf
