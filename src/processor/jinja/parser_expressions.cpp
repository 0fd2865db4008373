// Expressions: one function per level of precedence, loosest first. Jinja's levels are not quite Python's: ~
// stands between + and *, and unary minus binds tighter than **.
#include <algorithm>

#include "processor/jinja/parser.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

Expression* Parser::make(ExpressionKind kind, int line, Expression* subject) {
    Expression& node = program_->expressions.emplace_back();
    node.kind = kind;
    node.line = line;
    node.subject = subject;
    return &node;
}

Expression* Parser::binary(ExpressionKind kind, Arithmetic op, Expression* left, Expression* right,
                           int line) {
    Expression* node = make(kind, line, left);
    node->op = op;
    node->operands.push_back(right);
    return node;
}

Expression* Parser::expression(Condition condition) {
    const Nest nest(*this);
    return condition == Condition::allowed ? conditional_expression() : disjunction();
}

Expression* Parser::conditional_expression() {
    Expression* node = disjunction();
    while (current().is_name("if")) {
        const int line = next().line;
        Expression* const test = disjunction();
        Expression* otherwise = nullptr;
        if (skip_name("else")) {
            const Nest nest(*this);
            otherwise = conditional_expression();
        }
        Expression* choice = make(ExpressionKind::condition, line);
        choice->operands = {test, node, otherwise};
        node = choice;
    }
    return node;
}

Expression* Parser::disjunction() {
    Expression* left = conjunction();
    while (current().is_name("or")) {
        const int line = next().line;
        left = binary(ExpressionKind::logical_or, {}, left, conjunction(), line);
    }
    return left;
}

Expression* Parser::conjunction() {
    Expression* left = negation();
    while (current().is_name("and")) {
        const int line = next().line;
        left = binary(ExpressionKind::logical_and, {}, left, negation(), line);
    }
    return left;
}

Expression* Parser::negation() {
    if (!current().is_name("not")) return comparison();
    const Nest nest(*this);
    const int line = next().line;
    return make(ExpressionKind::logical_not, line, negation());
}

Expression* Parser::comparison() {
    static constexpr std::pair<std::string_view, Comparison> kComparisons[] = {
        {"==", Comparison::equal},      {"!=", Comparison::not_equal}, {"<", Comparison::less},
        {"<=", Comparison::less_equal}, {">", Comparison::greater},    {">=", Comparison::greater_equal},
    };
    const int line = current().line;
    Expression* first = sum();
    Expression* node = nullptr;
    const auto add = [&](Comparison op) {
        if (node == nullptr) node = make(ExpressionKind::compare, line, first);
        node->comparisons.push_back(op);
        node->operands.push_back(sum());
    };
    for (;;) {
        const auto* const found =
            std::find_if(std::begin(kComparisons), std::end(kComparisons),
                         [&](const auto& entry) { return current().is_op(entry.first); });
        if (found != std::end(kComparisons)) {
            next();
            add(found->second);
        } else if (skip_name("in")) {
            add(Comparison::in);
        } else if (current().is_name("not") && look().is_name("in")) {
            next();
            next();
            add(Comparison::not_in);
        } else {
            return node == nullptr ? first : node;
        }
    }
}

Expression* Parser::sum() {
    Expression* left = concatenation();
    while (current().is_op("+") || current().is_op("-")) {
        const Token& op = next();
        const Arithmetic kind = op.text == "+" ? Arithmetic::add : Arithmetic::subtract;
        const int line = op.line;
        left = binary(ExpressionKind::binary, kind, left, concatenation(), line);
    }
    return left;
}

Expression* Parser::concatenation() {
    Expression* first = product();
    if (!current().is_op("~")) return first;
    Expression* node = make(ExpressionKind::concat, current().line, first);
    while (skip_op("~")) node->operands.push_back(product());
    return node;
}

