#include "processor/jinja/interpreter.h"

#include "processor/jinja/print.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

/// Empties a loop object however its loop ends.
class LoopGuard {
  public:
    explicit LoopGuard(LoopObject& loop) : loop_(loop) {}
    ~LoopGuard() { loop_.finish(); }
    LoopGuard(const LoopGuard&) = delete;
    LoopGuard& operator=(const LoopGuard&) = delete;

  private:
    LoopObject& loop_;
};

}  // namespace

Interpreter::Interpreter(const Program& program, const Variables& variables, std::size_t input_bytes)
    : program_(program), variables_(variables), budget_(input_bytes) {}

Interpreter::~Interpreter() {
    // Namespaces and the variables of functions may form cycles and long chains; emptied one by one they do
    // neither.
    for (const auto& space : namespaces_) space->clear();
    for (const auto& activation : activations_) activation->slots.clear();
    while (!activations_.empty()) activations_.pop_back();
}

std::shared_ptr<Namespace> Interpreter::make_namespace() {
    budget_.work(sizeof(Namespace));
    namespaces_.push_back(std::make_shared<Namespace>());
    return namespaces_.back();
}

std::shared_ptr<Activation> Interpreter::make_activation(const FunctionLayout& layout,
                                                         std::shared_ptr<Activation> parent) {
    auto activation = std::make_shared<Activation>();
    activation->slots.resize(static_cast<std::size_t>(layout.slots));
    activation->parent = std::move(parent);
    if (layout.holds_macros) {
        budget_.work(sizeof(Activation) + activation->slots.size() * sizeof(Value));
        activations_.push_back(activation);
    }
    return activation;
}

template <class Body>
std::string Interpreter::capture(Body body) {
    std::string text;
    std::string* const outer = std::exchange(out_, &text);
    body();
    out_ = outer;
    return text;
}

template <class Body>
auto Interpreter::within(const std::shared_ptr<Activation>& activation, Body body) {
    const std::shared_ptr<Activation> outer = std::exchange(current_, activation);
    auto result = body();
    current_ = outer;
    return result;
}

std::string Interpreter::run() {
    std::string text;
    out_ = &text;
    current_ = make_activation(program_.layout, nullptr);
    enter(program_.scope);
    execute(program_.body);
    return text;
}

Value& Interpreter::slot(const Place& place) {
    Activation* activation = current_.get();
    for (int hops = place.hops; hops > 0; --hops) activation = activation->parent.get();
    return activation->slots[static_cast<std::size_t>(place.slot)];
}

void Interpreter::enter(const Scope& scope) {
    budget_.step(static_cast<std::int64_t>(scope.entries.size()));
    for (const Entry& entry : scope.entries) {
        Value& variable = current_->slots[static_cast<std::size_t>(entry.slot)];
        switch (entry.kind) {
            case Entry::Kind::nothing:
                variable = Value();
                break;
            case Entry::Kind::outer:
                variable = slot(entry.source);
                break;
            case Entry::Kind::lookup: {
                const auto found = variables_.find(entry.name);
                variable = found != variables_.end() ? found->second : find_global(entry.name);
                break;
            }
        }
    }
}

Interpreter::Flow Interpreter::execute(const Block& block) {
    for (const Statement* statement : block)
        if (const Flow flow = execute(*statement); flow != Flow::normal) return flow;
    return Flow::normal;
}

Interpreter::Flow Interpreter::execute(const Statement& s) {
    budget_.step();
    line_ = s.line;
    switch (s.kind) {
        case StatementKind::text:
            budget_.text(out_->size() + s.text.size() > budget_.text_limit() ? out_->size() + s.text.size()
                                                                             : s.text.size());
            *out_ += s.text;
            break;
        case StatementKind::output:
            for (const Expression* value : s.values) append_text(budget_, *out_, evaluate(*value));
            break;
        case StatementKind::assign:
            check_namespaces(*s.target);
            assign(*s.target, evaluate(*s.value));
            break;
        case StatementKind::conditional:
            return execute_conditional(s);
        case StatementKind::loop:
            return execute_loop(s);
        case StatementKind::macro:
            slot(s.macro->place) = Value::object(std::make_shared<Macro>(s, current_));
            break;
        case StatementKind::assign_block:
        case StatementKind::filter_block:
            return execute_captured(s);
        case StatementKind::with:
            return execute_with(s);
        case StatementKind::call_block:
            execute_call_block(s);
            break;
        case StatementKind::generation:
            append_text(budget_, *out_, Value::text(call_macro(s, current_, {})));
            break;
        case StatementKind::loop_break:
            return Flow::broken;
        case StatementKind::loop_continue:
            return Flow::continued;
    }
    return Flow::normal;
}

Interpreter::Flow Interpreter::execute_conditional(const Statement& s) {
    for (const Branch& branch : s.branches) {
        if (branch.test != nullptr && !truthy(evaluate(*branch.test))) continue;
        const Level level(budget_);
        return execute(branch.body);
    }
    return Flow::normal;
}

/// {% set x %}...{% endset %} and {% filter f %}...{% endfilter %}.
Interpreter::Flow Interpreter::execute_captured(const Statement& s) {
    const Level level(budget_);
    enter(s.scope);
    Flow flow = Flow::normal;
    Value text = Value::text(capture([&] { flow = execute(s.body); }));
    if (flow != Flow::normal) return flow;  // a break or continue leaves without the text
    line_ = s.line;
    if (s.value != nullptr) {
        captured_ = std::move(text);
        text = evaluate(*s.value);
    }
    if (s.kind == StatementKind::assign_block) {
        check_namespaces(*s.target);
        assign(*s.target, text);
    } else {
        output_text(text);
    }
    return Flow::normal;
}

