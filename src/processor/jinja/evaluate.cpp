// Expressions of the interpreter.
#include "processor/jinja/interpreter.h"
#include "processor/jinja/lexer.h"
#include "processor/jinja/print.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

std::string undefined_name(std::string_view name) {
    return fmt::format("'{}' is undefined", unicode::cut(name, Limits::quoted_bytes));
}

}  // namespace

/// Subjects stand to the left of what is done with them, often many in a row: they are walked, not recursed
/// into.
Value Interpreter::evaluate(const Expression& root) {
    const Level level(budget_);
    const std::size_t base = chain_.size();
    const Expression* node = &root;
    Value value;
    for (;;) {
        if (node->kind == ExpressionKind::condition) {
            const Expression* chosen =
                truthy(evaluate(*node->operands[0])) ? node->operands[1] : node->operands[2];
            if (chosen == nullptr) {
                value = Value::undefined(
                    "the inline if-expression evaluated to false and no else section was defined.");
                break;
            }
            node = chosen;
        } else if (node->subject != nullptr) {
            chain_.push_back(node);
            node = node->subject;
        } else {
            value = evaluate_leaf(*node);
            break;
        }
    }
    while (chain_.size() > base) {
        const Expression* up = chain_.back();
        chain_.pop_back();
        value = apply(*up, std::move(value));
    }
    return value;
}

Value Interpreter::evaluate_or_none(const Expression* expression) {
    return expression == nullptr ? Value::none() : evaluate(*expression);
}

Values Interpreter::evaluate_all(const std::vector<Expression*>& expressions) {
    Values out;
    out.reserve(expressions.size());
    for (const Expression* expression : expressions) out.push_back(evaluate(*expression));
    return out;
}

Value Interpreter::evaluate_leaf(const Expression& expression) {
    budget_.step();
    switch (expression.kind) {
        case ExpressionKind::constant:
            return expression.constant;
        case ExpressionKind::name: {
            const Value& value = slot(expression.place);
            return value.is_missing() ? Value::undefined(undefined_name(expression.name)) : value;
        }
        case ExpressionKind::tuple:
            return Value::tuple(evaluate_all(expression.operands));
        case ExpressionKind::list:
            return Value::list(evaluate_all(expression.operands));
        case ExpressionKind::dict:
            return evaluate_dict(expression);
        case ExpressionKind::filter: {
            const Value text = captured_;
            return evaluate_filter(expression, text);
        }
        default:
            return {};
    }
}

Value Interpreter::evaluate_dict(const Expression& expression) {
    Dict dict;
    for (std::size_t i = 0; i + 1 < expression.operands.size(); i += 2) {
        Value key = evaluate(*expression.operands[i]);
        Value value = evaluate(*expression.operands[i + 1]);
        dict.set(budget_, std::move(key), std::move(value));
    }
    return Value::dict(std::move(dict));
}

Value Interpreter::apply(const Expression& e, Value subject) {
    budget_.step();
    line_ = e.line;
    switch (e.kind) {
        case ExpressionKind::negate:
            return negate(subject);
        case ExpressionKind::posit:
            return posit(subject);
        case ExpressionKind::logical_not:
            return Value::boolean(!truthy(subject));
        case ExpressionKind::binary: {
            const Value right = evaluate(*e.operands[0]);
            line_ = e.line;
            return arithmetic(*this, e.op, subject, right);
        }
        case ExpressionKind::logical_and:
            return truthy(subject) ? evaluate(*e.operands[0]) : subject;
        case ExpressionKind::logical_or:
            return truthy(subject) ? subject : evaluate(*e.operands[0]);
        case ExpressionKind::concat:
            return apply_concat(e, subject);
        case ExpressionKind::compare:
            return apply_compare(e, subject);
        case ExpressionKind::attribute:
            return attribute(subject, e.name);
        case ExpressionKind::item: {
            const Value key = evaluate(*e.operands[0]);
            line_ = e.line;
            return subscript(subject, key);
        }
        case ExpressionKind::slice: {
            const Value start = evaluate_or_none(e.operands[0]);
            const Value stop = evaluate_or_none(e.operands[1]);
            const Value step = evaluate_or_none(e.operands[2]);
            line_ = e.line;
            return slice(budget_, subject, start, stop, step);
        }
        case ExpressionKind::call: {
            const Arguments arguments = evaluate_arguments(e.arguments.get());
            line_ = e.line;
            return call(subject, arguments);
        }
        case ExpressionKind::filter:
            return evaluate_filter(e, subject);
        case ExpressionKind::test:
            return Value::boolean(evaluate_test(e, subject));
        default:
            return subject;
    }
}

