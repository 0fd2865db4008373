#include <algorithm>
#include <unordered_map>

#include "processor/unicode.h"
#include "processor/unicode_tables.h"

// Normalization form C, Unicode Standard Annex 15 and chapter 3.11 and 3.12 (Hangul). The text is cut before
// every code point that can neither move nor join what stands before it; only the pieces that hold something
// else are decomposed, sorted and composed again.
namespace sheaf::unicode {
namespace {

constexpr char32_t hangul_syllable = 0xAC00, hangul_lead = 0x1100, hangul_vowel = 0x1161,
                   hangul_tail = 0x11A7;
constexpr char32_t hangul_vowels = 21, hangul_tails = 28, hangul_leads = 19;
constexpr char32_t hangul_syllables = hangul_leads * hangul_vowels * hangul_tails;

struct Split {
    char32_t first, second;  // second 0: one character that is spelled another way
};

class Tables {
  public:
    static const Tables& instance() {
        static const Tables tables;
        return tables;
    }

    uint8_t combining_class(char32_t c) const {
        auto above = std::upper_bound(combining_begin_, combining_end_, uint32_t{c} << 8 | 0xFF);
        return above == combining_begin_ ? 0 : static_cast<uint8_t>(above[-1] & 0xFF);
    }

    const Split* split(char32_t c) const {
        auto it = splits_.find(c);
        return it == splits_.end() ? nullptr : &it->second;
    }

    /// The character that two become; 0 when they stay two.
    char32_t compose(char32_t a, char32_t b) const {
        if (a - hangul_lead < hangul_leads && b - hangul_vowel < hangul_vowels) {
            return hangul_syllable + ((a - hangul_lead) * hangul_vowels + (b - hangul_vowel)) * hangul_tails;
        }
        if (a - hangul_syllable < hangul_syllables && (a - hangul_syllable) % hangul_tails == 0 &&
            b - hangul_tail - 1 < hangul_tails - 1) {
            return a + (b - hangul_tail);
        }
        auto it = composed_.find(uint64_t{a} << 32 | b);
        return it == composed_.end() ? 0 : it->second;
    }

  private:
    Tables() {
        for (size_t i = 0; i < tables::pairs_count; ++i) {
            const tables::Pair& p = tables::pairs[i];
            splits_[p.composed] = {p.first, p.second};
            composed_[uint64_t{p.first} << 32 | p.second] = p.composed;
        }
        for (size_t i = 0; i < tables::split_pairs_count; ++i) {
            const tables::Pair& p = tables::split_pairs[i];
            splits_[p.composed] = {p.first, p.second};
        }
        for (size_t i = 0; i < tables::singles_count; ++i)
            splits_[tables::singles[i].from] = {tables::singles[i].to, 0};
    }

    const uint32_t* combining_begin_ = tables::combining_changes;
    const uint32_t* combining_end_ = tables::combining_changes + tables::combining_changes_count;
    std::unordered_map<char32_t, Split> splits_;
    std::unordered_map<uint64_t, char32_t> composed_;
};

struct Element {
    char32_t code_point;
    uint8_t combining;
};

/// Normalizes one piece at a time; keeps its memory between pieces.
class Normalizer {
  public:
    void normalize(std::string_view piece, std::string& out) {
        elements_.clear();
        for (size_t at = 0; at < piece.size();) {
            Decoded d = decode(piece, at);
            at += d.size;
            decompose(d.code_point);
        }
        sort();
        compose();
        for (const Element& e : elements_) append(out, e.code_point);
    }