/// What a filter or call block gives must be text already.
void Interpreter::output_text(const Value& value) {
    if (!value.is_text())
        fail(ErrorKind::invalid_input, "expected str instance, {} found", value.type_name());
    append_text(budget_, *out_, value);
}

Interpreter::Flow Interpreter::execute_with(const Statement& s) {
    const Level level(budget_);
    enter(s.scope);
    for (const auto& [target, value] : s.bindings) assign(*target, evaluate(*value));
    return execute(s.body);
}

Interpreter::Flow Interpreter::execute_loop(const Statement& s) {
    const Value iterable = evaluate(*s.loop->iterable);
    if (!s.loop->recursive) return run_loop(s, iterable, nullptr, 0);
    append_text(budget_, *out_, Value::text(call_loop(s, current_, iterable, 0)));
    return Flow::normal;
}

std::string Interpreter::call_loop(const Statement& s, const std::shared_ptr<Activation>& closure,
                                   const Value& iterable, int depth) {
    const Level level(budget_);
    const auto activation = make_activation(s.loop->layout, closure);
    return within(activation, [&] { return capture([&] { run_loop(s, iterable, closure, depth); }); });
}

Interpreter::Flow Interpreter::run_loop(const Statement& s, const Value& iterable,
                                        const std::shared_ptr<Activation>& closure, int depth) {
    const Level level(budget_);
    const LoopParts& parts = *s.loop;
    std::shared_ptr<Iterator> items = iterate(*this, iterable);
    std::optional<std::int64_t> count = length(iterable);
    if (parts.condition != nullptr) {
        count.reset();
        const auto activation = make_activation(parts.condition_layout, current_);
        within(activation, [&] {
            enter(parts.condition_scope);
            return 0;
        });
        items = std::make_shared<FunctionIterator>(
            iterable.depth() + 1, [&s, activation, source = items](Interpreter& interpreter, Value& out) {
                while (source->next(interpreter, out))
                    if (interpreter.loop_condition(s, activation, out)) return true;
                return false;
            });
    }
    const auto loop = std::make_shared<LoopObject>(*this, s, closure, items, count, depth);
    const LoopGuard guard(*loop);
    const Value loop_value = Value::object(loop);
    bool completed = false;
    for (Value item; loop->advance(item);) {
        current_->slots[static_cast<std::size_t>(parts.loop_slot)] = loop_value;
        assign(*s.target, item);
        enter(parts.body_scope);
        const Flow flow = execute(s.body);
        if (flow == Flow::broken) break;
        if (flow == Flow::normal) completed = true;
    }
    // As in Jinja, `else` asks whether any pass went through to its end.
    if (completed || parts.otherwise.empty()) return Flow::normal;
    enter(parts.otherwise_scope);
    return execute(parts.otherwise);
}

bool Interpreter::loop_condition(const Statement& s, const std::shared_ptr<Activation>& activation,
                                 Value& item) {
    return within(activation, [&] {
        const Expression& target = *s.loop->condition_target;
        assign(target, item);
        if (!truthy(evaluate(*s.loop->condition))) return false;
        // As in Jinja, a condition hands on a tuple of its targets, whatever the item was.
        item = target_value(target);
        return true;
    });
}

/// The variables of a target, as the value that would assign them.
Value Interpreter::target_value(const Expression& target) {
    if (target.kind == ExpressionKind::name) return slot(target.place);
    Values items;
    for (const Expression* part : target.operands) items.push_back(target_value(*part));
    return Value::tuple(std::move(items));
}

void Interpreter::execute_call_block(const Statement& s) {
    const Expression& called = *s.macro->call;
    const Value function = evaluate(*called.subject);
    Arguments arguments = evaluate_arguments(called.arguments.get());
    arguments.named.emplace_back("caller", Value::object(std::make_shared<Macro>(s, current_)));
    line_ = s.line;
    output_text(call(function, arguments));
}

void Interpreter::check_namespaces(const Expression& target) {
    if (target.kind == ExpressionKind::namespace_ref && slot(target.place).object_as<Namespace>() == nullptr)
        fail(ErrorKind::invalid_input, "cannot assign attribute on non-namespace object");
    if (target.kind == ExpressionKind::tuple)
        for (const Expression* item : target.operands) check_namespaces(*item);
}

void Interpreter::assign(const Expression& target, const Value& value) {
    switch (target.kind) {
        case ExpressionKind::name:
            slot(target.place) = value;
            break;
        case ExpressionKind::namespace_ref:
            if (auto* space = slot(target.place).object_as<Namespace>()) space->set(target.attribute, value);
            break;
        default:
            unpack(target, value);
    }
}

void Interpreter::unpack(const Expression& target, const Value& value) {
    if (value.is_undefined()) fail_undefined(value);
    const Values items = to_values(*this, value);
    if (items.size() != target.operands.size())
        fail(ErrorKind::invalid_input, "{} values to unpack (expected {}, got {})",
             items.size() < target.operands.size() ? "not enough" : "too many", target.operands.size(),
             items.size());
    for (std::size_t i = 0; i < items.size(); ++i) assign(*target.operands[i], items[i]);
}

}  // namespace sheaf::jinja
