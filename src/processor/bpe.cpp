#include "processor/bpe.h"

#include <algorithm>
#include <functional>

#include "base/error.h"

namespace sheaf {
namespace {

constexpr size_t short_word = 32;  // up to here looking at every pair again beats keeping a queue

uint64_t pair_of(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

}  // namespace

Bpe::Bpe(const std::vector<Token>& tokens, const std::vector<Merge>& merges, bool ignore_merges)
    : index_(tokens.size()) {
    add_tokens(tokens);
    add_merges(merges);
    // Most words of a text are one token. Whether merging really ends there is found out once, here.
    whole_.assign(size(), ignore_merges);
    if (ignore_merges) return;
    Scratch scratch;
    std::vector<int32_t> out;
    for (const Token& token : tokens) {
        if (token.literal) continue;
        out.clear();
        encode(token.bytes, scratch, out);
        whole_[token.id] = out.size() == 1 && out[0] == token.id;
    }
}

void Bpe::add_tokens(const std::vector<Token>& tokens) {
    int32_t highest = -1;
    size_t total = 0;
    for (const Token& token : tokens) {
        highest = std::max(highest, token.id);
        total += token.bytes.size();
        longest_ = std::max(longest_, token.bytes.size());
    }
    std::vector<const Token*> by_id(highest + 1, nullptr);
    for (const Token& token : tokens) {
        if (by_id[token.id] != nullptr) {
            fail(ErrorKind::corrupt_file, "two vocabulary entries have the id {}", token.id);
        }
        by_id[token.id] = &token;
    }
    arena_.reserve(total);
    offsets_.reserve(by_id.size() + 1);
    for (const Token* token : by_id) {
        offsets_.push_back(static_cast<uint32_t>(arena_.size()));
        if (token != nullptr) arena_ += token->bytes;
    }
    offsets_.push_back(static_cast<uint32_t>(arena_.size()));

    auto bytes_of = [this](int32_t id) { return bytes(id); };
    for (const Token& token : tokens) {
        if (token.literal) {
            literals_.push_back(token.id);
            continue;
        }
        int32_t other = index_.insert(token.bytes, token.id, bytes_of);
        if (other != TokenIndex::none) {
            fail(ErrorKind::corrupt_file, "the vocabulary's ids {} and {} stand for the same bytes", other,
                 token.id);
        }
    }
    std::sort(literals_.begin(), literals_.end());
    if (tokens.empty()) return;  // Tokenizer::none()
    for (int byte = 0; byte < 256; ++byte) {
        char c = static_cast<char>(byte);
        std::optional<int32_t> id = find({&c, 1});
        if (!id)
            fail(ErrorKind::corrupt_file, "the vocabulary has no entry for the single byte {:#04x}", byte);
        byte_ids_[byte] = *id;
    }
}

void Bpe::add_merges(const std::vector<Merge>& merges) {
    merges_.resize(TokenIndex::slots_for(merges.size()));
    merge_mask_ = merges_.size() - 1;
    for (size_t rank = 0; rank < merges.size(); ++rank) {
        const Merge& m = merges[rank];
        uint64_t pair = pair_of(m.left, m.right);
        size_t i = TokenIndex::mix(pair, 0) & merge_mask_;
        while (merges_[i].pair != ~uint64_t{0} && merges_[i].pair != pair) i = (i + 1) & merge_mask_;
        merges_[i] = {pair, static_cast<uint32_t>(rank), m.result};
    }
}

std::optional<int32_t> Bpe::find(std::string_view bytes_wanted) const {
    int32_t id = index_.find(bytes_wanted, [this](int32_t i) { return bytes(i); });
    if (id == TokenIndex::none) return std::nullopt;
    return id;
}

bool Bpe::is_literal(int32_t id) const {
    return std::binary_search(literals_.begin(), literals_.end(), id);
}

const Bpe::MergeSlot* Bpe::merge(int32_t left, int32_t right) const {
    uint64_t pair = pair_of(left, right);
    for (size_t i = TokenIndex::mix(pair, 0) & merge_mask_;; i = (i + 1) & merge_mask_) {
        if (merges_[i].pair == pair) return &merges_[i];
        if (merges_[i].pair == ~uint64_t{0}) return nullptr;
    }
}

void Bpe::encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const {
    if (word.empty()) return;
    if (word.size() == 1) {
        out.push_back(byte_ids_[static_cast<unsigned char>(word[0])]);
        return;
    }
    if (word.size() <= longest_) {
        int32_t id = index_.find(word, [this](int32_t i) { return bytes(i); });
        if (id != TokenIndex::none && whole_[id]) {
            out.push_back(id);
            return;
        }
    }
    if (word.size() <= short_word) {
        encode_short(word, out);
    } else {
        encode_long(word, scratch, out);
    }
}

void Bpe::encode_short(std::string_view word, std::vector<int32_t>& out) const {
    constexpr uint32_t never = ~uint32_t{0};
    int32_t ids[short_word];
    uint32_t ranks[short_word];  // of the pair (i, i + 1)
    int32_t results[short_word];
    size_t count = word.size();
    auto look_up = [&](size_t i) {
        const MergeSlot* m = i + 1 < count ? merge(ids[i], ids[i + 1]) : nullptr;
        ranks[i] = m ? m->rank : never;
        results[i] = m ? m->result : 0;
    };
    for (size_t i = 0; i < count; ++i) ids[i] = byte_ids_[static_cast<unsigned char>(word[i])];
    for (size_t i = 0; i < count; ++i) look_up(i);
    while (count > 1) {
        size_t best = std::min_element(ranks, ranks + count) - ranks;
        if (ranks[best] == never) break;
        ids[best] = results[best];
        std::copy(ids + best + 2, ids + count, ids + best + 1);
        std::copy(ranks + best + 2, ranks + count, ranks + best + 1);
        std::copy(results + best + 2, results + count, results + best + 1);
        --count;
        look_up(best);
        if (best > 0) look_up(best - 1);
    }
    out.insert(out.end(), ids, ids + count);
}

void Bpe::encode_long(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const {
    auto& symbols = scratch.symbols;
    auto& queue = scratch.queue;
    auto count = static_cast<int32_t>(word.size());
    symbols.resize(word.size());
    queue.clear();
    for (int32_t i = 0; i < count; ++i) {
        symbols[i] = {byte_ids_[static_cast<unsigned char>(word[i])], i - 1, i + 1 < count ? i + 1 : -1};
    }
    auto offer = [&](int32_t left, int32_t right) {
        const MergeSlot* m = merge(symbols[left].id, symbols[right].id);
        if (m != nullptr) queue.push_back(uint64_t{m->rank} << 32 | static_cast<uint32_t>(left));
        return m != nullptr;
    };
    auto later = std::greater<uint64_t>();
    for (int32_t i = 0; i + 1 < count; ++i) offer(i, i + 1);
    std::make_heap(queue.begin(), queue.end(), later);
    while (!queue.empty()) {
        std::pop_heap(queue.begin(), queue.end(), later);
        uint64_t best = queue.back();
        queue.pop_back();
        auto at = static_cast<int32_t>(best & 0xFFFFFFFF);
        Scratch::Symbol& left = symbols[at];
        if (left.id < 0 || left.next < 0) continue;
        Scratch::Symbol& right = symbols[left.next];
        // The pair may have changed since it was queued: it stands only if it is still the same merge.
        const MergeSlot* m = merge(left.id, right.id);
        if (m == nullptr || m->rank != best >> 32) continue;
        left.id = m->result;
        left.next = right.next;
        right.id = -1;
        if (left.next >= 0) symbols[left.next].previous = at;
        if (left.previous >= 0 && offer(left.previous, at)) std::push_heap(queue.begin(), queue.end(), later);
        if (left.next >= 0 && offer(at, left.next)) std::push_heap(queue.begin(), queue.end(), later);
    }
    for (int32_t i = 0; i >= 0; i = symbols[i].next) out.push_back(symbols[i].id);
    if (symbols.capacity() > (1u << 20)) scratch = {};  // one huge word must not hold its memory for good
}

}  // namespace sheaf