Expression* Parser::product() {
    static constexpr std::pair<std::string_view, Arithmetic> kProducts[] = {
        {"*", Arithmetic::multiply},
        {"/", Arithmetic::divide},
        {"//", Arithmetic::floor_divide},
        {"%", Arithmetic::modulo},
    };
    Expression* left = power();
    for (;;) {
        const auto* const found =
            std::find_if(std::begin(kProducts), std::end(kProducts),
                         [&](const auto& entry) { return current().is_op(entry.first); });
        if (found == std::end(kProducts)) return left;
        const int line = next().line;
        left = binary(ExpressionKind::binary, found->second, left, power(), line);
    }
}

Expression* Parser::power() {
    Expression* left = unary();
    while (current().is_op("**")) {
        const int line = next().line;
        left = binary(ExpressionKind::binary, Arithmetic::power, left, unary(), line);
    }
    return left;
}

Expression* Parser::unary(bool with_filters) {
    const int line = current().line;
    Expression* node = nullptr;
    if (current().is_op("-") || current().is_op("+")) {
        const Nest nest(*this);
        const ExpressionKind kind = next().text == "-" ? ExpressionKind::negate : ExpressionKind::posit;
        node = make(kind, line, unary(false));
    } else {
        node = primary();
    }
    node = postfix(node);
    return with_filters ? filters_and_tests(node) : node;
}

Expression* Parser::primary() {
    const Token& token = current();
    const int line = token.line;
    const auto constant = [&](Value value) {
        Expression* node = make(ExpressionKind::constant, line);
        node->constant = std::move(value);
        return node;
    };
    switch (token.kind) {
        case TokenKind::name: {
            const std::string name = next().text;
            if (name == "true" || name == "True") return constant(Value::boolean(true));
            if (name == "false" || name == "False") return constant(Value::boolean(false));
            if (name == "none" || name == "None") return constant(Value::none());
            Expression* node = make(ExpressionKind::name, line);
            node->name = name;
            return node;
        }
        case TokenKind::string: {
            std::string text;
            while (current().kind == TokenKind::string) text += next().text;
            return constant(Value::text(std::move(text)));
        }
        case TokenKind::integer:
            return constant(Value::integer(next().integer));
        case TokenKind::real:
            return constant(Value::real(next().real));
        default:
            break;
    }
    if (skip_op("(")) {
        Expression* node = tuple(Condition::allowed, true);
        expect_op(")");
        return node;
    }
    if (token.is_op("[")) return list_literal();
    if (token.is_op("{")) return dict_literal();
    fail_at(line, fmt::format("unexpected '{}'", describe(token)));
}

bool Parser::at_tuple_end() const {
    const Token& token = current();
    return token.kind == TokenKind::variable_end || token.kind == TokenKind::block_end || token.is_op(")");
}

/// One expression, or several with commas between them.
Expression* Parser::tuple(Condition condition, bool in_parentheses) {
    const int line = current().line;
    std::vector<Expression*> items;
    bool is_tuple = false;
    for (;;) {
        if (!items.empty()) expect_op(",");
        if (at_tuple_end()) break;
        items.push_back(expression(condition));
        if (!current().is_op(",")) break;
        is_tuple = true;
    }
    if (!is_tuple) {
        if (!items.empty()) return items.front();
        if (!in_parentheses)
            fail_at(line, fmt::format("expected an expression, got '{}'", describe(current())));
    }
    Expression* node = make(ExpressionKind::tuple, line);
    node->operands = std::move(items);
    return node;
}

Expression* Parser::list_literal() {
    Expression* node = make(ExpressionKind::list, current().line);
    expect_op("[");
    while (!current().is_op("]")) {
        if (!node->operands.empty()) expect_op(",");
        if (current().is_op("]")) break;
        node->operands.push_back(expression());
    }
    expect_op("]");
    return node;
}

