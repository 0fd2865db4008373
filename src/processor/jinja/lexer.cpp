#include "processor/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "processor/jinja/budget.h"
#include "processor/jinja/operators.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_base_digit(char c, int base) {
    if (base <= 10) return c >= '0' && c < '0' + base;
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/// \r\n and \r become \n; one newline at the end is dropped.
std::string normalized(std::string_view source) {
    std::string out;
    out.reserve(source.size());
    for (std::size_t i = 0; i < source.size(); ++i) {
        if (source[i] == '\r') {
            out.push_back('\n');
            if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
        } else {
            out.push_back(source[i]);
        }
    }
    if (!out.empty() && out.back() == '\n') out.pop_back();
    return out;
}

class Lexer {
  public:
    explicit Lexer(std::string source) : source_(std::move(source)) {}
    std::vector<Token> run();

  private:
    void text();
    void comment();
    bool raw(std::size_t tag);
    void raw_body();
    void code(TokenKind end);
    bool close(TokenKind end);
    void code_token();
    void op();
    void name();
    void quoted();
    void number();
    std::size_t digits(std::size_t at, int base) const;
    void integer(std::size_t end, int base);

    void data(std::string_view text, char sign, bool is_variable);
    void skip_space();
    void skip_newline();
    void advance(std::size_t to);
    bool starts(std::string_view what) const { return at(at_, what); }
    bool at(std::size_t place, std::string_view what) const {
        return source_.compare(place, what.size(), what) == 0;
    }
    char peek(std::size_t place) const { return place < source_.size() ? source_[place] : '\0'; }
    void add(TokenKind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text), 0, 0}); }

    std::string source_;
    std::size_t at_ = 0;
    int line_ = 1;
    bool line_starts_ = true;  // the last match ended in a newline
    std::string brackets_;     // the closers that are due
    std::vector<Token> tokens_;
};

void Lexer::advance(std::size_t to) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    line_starts_ = to > at_ && source_[to - 1] == '\n';
    at_ = to;
}

std::size_t skip_spaces(std::string_view text, std::size_t at) {
    return text.size() - unicode::strip_left(text.substr(at)).size();
}

/// Data before a tag whose opening carries `sign` ('-', '+' or none).
void Lexer::data(std::string_view text, char sign, bool is_variable) {
    if (sign == '-') {
        text = unicode::strip_right(text);
    } else if (sign != '+' && !is_variable) {
        // lstrip_blocks: a tag that stands first on its line takes the white space before it.
        const std::size_t line = text.rfind('\n') == text.npos ? 0 : text.rfind('\n') + 1;
        if ((line > 0 || line_starts_) && unicode::strip_left(text.substr(line)).empty())
            text = text.substr(0, line);
    }
    if (!text.empty()) add(TokenKind::data, std::string(text));
}

void Lexer::text() {
    std::size_t tag = at_;
    for (;; ++tag) {
        tag = source_.find('{', tag);
        if (tag == source_.npos) {
            add(TokenKind::data, source_.substr(at_));
            advance(source_.size());
            return;
        }
        const char kind = peek(tag + 1);
        if (kind == '{' || kind == '%' || kind == '#') break;
    }
    const char kind = source_[tag + 1];
    const char sign = peek(tag + 2) == '-' || peek(tag + 2) == '+' ? source_[tag + 2] : '\0';
    data(std::string_view(source_).substr(at_, tag - at_), sign, kind == '{');
    if (kind == '%' && raw(tag)) return;
    advance(tag);
    const int line = line_;
    advance(tag + (sign != 0 ? 3 : 2));
    line_starts_ = false;
    if (kind == '#') {
        comment();
        return;
    }
    tokens_.push_back({kind == '{' ? TokenKind::variable_begin : TokenKind::block_begin, line, {}, 0, 0});
    code(kind == '{' ? TokenKind::variable_end : TokenKind::block_end);
}