  private:
    void decompose(char32_t c) {
        if (c - hangul_syllable < hangul_syllables) {
            char32_t index = c - hangul_syllable;
            char32_t tail = index % hangul_tails;
            elements_.push_back({hangul_lead + index / (hangul_vowels * hangul_tails), 0});
            elements_.push_back({hangul_vowel + index / hangul_tails % hangul_vowels, 0});
            if (tail != 0) elements_.push_back({hangul_tail + tail, 0});
            return;
        }
        // Decomposition goes on in the first part only (4 steps at most in any version of Unicode).
        char32_t rest[8];
        size_t count = 0;
        const Split* split;
        while (count < std::size(rest) && (split = tables_.split(c)) != nullptr) {
            if (split->second != 0) rest[count++] = split->second;
            c = split->first;
        }
        elements_.push_back({c, tables_.combining_class(c)});
        while (count > 0) {
            char32_t next = rest[--count];
            elements_.push_back({next, tables_.combining_class(next)});
        }
    }

    void sort() {
        for (auto run = elements_.begin(); run != elements_.end();) {
            if (run->combining == 0) {
                ++run;
                continue;
            }
            auto end = std::find_if(run, elements_.end(), [](const Element& e) { return e.combining == 0; });
            auto by_class = [](const Element& a, const Element& b) { return a.combining < b.combining; };
            if (!std::is_sorted(run, end, by_class)) std::stable_sort(run, end, by_class);
            run = end;
        }
    }

    void compose() {
        constexpr size_t none = ~size_t{0};
        size_t starter = none, kept = 0;
        int last_combining = -1;  // of the last kept element after the starter; -1: nothing stands between
        for (size_t i = 0; i < elements_.size(); ++i) {
            Element e = elements_[i];
            if (starter != none && last_combining < int{e.combining}) {
                char32_t joined = tables_.compose(elements_[starter].code_point, e.code_point);
                if (joined != 0) {
                    elements_[starter].code_point = joined;
                    continue;
                }
            }
            if (e.combining == 0) {
                starter = kept;
                last_combining = -1;
            } else {
                last_combining = e.combining;
            }
            elements_[kept++] = e;
        }
        elements_.resize(kept);
    }

    const Tables& tables_ = Tables::instance();
    std::vector<Element> elements_;
};

constexpr uint8_t touched = CharClass::reorders | CharClass::changes;

}  // namespace

bool surely_nfc(std::string_view text) {
    const ClassTable& classes = ClassTable::instance();
    const Tables* tables = nullptr;
    uint8_t last = 0;
    for (size_t at = 0; at < text.size();) {
        if (static_cast<unsigned char>(text[at]) < 0xCC) {  // nothing below U+0300 moves or joins
            last = 0;
            at += static_cast<unsigned char>(text[at]) < 0x80 ? 1 : 2;
            continue;
        }
        Decoded d = decode(text, at);
        at += d.size;
        uint8_t bits = classes[d.code_point];
        if (bits & CharClass::changes) return false;
        uint8_t combining = 0;
        if (bits & CharClass::reorders) {
            if (tables == nullptr) tables = &Tables::instance();
            combining = tables->combining_class(d.code_point);
            if (combining < last) return false;
        }
        last = combining;
    }
    return true;
}

std::string nfc(std::string_view text) {
    const ClassTable& classes = ClassTable::instance();
    Normalizer normalizer;
    std::string out;
    out.reserve(text.size() + text.size() / 8);
    size_t copied = 0;  // everything before is in `out`
    size_t piece = 0;   // begin of the piece that the next code point may still belong to
    for (size_t at = 0; at < text.size();) {
        if (static_cast<unsigned char>(text[at]) < 0xCC) {
            piece = at;
            at += static_cast<unsigned char>(text[at]) < 0x80 ? 1 : 2;
            continue;
        }
        Decoded d = decode(text, at);
        if ((classes[d.code_point] & touched) == 0) {
            piece = at;
            at += d.size;
            continue;
        }
        size_t end = at + d.size;
        while (end < text.size()) {
            Decoded next = decode(text, end);
            if ((classes[next.code_point] & touched) == 0) break;
            end += next.size;
        }
        out.append(text, copied, piece - copied);
        normalizer.normalize(text.substr(piece, end - piece), out);
        copied = piece = at = end;
    }
    out.append(text, copied);
    return out;
}

}  // namespace sheaf::unicode