Expression* Parser::dict_literal() {
    Expression* node = make(ExpressionKind::dict, current().line);
    expect_op("{");
    while (!current().is_op("}")) {
        if (!node->operands.empty()) expect_op(",");
        if (current().is_op("}")) break;
        node->operands.push_back(expression());
        expect_op(":");
        node->operands.push_back(expression());
    }
    expect_op("}");
    return node;
}

Expression* Parser::postfix(Expression* node) {
    for (;;) {
        if (current().is_op(".") || current().is_op("[")) {
            node = subscript(node);
        } else if (current().is_op("(")) {
            node = call(node);
        } else {
            return node;
        }
    }
}

Expression* Parser::filters_and_tests(Expression* node) {
    for (;;) {
        if (current().is_op("|")) {
            node = filter(node);
        } else if (current().is_name("is")) {
            node = test(node);
        } else if (current().is_op("(")) {
            node = call(node);
        } else {
            return node;
        }
    }
}

Expression* Parser::subscript(Expression* subject) {
    const int line = current().line;
    if (skip_op(".")) {
        const Token& token = current();
        if (token.kind == TokenKind::name) {
            Expression* node = make(ExpressionKind::attribute, line, subject);
            node->name = next().text;
            return node;
        }
        if (token.kind != TokenKind::integer) fail_at(token.line, "expected name or number");
        Expression* node = make(ExpressionKind::item, line, subject);
        Expression* index = make(ExpressionKind::constant, token.line);
        index->constant = Value::integer(next().integer);
        node->operands.push_back(index);
        return node;
    }
    expect_op("[");
    std::vector<Expression*> parts;
    while (!current().is_op("]")) {
        if (!parts.empty()) expect_op(",");
        parts.push_back(subscribed());
    }
    expect_op("]");
    // Without a subject so far, unlike a whole expression that ends in a slice.
    const auto is_slice = [](const Expression* part) {
        return part->kind == ExpressionKind::slice && part->subject == nullptr;
    };
    if (parts.size() == 1 && is_slice(parts.front())) {
        parts.front()->subject = subject;
        return parts.front();
    }
    if (std::any_of(parts.begin(), parts.end(), is_slice))
        fail_at(line, "a slice stands alone in its brackets");
    Expression* node = make(ExpressionKind::item, line, subject);
    if (parts.size() == 1) {
        node->operands = std::move(parts);
    } else {
        Expression* several = make(ExpressionKind::tuple, line);
        several->operands = std::move(parts);
        node->operands.push_back(several);
    }
    return node;
}

/// What stands in [ ]: an expression or a slice (which gets its subject later).
Expression* Parser::subscribed() {
    const int line = current().line;
    Expression* first = nullptr;
    if (!current().is_op(":")) {
        first = expression();
        if (!current().is_op(":")) return first;
    }
    next();
    const auto at_end = [&] { return current().is_op("]") || current().is_op(","); };
    Expression* node = make(ExpressionKind::slice, line);
    Expression* const stop = current().is_op(":") || at_end() ? nullptr : expression();
    Expression* const step = skip_op(":") && !at_end() ? expression() : nullptr;
    node->operands = {first, stop, step};
    return node;
}

Expression* Parser::call(Expression* subject) {
    Expression* node = make(ExpressionKind::call, current().line, subject);
    node->arguments = call_arguments();
    return node;
}

void Parser::call_argument(CallArguments& out, int line) {
    const auto ensure = [&](bool valid) {
        if (!valid) fail_at(line, "invalid syntax for function call expression");
    };
    if (skip_op("*")) {
        ensure(out.star == nullptr && out.double_star == nullptr);
        out.star = expression();
    } else if (skip_op("**")) {
        ensure(out.double_star == nullptr);
        out.double_star = expression();
    } else if (current().kind == TokenKind::name && look().is_op("=")) {
        ensure(out.double_star == nullptr);
        const std::string name = next().text;
        next();
        for (const auto& [other, value] : out.named)
            if (other == name) fail_at(line, "keyword argument repeated");
        out.named.emplace_back(name, expression());
    } else {
        ensure(out.star == nullptr && out.double_star == nullptr && out.named.empty());
        out.positional.push_back(expression());
    }
}