void Lexer::comment() {
    const std::size_t close = source_.find("#}", at_);
    if (close == source_.npos) fail_at(line_, "missing end of comment tag");
    const char sign = close > at_ ? source_[close - 1] : '\0';
    advance(close + 2);
    if (sign == '-') {
        skip_space();
    } else if (sign != '+') {
        skip_newline();
    }
}

void Lexer::skip_space() {
    const std::size_t to = skip_spaces(source_, at_);
    if (to > at_) advance(to);
}

void Lexer::skip_newline() {
    if (peek(at_) == '\n') advance(at_ + 1);
}

/// At "{%": whether it opens a raw block, which is then taken whole.
bool Lexer::raw(std::size_t tag) {
    std::size_t place = tag + 2;
    if (peek(place) == '-' || peek(place) == '+') ++place;
    place = skip_spaces(source_, place);
    if (!at(place, "raw")) return false;
    place = skip_spaces(source_, place + 3);
    if (at(place, "%}")) {
        advance(place + 2);
    } else if (at(place, "-%}")) {
        advance(place + 3);
        skip_space();
    } else {
        return false;
    }
    raw_body();
    return true;
}

void Lexer::raw_body() {
    for (std::size_t tag = source_.find("{%", at_); tag != source_.npos; tag = source_.find("{%", tag + 1)) {
        std::size_t place = tag + 2;
        const char sign = peek(place) == '-' || peek(place) == '+' ? source_[place] : '\0';
        if (sign != 0) ++place;
        place = skip_spaces(source_, place);
        if (!at(place, "endraw")) continue;
        place = skip_spaces(source_, place + 6);
        const char end_sign = peek(place) == '-' || peek(place) == '+' ? source_[place] : '\0';
        if (!at(place + (end_sign != 0 ? 1 : 0), "%}")) continue;
        data(std::string_view(source_).substr(at_, tag - at_), sign, false);
        advance(place + (end_sign != 0 ? 3 : 2));
        if (end_sign == '-') {
            skip_space();
        } else if (end_sign == 0) {
            skip_newline();
        }
        return;
    }
    fail_at(line_, "missing end of raw directive");
}

/// Takes the end of a tag; not inside brackets.
bool Lexer::close(TokenKind end) {
    if (!brackets_.empty()) return false;
    const bool is_block = end == TokenKind::block_end;
    const std::string_view mark = is_block ? "%}" : "}}";
    const char sign = peek(at_);
    const bool minus = sign == '-' && at(at_ + 1, mark);
    const bool plus = is_block && sign == '+' && at(at_ + 1, mark);
    if (!minus && !plus && !starts(mark)) return false;
    add(end, {});
    advance(at_ + (minus || plus ? 3 : 2));
    if (minus) {
        skip_space();
    } else if (is_block && !plus) {
        skip_newline();
    }
    return true;
}

void Lexer::code(TokenKind end) {
    while (at_ < source_.size()) {
        if (close(end)) return;
        if (const std::size_t to = skip_spaces(source_, at_); to > at_) {
            advance(to);
            continue;
        }
        code_token();
    }
}

void Lexer::code_token() {
    const char c = source_[at_];
    if (is_digit(c)) {
        number();
    } else if (c == '\'' || c == '"') {
        quoted();
    } else if (unicode::is_identifier_part(unicode::decode(source_, at_).value)) {
        name();
    } else {
        op();
    }
}

