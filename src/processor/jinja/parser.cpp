#include "processor/jinja/parser.h"

#include <algorithm>

#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

Parser::Nest::Nest(Parser& parser) : parser_(parser) {
    if (++parser_.depth_ > Limits::syntax_depth)
        fail_at(parser_.current().line, fmt::format("the template is nested more than {} levels deep",
                                                    static_cast<int>(Limits::syntax_depth)));
}

void Parser::unexpected(std::string_view expected) const {
    const Token& token = current();
    if (token.kind == TokenKind::end)
        fail_at(token.line, fmt::format("unexpected end of template, expected '{}'", expected));
    fail_at(token.line, fmt::format("expected token '{}', got '{}'", expected, describe(token)));
}

bool Parser::skip_op(std::string_view op) {
    if (!current().is_op(op)) return false;
    next();
    return true;
}

bool Parser::skip_name(std::string_view name) {
    if (!current().is_name(name)) return false;
    next();
    return true;
}

void Parser::expect_op(std::string_view op) {
    if (!skip_op(op)) unexpected(op);
}

void Parser::expect_name(std::string_view name) {
    if (!skip_name(name)) unexpected(name);
}

void Parser::expect(TokenKind kind, std::string_view what) {
    if (current().kind != kind) unexpected(what);
    next();
}

std::string Parser::expect_identifier() {
    if (current().kind != TokenKind::name) unexpected("name");
    return next().text;
}

Statement* Parser::make(StatementKind kind, int line) {
    Statement& statement = program_->statements.emplace_back();
    statement.kind = kind;
    statement.line = line;
    return &statement;
}

std::unique_ptr<Program> Parser::run() {
    program_->body = block({});
    return std::move(program_);
}

/// Statements up to a tag whose name is one of `ends` (left current); with no ends, up to the end of the
/// template.
Block Parser::block(Names ends) {
    Block out;
    while (current().kind != TokenKind::end) {
        switch (current().kind) {
            case TokenKind::data: {
                Statement* text = make(StatementKind::text, current().line);
                text->text = next().text;
                out.push_back(text);
                break;
            }
            case TokenKind::variable_begin:
                output(out);
                break;
            case TokenKind::block_begin: {
                next();
                const Token& tag = current();
                if (tag.kind == TokenKind::name &&
                    std::find(ends.begin(), ends.end(), tag.text) != ends.end())
                    return out;
                out.push_back(statement());
                expect(TokenKind::block_end, "end of statement block");
                break;
            }
            default:
                unexpected("template data");
        }
    }
    if (ends.size() != 0)
        fail_at(current().line,
                fmt::format("unexpected end of template; looking for '{}'", *(ends.end() - 1)));
    return out;
}

void Parser::output(Block& out) {
    const int line = next().line;
    Statement* statement = make(StatementKind::output, line);
    statement->values.push_back(tuple(Condition::allowed));
    expect(TokenKind::variable_end, "end of print statement");
    out.push_back(statement);
}

/// A block's body: from behind the opening tag to one of `ends`.
Block Parser::body(Names ends) {
    const Nest nest(*this);
    skip_op(":");
    expect(TokenKind::block_end, "end of statement block");
    return block(ends);
}

Block Parser::body_to(std::string_view end) {
    Block out = body({end});
    next();
    return out;
}

void Parser::unknown_tag(const Token& tag) {
    static constexpr std::string_view kRefused[] = {"include", "import", "from",
                                                    "extends", "block",  "autoescape"};
    const std::string name(unicode::cut(tag.text, Limits::quoted_bytes));
    if (std::find(std::begin(kRefused), std::end(kRefused), tag.text) != std::end(kRefused))
        fail_at(tag.line, fmt::format("'{}' is not supported: a chat template stands alone", name));
    fail_at(tag.line, fmt::format("encountered unknown tag '{}'", name));
}

Statement* Parser::statement() {
    const Token& tag = current();
    if (tag.kind != TokenKind::name) fail_at(tag.line, "tag name expected");
    const std::string name = tag.text;
    const int line = tag.line;
    Statement* found = known_statement(name, line);
    if (found == nullptr) unknown_tag(tag);
    return found;
}

Statement* Parser::known_statement(const std::string& tag, int line) {
    using Handler = Statement* (Parser::*)(int);
    static constexpr std::pair<std::string_view, Handler> kHandlers[] = {
        {"for", &Parser::loop},
        {"if", &Parser::conditional},
        {"set", &Parser::set},
        {"macro", &Parser::macro},
        {"with", &Parser::with},
        {"call", &Parser::call_block},
        {"filter", &Parser::filter_block},
        {"generation", &Parser::generation},
        {"print", &Parser::print},
    };
    if (tag == "break") return jump(line, StatementKind::loop_break);
    if (tag == "continue") return jump(line, StatementKind::loop_continue);
    for (const auto& [name, handler] : kHandlers) {
        if (tag != name) continue;
        next();
        return (this->*handler)(line);
    }
    return nullptr;
}