std::unique_ptr<CallArguments> Parser::call_arguments() {
    auto out = std::make_unique<CallArguments>();
    const int line = current().line;
    expect_op("(");
    bool comma = false;
    while (!current().is_op(")")) {
        if (comma) {
            expect_op(",");
            if (current().is_op(")")) break;
        }
        call_argument(*out, line);
        comma = true;
    }
    expect_op(")");
    return out;
}

std::string Parser::dotted_name() {
    std::string name = expect_identifier();
    while (skip_op(".")) name += "." + expect_identifier();
    return name;
}

Expression* Parser::filter(Expression* node, bool inline_start) {
    while (inline_start || current().is_op("|")) {
        if (!inline_start) next();
        inline_start = false;
        const int line = current().line;
        const std::string name = dotted_name();
        node = make(ExpressionKind::filter, line, node);
        node->name = name;
        node->filter = find_filter(name);
        if (current().is_op("(")) node->arguments = call_arguments();
    }
    return node;
}

Expression* Parser::test(Expression* subject) {
    const int line = next().line;
    const bool negated = skip_name("not");
    Expression* node = make(ExpressionKind::test, line, subject);
    node->name = dotted_name();
    node->test = find_test(node->name);
    const Token& token = current();
    const bool starts_operand =
        token.kind == TokenKind::string || token.kind == TokenKind::integer ||
        token.kind == TokenKind::real || token.is_op("[") || token.is_op("{") ||
        (token.kind == TokenKind::name && token.text != "else" && token.text != "or" && token.text != "and");
    if (token.is_op("(")) {
        node->arguments = call_arguments();
    } else if (starts_operand) {
        if (token.is_name("is")) fail_at(token.line, "tests cannot be chained with is");
        node->arguments = std::make_unique<CallArguments>();
        node->arguments->positional.push_back(postfix(primary()));
    }
    return negated ? make(ExpressionKind::logical_not, line, node) : node;
}

/// The left side of an assignment: names, attributes of namespaces, tuples of them.
Expression* Parser::target(bool with_namespace) {
    const int line = current().line;
    std::vector<Expression*> items;
    bool is_tuple = false;
    for (;;) {
        if (!items.empty()) expect_op(",");
        if (at_tuple_end()) break;
        items.push_back(target_item(with_namespace));
        if (!current().is_op(",")) break;
        is_tuple = true;
    }
    if (items.empty()) fail_at(line, fmt::format("expected an expression, got '{}'", describe(current())));
    Expression* node = items.front();
    if (is_tuple) {
        node = make(ExpressionKind::tuple, line);
        node->operands = std::move(items);
    }
    check_assignable(*node);
    return node;
}

Expression* Parser::target_item(bool with_namespace) {
    Expression* node = primary();
    if (with_namespace && node->kind == ExpressionKind::name && skip_op(".")) {
        node->kind = ExpressionKind::namespace_ref;
        node->attribute = expect_identifier();
    }
    return node;
}

Expression* Parser::target_name() {
    const Token& token = current();
    const std::string name = expect_identifier();
    if (name == "true" || name == "false" || name == "none" || name == "True" || name == "False" ||
        name == "None")
        fail_at(token.line, fmt::format("can't assign to '{}'", name));
    Expression* node = make(ExpressionKind::name, token.line);
    node->name = name;
    return node;
}

void Parser::check_assignable(const Expression& node) const {
    if (node.kind == ExpressionKind::name || node.kind == ExpressionKind::namespace_ref) return;
    if (node.kind != ExpressionKind::tuple) fail_at(node.line, "can't assign to an expression");
    for (const Expression* item : node.operands) check_assignable(*item);
}

}  // namespace sheaf::jinja