Value Interpreter::apply_concat(const Expression& e, const Value& subject) {
    Values parts = {subject};
    for (const Expression* operand : e.operands) parts.push_back(evaluate(*operand));
    line_ = e.line;
    std::string text;
    for (const Value& part : parts) append_text(budget_, text, part);
    return Value::text(std::move(text));
}

Value Interpreter::apply_compare(const Expression& e, const Value& subject) {
    Value left = subject;
    for (std::size_t i = 0; i < e.operands.size(); ++i) {
        Value right = evaluate(*e.operands[i]);
        line_ = e.line;
        const Comparison op = e.comparisons[i];
        const bool holds = op == Comparison::in || op == Comparison::not_in
                               ? contains(*this, right, left) == (op == Comparison::in)
                               : compare(budget_, op, left, right);
        if (!holds) return Value::boolean(false);
        left = std::move(right);
    }
    return Value::boolean(true);
}

Arguments Interpreter::evaluate_arguments(const CallArguments* given) {
    Arguments out;
    if (given == nullptr) return out;
    out.positional = evaluate_all(given->positional);
    for (const auto& [name, value] : given->named) out.named.emplace_back(name, evaluate(*value));
    if (given->star != nullptr)
        for (Value& value : to_values(*this, evaluate(*given->star)))
            out.positional.push_back(std::move(value));
    if (given->double_star == nullptr) return out;
    const Value mapping = evaluate(*given->double_star);
    if (!mapping.is(Kind::dict)) fail(ErrorKind::invalid_input, "argument after ** must be a mapping");
    for (const Dict::Entry& entry : mapping.as_dict().entries()) {
        budget_.step();
        if (!entry.key.is_text()) fail(ErrorKind::invalid_input, "keywords must be strings");
        for (const auto& [name, value] : given->named)
            if (name == entry.key.as_text())
                fail(ErrorKind::invalid_input, "several values for one keyword argument");
        out.named.emplace_back(entry.key.as_text(), entry.value);
    }
    return out;
}

Value Interpreter::evaluate_filter(const Expression& e, const Value& subject) {
    if (e.filter == nullptr)
        fail(ErrorKind::invalid_input, "no filter named '{}'", unicode::cut(e.name, Limits::quoted_bytes));
    const Arguments arguments = evaluate_arguments(e.arguments.get());
    line_ = e.line;
    return e.filter(*this, subject, arguments);
}

bool Interpreter::evaluate_test(const Expression& e, const Value& subject) {
    if (e.test == nullptr)
        fail(ErrorKind::invalid_input, "no test named '{}'", unicode::cut(e.name, Limits::quoted_bytes));
    const Arguments arguments = evaluate_arguments(e.arguments.get());
    line_ = e.line;
    return e.test(*this, subject, arguments);
}

Value Interpreter::apply_filter(const std::string& name, const Value& value, const Arguments& arguments) {
    budget_.step();
    const Filter filter = find_filter(name);
    if (filter == nullptr)
        fail(ErrorKind::invalid_input, "no filter named '{}'", unicode::cut(name, Limits::quoted_bytes));
    return filter(*this, value, arguments);
}

bool Interpreter::apply_test(const std::string& name, const Value& value, const Arguments& arguments) {
    budget_.step();
    const Predicate test = find_test(name);
    if (test == nullptr)
        fail(ErrorKind::invalid_input, "no test named '{}'", unicode::cut(name, Limits::quoted_bytes));
    return test(*this, value, arguments);
}

Value Interpreter::call(const Value& callable, const Arguments& arguments) {
    if (callable.is_undefined()) fail_undefined(callable);
    if (!callable.is(Kind::object))
        fail(ErrorKind::invalid_input, "'{}' object is not callable", callable.type_name());
    const Level level(budget_);
    // The value may be reassigned while it runs.
    const std::shared_ptr<Cell> keep = callable.cell();
    return callable.as_object().call(*this, arguments);
}

}  // namespace sheaf::jinja
