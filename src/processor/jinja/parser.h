// The parser's own class, shared by its two files: statements (parser.cpp) and expressions
// (parser_expressions.cpp). Used by parse() alone. It must not know how names are resolved or run.
#pragma once

#include <initializer_list>

#include "processor/jinja/lexer.h"
#include "processor/jinja/syntax.h"

namespace sheaf::jinja {

class Parser {
  public:
    explicit Parser(std::vector<Token> tokens)
        : tokens_(std::move(tokens)), program_(std::make_unique<Program>()) {}
    std::unique_ptr<Program> run();

  private:
    using Names = std::initializer_list<std::string_view>;

    // Statements.
    Block block(Names ends);
    void text(Block& out);
    void output(Block& out);
    Statement* statement();
    Statement* known_statement(const std::string& tag, int line);
    Block body(Names ends);
    Block body_to(std::string_view end);
    Statement* set(int line);
    Statement* loop(int line);
    Statement* conditional(int line);
    Statement* with(int line);
    Statement* macro(int line);
    Statement* call_block(int line);
    Statement* filter_block(int line);
    Statement* generation(int line);
    Statement* print(int line);
    Statement* jump(int line, StatementKind kind);
    void signature(MacroParts& macro);
    [[noreturn]] void unknown_tag(const Token& tag);
    Statement* make(StatementKind kind, int line);

    // Expressions, from the loosest to the tightest.
    enum class Condition : std::uint8_t { allowed, excluded };
    Expression* expression(Condition condition = Condition::allowed);
    Expression* conditional_expression();
    Expression* disjunction();
    Expression* conjunction();
    Expression* negation();
    Expression* comparison();
    Expression* sum();
    Expression* concatenation();
    Expression* product();
    Expression* power();
    Expression* unary(bool with_filters = true);
    Expression* primary();
    Expression* tuple(Condition condition, bool in_parentheses = false);
    Expression* list_literal();
    Expression* dict_literal();
    Expression* postfix(Expression* node);
    Expression* filters_and_tests(Expression* node);
    Expression* subscript(Expression* node);
    Expression* subscribed();
    Expression* call(Expression* node);
    Expression* filter(Expression* node, bool inline_start = false);
    Expression* test(Expression* node);
    std::unique_ptr<CallArguments> call_arguments();
    void call_argument(CallArguments& out, int line);
    Expression* target(bool with_namespace = false);
    Expression* target_item(bool with_namespace);
    Expression* target_name();
    void check_assignable(const Expression& node) const;
    std::string dotted_name();
    bool at_tuple_end() const;
    Expression* binary(ExpressionKind kind, Arithmetic op, Expression* left, Expression* right, int line);
    Expression* make(ExpressionKind kind, int line, Expression* subject = nullptr);

    // Tokens.
    const Token& current() const { return tokens_[at_]; }
    const Token& look() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
    const Token& next() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
    bool skip_op(std::string_view op);
    bool skip_name(std::string_view name);
    void expect_op(std::string_view op);
    void expect_name(std::string_view name);
    void expect(TokenKind kind, std::string_view what);
    std::string expect_identifier();
    [[noreturn]] void unexpected(std::string_view expected) const;

    /// One level of nesting of the source.
    class Nest {
      public:
        explicit Nest(Parser& parser);
        ~Nest() { --parser_.depth_; }
        Nest(const Nest&) = delete;
        Nest& operator=(const Nest&) = delete;

      private:
        Parser& parser_;
    };

    std::vector<Token> tokens_;
    std::size_t at_ = 0;
    int depth_ = 0;
    int loops_ = 0;  // that a break would leave
    std::unique_ptr<Program> program_;
};

}  // namespace sheaf::jinja
