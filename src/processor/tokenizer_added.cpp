#include "processor/tokenizer_added.h"

#include <algorithm>

#include "base/error.h"

namespace sheaf {

using unicode::CharClass;

void AddedTokenMatcher::add(const AddedToken& token, std::string_view literal) {
    if (literal.empty()) return;
    int32_t node = 0;
    for (char c : literal) {
        auto byte = static_cast<unsigned char>(c);
        int32_t next = child(node, byte);
        if (next < 0) {
            next = static_cast<int32_t>(nodes_.size());
            nodes_[node].next.emplace_back(byte, next);
            nodes_.emplace_back();
        }
        node = next;
    }
    if (nodes_[node].token >= 0) {
        fail(ErrorKind::corrupt_file, "the added tokens {} and {} are both spelled \"{}\"",
             tokens_[nodes_[node].token].id, token.id, literal);
    }
    nodes_[node].token = static_cast<int32_t>(tokens_.size());
    tokens_.push_back(token);
    begins_[static_cast<unsigned char>(literal[0])] = true;
}

int32_t AddedTokenMatcher::child(int32_t node, unsigned char byte) const {
    for (auto [b, next] : nodes_[node].next) {
        if (b == byte) return next;
    }
    return -1;
}

AddedTokenMatcher::Match AddedTokenMatcher::longest(std::string_view text, size_t at) const {
    Match match;
    for (int32_t node = 0; at < text.size();) {
        node = child(node, static_cast<unsigned char>(text[at++]));
        if (node < 0) break;
        if (nodes_[node].token >= 0) match = {at, nodes_[node].token};
    }
    return match;
}

bool AddedTokenMatcher::is(std::string_view text, size_t at, uint8_t char_class) const {
    return (unicode::ClassTable::instance()[unicode::decode(text, at).code_point] & char_class) != 0;
}

size_t AddedTokenMatcher::blanks_before(std::string_view text, size_t at, size_t floor) const {
    while (at > floor) {
        size_t before = unicode::previous(text, at);
        if (!is(text, before, CharClass::space)) break;
        at = before;
    }
    return at;
}

size_t AddedTokenMatcher::blanks_behind(std::string_view text, size_t at) const {
    while (at < text.size() && is(text, at, CharClass::space)) at += unicode::decode(text, at).size;
    return at;
}

std::vector<AddedTokenMatcher::Piece> AddedTokenMatcher::split(std::string_view text) const {
    std::vector<Piece> pieces;
    size_t done = 0;  // everything before is in a piece
    size_t blanks_end =
        0;  // end of the white space that was last walked over, so that it is walked over once
    for (size_t at = 0; at < text.size();) {
        if (!begins_[static_cast<unsigned char>(text[at])]) {
            ++at;
            continue;
        }
        Match match = longest(text, at);
        if (match.token < 0) {
            ++at;
            continue;
        }
        const AddedToken& token = tokens_[match.token];
        size_t begin = at, end = match.end;
        at = match.end;
        if (token.single_word) {
            bool touched_before = begin > 0 && is(text, unicode::previous(text, begin), CharClass::word);
            bool touched_behind = end < text.size() && is(text, end, CharClass::word);
            if (touched_before || touched_behind) continue;
        }
        // A token that took blanks along may have reached beyond the begin of this one: then nothing stands
        // between.
        if (token.lstrip && begin > done) begin = blanks_before(text, begin, done);
        if (token.rstrip) {
            if (end >= blanks_end) blanks_end = blanks_behind(text, end);
            end = blanks_end;
        }
        if (done < begin) pieces.push_back({done, begin, -1});
        pieces.push_back({begin, end, token.id});
        done = end;
    }
    if (done < text.size()) pieces.push_back({done, text.size(), -1});
    return pieces;
}

}  // namespace sheaf