void Lexer::op() {
    static constexpr std::array<std::string_view, 26> kOperators = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    const auto* const found = std::find_if(kOperators.begin(), kOperators.end(),
                                           [&](std::string_view text) { return starts(text); });
    if (found == kOperators.end()) {
        const std::size_t size = unicode::decode(source_, at_).size;
        fail_at(line_, fmt::format("unexpected char '{}'",
                                   size == 1 && static_cast<unsigned char>(source_[at_]) >= 0x80
                                       ? std::string("?")
                                       : source_.substr(at_, size)));
    }
    const char c = found->front();
    if (c == '(' || c == '[' || c == '{') {
        if (brackets_.size() >= static_cast<std::size_t>(Limits::syntax_depth))
            fail_at(line_, fmt::format("brackets are nested more than {} levels deep",
                                       static_cast<int>(Limits::syntax_depth)));
        brackets_.push_back(c == '(' ? ')' : (c == '[' ? ']' : '}'));
    } else if (c == ')' || c == ']' || c == '}') {
        if (brackets_.empty()) fail_at(line_, fmt::format("unexpected '{}'", c));
        if (brackets_.back() != c)
            fail_at(line_, fmt::format("unexpected '{}', expected '{}'", c, brackets_.back()));
        brackets_.pop_back();
    }
    add(TokenKind::op, std::string(*found));
    advance(at_ + found->size());
}

void Lexer::name() {
    std::size_t end = at_;
    while (end < source_.size()) {
        const unicode::CodePoint c = unicode::decode(source_, end);
        if (!unicode::is_identifier_part(c.value)) break;
        end += c.size;
    }
    if (!unicode::is_identifier_start(unicode::decode(source_, at_).value))
        fail_at(line_, "invalid character in identifier");
    add(TokenKind::name, source_.substr(at_, end - at_));
    advance(end);
}

/// Digits of one base with single underscores between them; `at` where there are none.
std::size_t Lexer::digits(std::size_t at, int base) const {
    std::size_t end = at;
    while (is_base_digit(peek(end), base) ||
           (peek(end) == '_' && end > at && is_base_digit(peek(end + 1), base)))
        ++end;
    return end;
}

void Lexer::integer(std::size_t end, int base) {
    std::string text = source_.substr(at_, end - at_);
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    const std::size_t skip = base == 10 ? 0 : 2;
    std::int64_t value = 0;
    const auto result = std::from_chars(text.data() + skip, text.data() + text.size(), value, base);
    if (result.ec != std::errc()) fail_at(line_, "a whole number of the template does not fit into 64 bits");
    tokens_.push_back({TokenKind::integer, line_, std::move(text), value, 0});
    advance(end);
}

void Lexer::number() {
    const std::size_t whole = digits(at_, 10);
    std::size_t end = whole;
    if (peek(end) == '.' && is_digit(peek(end + 1))) end = digits(end + 1, 10);
    const std::size_t exponent = end + 1 + (peek(end + 1) == '+' || peek(end + 1) == '-' ? 1 : 0);
    if ((peek(end) == 'e' || peek(end) == 'E') && is_digit(peek(exponent))) end = digits(exponent, 10);
    // "x.0.1" indexes twice; digits right behind a dot are never the start of a real number.
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
    if (end > whole && !after_dot) {
        std::string text = source_.substr(at_, end - at_);
        text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
        const double value = std::strtod(text.c_str(), nullptr);
        tokens_.push_back({TokenKind::real, line_, std::move(text), 0, value});
        advance(end);
        return;
    }
    if (source_[at_] == '0') {
        const char mark = static_cast<char>(peek(at_ + 1) | 0x20);
        const int base = mark == 'x' ? 16 : (mark == 'o' ? 8 : (mark == 'b' ? 2 : 10));
        if (base != 10) {
            const std::size_t first = at_ + 2 + (peek(at_ + 2) == '_' ? 1 : 0);
            const std::size_t stop = digits(first, base);
            if (stop > first) {
                integer(stop, base);
                return;
            }
        }
        std::size_t stop = at_ + 1;
        while (peek(stop) == '0' || (peek(stop) == '_' && peek(stop + 1) == '0')) ++stop;
        integer(stop, 10);
        return;
    }
    integer(whole, 10);
}

/// The value of the escape at text[at] (just behind a backslash), as Python's unicode-escape reads it.
class Unescaper {
  public:
    Unescaper(std::string_view text, int line) : text_(text), line_(line) {}

