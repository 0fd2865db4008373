// The text of a template as tokens, with Jinja's rules for white space around tags (trim_blocks and
// lstrip_blocks on, one newline at the end dropped). Used by the parser. It must not know grammar.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sheaf::jinja {

enum class TokenKind : std::uint8_t {
    end,
    data,
    variable_begin,
    variable_end,
    block_begin,
    block_end,
    name,
    string,
    integer,
    real,
    op,
};

struct Token {
    TokenKind kind = TokenKind::end;
    int line = 1;
    std::string text;  // data, names, operators as written, the value of a string
    std::int64_t integer = 0;
    double real = 0;

    bool is_op(std::string_view op) const { return kind == TokenKind::op && text == op; }
    bool is_name(std::string_view name) const { return kind == TokenKind::name && text == name; }
};

/// Ends with an `end` token. Errors: invalid_input, with the line.
std::vector<Token> tokenize(std::string_view source);

/// The name of a token in messages.
std::string describe(const Token& token);

/// Fails with "line N: ..." (what every syntax error looks like).
[[noreturn]] void fail_at(int line, const std::string& message);

}  // namespace sheaf::jinja
