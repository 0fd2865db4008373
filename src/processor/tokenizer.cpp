#include "processor/tokenizer.h"

#include <algorithm>
#include <limits>
#include <unordered_map>

#include "base/error.h"
#include "processor/tokenizer_file.h"
#include "processor/unicode.h"

namespace sheaf {

struct Tokenizer::Parts {
    struct Added {
        AddedToken token;
        std::string literal;  // its content, normalized if it is looked for after normalization
        std::string bytes;
    };

    Bpe bpe;
    Pretokenizer pretokenizer;
    bool nfc;
    std::unordered_map<int32_t, Added> added;
    std::unordered_map<std::string_view, int32_t> added_ids;  // by content, which `added` holds
    AddedTokenMatcher before_normalization, after_normalization;
    int32_t size = 0;
    size_t max_bytes = 0;
    std::optional<int32_t> eos, bos, pad;

    explicit Parts(const TokenizerFile& file)
        : bpe(file.tokens, file.merges, file.ignore_merges),
          pretokenizer(file.pretokenizer.value()),
          nfc(file.nfc),
          size(bpe.size()),
          max_bytes(bpe.longest() * shrinking()),
          eos(file.eos),
          bos(file.bos),
          pad(file.pad) {
        for (const AddedToken& token : file.added) {
            std::string literal = token.normalized && nfc ? unicode::nfc(token.content) : token.content;
            (token.normalized ? after_normalization : before_normalization).add(token, literal);
            // Hugging Face sends added tokens through the byte decoder too: where their content happens to be
            // spelled in the byte alphabet (all plain ASCII is), it stands for those bytes.
            std::string bytes = bytes_of_spelling(literal).value_or(literal);
            size = std::max(size, token.id + 1);
            max_bytes = std::max(max_bytes, token.content.size() * shrinking());
            if (token.lstrip || token.rstrip) max_bytes = std::numeric_limits<size_t>::max();
            auto it = added.emplace(token.id, Added{token, std::move(literal), std::move(bytes)}).first;
            added_ids.emplace(it->second.token.content, token.id);
        }
    }

    /// NFC makes at most seven bytes into two (U+0390).
    size_t shrinking() const { return nfc ? 4 : 1; }
};

namespace {

/// One call of encode: where its tokens go, and when it may stop.
class Encoder {
  public:
    Encoder(const Bpe& bpe, const Pretokenizer& pretokenizer, size_t limit)
        : bpe_(bpe), pretokenizer_(pretokenizer), limit_(limit) {}

    bool full() const { return ids_.size() > limit_; }
    void token(int32_t id) { ids_.push_back(id); }

    void words(std::string_view text) {
        for (size_t at = 0; at < text.size() && !full();) {
            size_t end = pretokenizer_.next(text, at);
            bpe_.encode(text.substr(at, end - at), scratch_, ids_);
            at = end;
        }
    }

    std::vector<int32_t> take() {
        if (full()) ids_.resize(limit_ + 1);
        return std::move(ids_);
    }

  private:
    const Bpe& bpe_;
    const Pretokenizer& pretokenizer_;
    size_t limit_;
    Bpe::Scratch scratch_;
    std::vector<int32_t> ids_;
};

template <class OnText>
void split(const AddedTokenMatcher& matcher, std::string_view text, Encoder& encoder, const OnText& on_text) {
    if (matcher.empty()) {
        on_text(text);
        return;
    }
    for (const AddedTokenMatcher::Piece& piece : matcher.split(text)) {
        if (encoder.full()) return;
        if (piece.id >= 0) {
            encoder.token(piece.id);
        } else {
            on_text(text.substr(piece.begin, piece.end - piece.begin));
        }
    }
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const Parts> parts) : parts_(std::move(parts)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::load(const std::filesystem::path& folder) {
    TokenizerFile file = read_tokenizer_file(folder);
    try {
        return Tokenizer(std::make_unique<const Parts>(file));
    } catch (Error& e) {
        e.at((folder / "tokenizer.json").string());
        throw;
    }
}

Tokenizer Tokenizer::none() {
    TokenizerFile file;
    file.pretokenizer = Pretokenizer::gpt2();
    return Tokenizer(std::make_unique<const Parts>(file));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool parse_special) const {
    return encode(text, parse_special, std::numeric_limits<size_t>::max());
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool parse_special, size_t limit) const {
    if (parts_->size == 0)
        fail(ErrorKind::not_found, "this checkpoint has no tokenizer.json; give token_ids instead of text");
    if (text.size() > std::numeric_limits<int32_t>::max() / 4) {
        fail(ErrorKind::invalid_input, "a text of {} bytes is too long to tokenize", text.size());
    }
    if (std::optional<size_t> at = unicode::find_invalid(text)) {
        fail(ErrorKind::invalid_input, "the text is not valid UTF-8 at byte {}", *at);
    }
    Encoder encoder(parts_->bpe, parts_->pretokenizer, limit);
    auto normalized = [&](std::string_view piece) {
        if (!parse_special) return encoder.words(piece);
        split(parts_->after_normalization, piece, encoder,
              [&](std::string_view rest) { encoder.words(rest); });
    };
    auto raw = [&](std::string_view piece) {
        if (!parts_->nfc || unicode::surely_nfc(piece)) return normalized(piece);
        std::string composed = unicode::nfc(piece);
        normalized(composed);
    };
    if (parse_special) {
        split(parts_->before_normalization, text, encoder, raw);
    } else {
        raw(text);
    }
    return encoder.take();
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
    std::string bytes;
    for (int32_t id : ids) {
        if (!skip_special || !is_special(id)) bytes += token_bytes(id);
    }
    if (!unicode::find_invalid(bytes)) return bytes;
    std::string text;
    unicode::append_lossy(text, bytes);
    return text;
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
    auto it = parts_->added.find(id);
    return it != parts_->added.end() ? std::string_view(it->second.bytes) : parts_->bpe.bytes(id);
}

std::string Tokenizer::id_to_token(int32_t id) const {
    auto it = parts_->added.find(id);
    if (it != parts_->added.end()) return it->second.literal;
    if (parts_->bpe.is_literal(id)) return std::string(parts_->bpe.bytes(id));
    return spelling_of_bytes(parts_->bpe.bytes(id));
}

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
    auto it = parts_->added_ids.find(token);
    if (it != parts_->added_ids.end()) return it->second;
    return parts_->bpe.find(token);
}

bool Tokenizer::is_added(int32_t id) const {
    return parts_->added.contains(id);
}

bool Tokenizer::is_special(int32_t id) const {
    auto it = parts_->added.find(id);
    return it != parts_->added.end() && it->second.token.special;
}

int32_t Tokenizer::vocabulary_size() const {
    return parts_->size;
}
size_t Tokenizer::max_bytes_per_token() const {
    return parts_->max_bytes;
}
std::optional<int32_t> Tokenizer::eos_token_id() const {
    return parts_->eos;
}
std::optional<int32_t> Tokenizer::bos_token_id() const {
    return parts_->bos;
}
std::optional<int32_t> Tokenizer::pad_token_id() const {
    return parts_->pad;
}

}  // namespace sheaf