    std::string run() {
        while (at_ < text_.size()) {
            const std::size_t slash = std::min(text_.find('\\', at_), text_.size());
            out_.append(text_.substr(at_, slash - at_));
            at_ = slash + 1;
            if (slash < text_.size()) escape();
        }
        return std::move(out_);
    }

  private:
    void escape() {
        const char c = text_[at_];
        static constexpr std::string_view kFrom = "\\'\"abfnrtv";
        static constexpr std::string_view kTo = "\\'\"\a\b\f\n\r\t\v";
        if (c == '\n') {
            ++at_;
        } else if (const std::size_t simple = kFrom.find(c); simple != kFrom.npos) {
            out_.push_back(kTo[simple]);
            ++at_;
        } else if (c >= '0' && c <= '7') {
            char32_t value = 0;
            for (int i = 0; i < 3 && at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '7'; ++i)
                value = value * 8 + static_cast<char32_t>(text_[at_++] - '0');
            unicode::append(out_, value);
        } else if (c == 'x' || c == 'u' || c == 'U') {
            hex(c == 'x' ? 2 : (c == 'u' ? 4 : 8));
        } else if (c == 'N') {
            fail_at(line_, "\\N escapes are not supported");
        } else if (static_cast<unsigned char>(c) < 0x80) {
            out_.push_back('\\');  // the letter itself follows as plain text
        } else {
            // Jinja escapes non-ASCII text before it unescapes the whole: the backslash stays, the letter
            // turns to hex.
            const unicode::CodePoint point = unicode::decode(text_, at_);
            const auto value = static_cast<unsigned>(point.value);
            out_ += value < 0x100     ? fmt::format("\\x{:02x}", value)
                    : value < 0x10000 ? fmt::format("\\u{:04x}", value)
                                      : fmt::format("\\U{:08x}", value);
            at_ += point.size;
        }
    }

    void hex(std::size_t count) {
        const std::string_view digits = text_.substr(std::min(at_ + 1, text_.size()), count);
        std::uint32_t value = 0;
        const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
        if (digits.size() != count || result.ptr != digits.data() + count)
            fail_at(line_, "truncated escape in a string");
        if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
            fail_at(line_, "an escape names no character");
        unicode::append(out_, value);
        at_ += 1 + count;
    }

    std::string_view text_;
    int line_;
    std::size_t at_ = 0;
    std::string out_;
};

void Lexer::quoted() {
    const char quote = source_[at_];
    std::size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size())
        fail_at(line_, fmt::format("unexpected char {}", quote == '"' ? "'\"'" : "\"'\""));
    add(TokenKind::string, Unescaper(std::string_view(source_).substr(at_ + 1, end - at_ - 1), line_).run());
    advance(end + 1);
}

std::vector<Token> Lexer::run() {
    while (at_ < source_.size()) text();
    add(TokenKind::end, {});
    return std::move(tokens_);
}

}  // namespace

void fail_at(int line, const std::string& message) {
    fail(ErrorKind::invalid_input, "chat template line {}: {}", line, message);
}

std::vector<Token> tokenize(std::string_view source) {
    if (source.size() > Limits::source_bytes)
        fail(ErrorKind::invalid_input, "the chat template is {} bytes long; at most {} are allowed",
             source.size(), static_cast<std::size_t>(Limits::source_bytes));
    return Lexer(normalized(source)).run();
}

std::string describe(const Token& token) {
    switch (token.kind) {
        case TokenKind::end:
            return "end of template";
        case TokenKind::data:
            return "template data";
        case TokenKind::variable_begin:
            return "begin of print statement";
        case TokenKind::variable_end:
            return "end of print statement";
        case TokenKind::block_begin:
            return "begin of statement block";
        case TokenKind::block_end:
            return "end of statement block";
        case TokenKind::string:
            return "a string";
        default:
            return std::string(unicode::cut(token.text, Limits::quoted_bytes));
    }
}

}  // namespace sheaf::jinja
