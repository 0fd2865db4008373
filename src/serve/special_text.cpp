#include "serve/special_text.h"

#include <algorithm>

#include "base/error.h"
#include "processor/tokenizer.h"

namespace sheaf {

namespace {

constexpr std::string_view mark_character = "\xef\xb7\x90";  // U+FDD0, a noncharacter
constexpr int max_depth = 100;

}  // namespace

MarkedText::MarkedText(std::string marked) {
    size_t at = marked.find(mark_character);
    if (at == std::string::npos) {
        text = std::move(marked);
        return;
    }
    text.reserve(marked.size());
    size_t begin = 0;
    for (; at != std::string::npos; at = marked.find(mark_character, begin)) {
        text.append(marked, begin, at - begin);
        marks.push_back(text.size());
        begin = at + mark_character.size();
    }
    text.append(marked, begin);
}

SpecialText::SpecialText(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {
    for (int32_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
        if (!tokenizer.is_added(id)) continue;
        std::string spelling(tokenizer.token_bytes(id));
        if (spelling.empty()) continue;
        by_first_byte_[static_cast<unsigned char>(spelling[0])].push_back(
            {spelling, id, tokenizer.is_special(id)});
    }
    for (auto& list : by_first_byte_)
        std::ranges::stable_sort(
            list, [](const Added& a, const Added& b) { return a.spelling.size() > b.spelling.size(); });
}

const SpecialText::Added* SpecialText::find(std::string_view text, size_t at) const {
    for (const Added& added : by_first_byte_[static_cast<unsigned char>(text[at])])
        if (text.substr(at).starts_with(added.spelling)) return &added;
    return nullptr;
}

std::optional<std::string> SpecialText::marked(const std::string& text) const {
    std::string result;
    size_t copied = 0;
    const bool had_marks = text.find(mark_character) != std::string::npos;
    const std::string clean = had_marks ? MarkedText(text).text : std::string();
    const std::string& source = had_marks ? clean : text;
    for (size_t i = 0; i < source.size(); ++i) {
        const Added* added = find(source, i);
        if (!added || !added->special) continue;
        // After the first character, so that no trimming in the template can lose the mark.
        size_t after = i + 1;
        while (after < source.size() && (source[after] & 0xc0) == 0x80) ++after;
        result.append(source, copied, after - copied).append(mark_character);
        copied = after;
    }
    if (copied == 0) return had_marks ? std::optional(clean) : std::nullopt;
    result.append(source, copied);
    return result;
}

void SpecialText::mark_within(nlohmann::ordered_json& value, int depth) const {
    if (depth > max_depth) fail(ErrorKind::invalid_input, "the request is nested too deeply");
    if (value.is_string()) {
        if (auto replaced = marked(value.get_ref<const std::string&>())) value = std::move(*replaced);
    } else if (value.is_array()) {
        for (auto& entry : value) mark_within(entry, depth + 1);
    } else if (value.is_object()) {
        bool rename = false;
        for (auto& [key, entry] : value.get_ref<nlohmann::ordered_json::object_t&>()) {
            mark_within(entry, depth + 1);
            rename = rename || marked(key).has_value();
        }
        if (!rename) return;
        nlohmann::ordered_json renamed = nlohmann::ordered_json::object();
        for (auto& [key, entry] : value.get_ref<nlohmann::ordered_json::object_t&>())
            renamed[marked(key).value_or(key)] = std::move(entry);
        value = std::move(renamed);
    }
}

void SpecialText::mark(nlohmann::ordered_json& value) const {
    mark_within(value, 0);
}

std::vector<int32_t> SpecialText::encode(const MarkedText& marked, size_t limit) const {
    if (marked.marks.empty()) return tokenizer_->encode(marked.text, true, limit);
    std::vector<int32_t> ids;
    const std::string& text = marked.text;
    size_t begin = 0;
    auto mark = marked.marks.begin();
    const auto encode_plain = [&](size_t end) {
        if (begin == end || ids.size() > limit) return;
        const std::string_view piece = std::string_view(text).substr(begin, end - begin);
        const std::vector<int32_t> more = tokenizer_->encode(piece, false, limit - ids.size());
        ids.insert(ids.end(), more.begin(), more.end());
    };
    for (size_t i = 0; i < text.size() && ids.size() <= limit;) {
        const Added* added = find(text, i);
        while (mark != marked.marks.end() && *mark <= i) ++mark;
        // A mark stands inside the spelling that it disarms; nothing that contains a mark is a token.
        const bool disarmed = added && mark != marked.marks.end() && *mark < i + added->spelling.size();
        if (!added || disarmed) {
            ++i;
            continue;
        }
        encode_plain(i);
        if (ids.size() <= limit) ids.push_back(added->id);
        i += added->spelling.size();
        begin = i;
    }
    encode_plain(text.size());
    return ids;
}

}  // namespace sheaf