Statement* Parser::jump(int line, StatementKind kind) {
    const std::string tag = next().text;
    if (loops_ == 0) fail_at(line, fmt::format("'{}' outside loop", tag));
    return make(kind, line);
}

Statement* Parser::set(int line) {
    Expression* to = target(true);
    if (skip_op("=")) {
        Statement* assign = make(StatementKind::assign, line);
        assign->target = to;
        assign->value = tuple(Condition::allowed);
        return assign;
    }
    Statement* assign = make(StatementKind::assign_block, line);
    assign->target = to;
    assign->value = filter(nullptr);
    assign->body = body_to("endset");
    return assign;
}

Statement* Parser::loop(int line) {
    Statement* statement = make(StatementKind::loop, line);
    statement->loop = std::make_unique<LoopParts>();
    LoopParts& parts = *statement->loop;
    statement->target = target();
    expect_name("in");
    parts.iterable = tuple(Condition::excluded);
    if (skip_name("if")) parts.condition = expression();
    parts.recursive = skip_name("recursive");
    const int outer = loops_;
    loops_ = parts.recursive ? 1 : loops_ + 1;
    statement->body = body({"endfor", "else"});
    loops_ = parts.recursive ? 0 : outer;
    if (next().text == "else") parts.otherwise = body_to("endfor");
    loops_ = outer;
    return statement;
}

Statement* Parser::conditional(int line) {
    Statement* statement = make(StatementKind::conditional, line);
    for (;;) {
        Expression* const condition = tuple(Condition::excluded);
        Block taken = body({"elif", "else", "endif"});
        statement->branches.push_back({condition, std::move(taken)});
        const std::string end = next().text;
        if (end == "elif") continue;
        if (end == "else") statement->branches.push_back({nullptr, body_to("endif")});
        break;
    }
    return statement;
}

Statement* Parser::with(int line) {
    Statement* statement = make(StatementKind::with, line);
    while (current().kind != TokenKind::block_end) {
        if (!statement->bindings.empty()) expect_op(",");
        Expression* const to = target();
        expect_op("=");
        statement->bindings.emplace_back(to, expression());
    }
    statement->body = body_to("endwith");
    return statement;
}

void Parser::signature(MacroParts& macro) {
    expect_op("(");
    while (!current().is_op(")")) {
        if (!macro.parameters.empty()) expect_op(",");
        const int line = current().line;
        Parameter parameter;
        parameter.name = target_name()->name;
        if (std::any_of(macro.parameters.begin(), macro.parameters.end(),
                        [&](const Parameter& other) { return other.name == parameter.name; }))
            fail_at(line, "duplicate argument in a macro definition");
        if (skip_op("=")) {
            parameter.otherwise = expression();
        } else if (!macro.parameters.empty() && macro.parameters.back().otherwise != nullptr) {
            fail_at(line, "non-default argument follows default argument");
        }
        macro.parameters.push_back(std::move(parameter));
    }
    expect_op(")");
}

Statement* Parser::macro(int line) {
    Statement* statement = make(StatementKind::macro, line);
    statement->macro = std::make_unique<MacroParts>();
    statement->macro->name = target_name()->name;
    signature(*statement->macro);
    const int outer = std::exchange(loops_, 0);
    statement->body = body_to("endmacro");
    loops_ = outer;
    return statement;
}

Statement* Parser::call_block(int line) {
    Statement* statement = make(StatementKind::call_block, line);
    statement->macro = std::make_unique<MacroParts>();
    if (current().is_op("(")) signature(*statement->macro);
    Expression* const called = expression();
    if (called->kind != ExpressionKind::call) fail_at(line, "expected call");
    statement->macro->call = called;
    const int outer = std::exchange(loops_, 0);
    statement->body = body_to("endcall");
    loops_ = outer;
    return statement;
}

Statement* Parser::generation(int line) {
    Statement* statement = make(StatementKind::generation, line);
    statement->macro = std::make_unique<MacroParts>();
    const int outer = std::exchange(loops_, 0);
    statement->body = body_to("endgeneration");
    loops_ = outer;
    return statement;
}

Statement* Parser::filter_block(int line) {
    Statement* statement = make(StatementKind::filter_block, line);
    statement->value = filter(nullptr, true);
    statement->body = body_to("endfilter");
    return statement;
}

Statement* Parser::print(int line) {
    Statement* statement = make(StatementKind::output, line);
    while (current().kind != TokenKind::block_end) {
        if (!statement->values.empty()) expect_op(",");
        statement->values.push_back(expression());
    }
    return statement;
}

std::unique_ptr<Program> parse(std::string_view source) {
    auto program = Parser(tokenize(source)).run();
    resolve_names(*program);
    return program;
}

}  // namespace sheaf::jinja
