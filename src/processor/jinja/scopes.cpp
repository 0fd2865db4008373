// Jinja's scoping, which is decided before anything runs: every scope (the template, a loop's body, a macro,
// ...) has the names that are assigned or first read in it; on entry such a name takes the outer variable's
// value, is looked up in the render's variables, or is nothing. A name assigned only later in an outer scope
// hides the render's variable already before that: this is the reason to do it in two passes, as Jinja does.
#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "processor/jinja/lexer.h"
#include "processor/jinja/syntax.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

/// One function of the template at run time: an array of slots.
struct Function {
    FunctionLayout* layout = nullptr;
    int depth = 0;
};

struct Variable {
    int slot = -1;
    Entry::Kind on_entry = Entry::Kind::nothing;
    bool is_parameter = false;
};

struct Frame {
    const Frame* parent = nullptr;
    Function function;
    bool in_loop = false;
    std::unordered_map<std::string, Variable> variables;
    std::unordered_set<std::string> stored;
};

/// Calls visit(node, soft) for every node of an expression. `soft`: its filters and tests may be unknown.
template <class Visit>
void walk(Expression* root, bool soft, Visit visit) {
    std::vector<std::pair<Expression*, bool>> stack = {{root, soft}};
    const auto push = [&](Expression* node, bool is_soft) {
        if (node != nullptr) stack.emplace_back(node, is_soft);
    };
    while (!stack.empty()) {
        const auto [node, is_soft] = stack.back();
        stack.pop_back();
        if (node == nullptr) continue;
        visit(*node, is_soft);
        const bool inner = is_soft || node->kind == ExpressionKind::condition;
        push(node->subject, inner);
        for (Expression* operand : node->operands) push(operand, inner);
        if (!node->arguments) continue;
        for (Expression* argument : node->arguments->positional) push(argument, inner);
        for (const auto& [name, argument] : node->arguments->named) push(argument, inner);
        push(node->arguments->star, inner);
        push(node->arguments->double_star, inner);
    }
}

/// Which of caller, kwargs and varargs a macro's body reads before anything in it assigns them.
class SpecialNames {
  public:
    explicit SpecialNames(const Block& body) { block(body); }
    bool reads(const std::string& name) const { return read_.count(name) != 0; }

  private:
    void assigned(const std::string& name) { waiting_.erase(name); }

    void expression(Expression* root) {
        walk(root, false, [&](const Expression& node, bool) {
            if (node.kind == ExpressionKind::name && waiting_.count(node.name) != 0) read_.insert(node.name);
        });
    }

    void target(const Expression* root) {
        if (root->kind == ExpressionKind::name) assigned(root->name);
        if (root->kind == ExpressionKind::tuple)
            for (const Expression* item : root->operands) target(item);
    }

    void macro(const MacroParts& parts) {
        expression(parts.call);
        for (const Parameter& parameter : parts.parameters) assigned(parameter.name);
        for (const Parameter& parameter : parts.parameters) expression(parameter.otherwise);
    }

    void block(const Block& statements) {
        for (const Statement* statement : statements) this->statement(*statement);
    }

    void statement(const Statement& s) {
        if (s.target != nullptr) target(s.target);
        if (s.loop) {
            expression(s.loop->iterable);
            block(s.body);
            block(s.loop->otherwise);
            expression(s.loop->condition);
            return;
        }
        if (s.macro) macro(*s.macro);
        for (const auto& [to, value] : s.bindings) target(to);
        for (const auto& [to, value] : s.bindings) expression(value);
        for (Expression* value : s.values) expression(value);
        if (s.kind != StatementKind::filter_block) expression(s.value);
        for (const Branch& branch : s.branches) {
            expression(branch.test);
            block(branch.body);
        }
        block(s.body);
        if (s.kind == StatementKind::filter_block) expression(s.value);
    }

    std::unordered_set<std::string> waiting_ = {"caller", "kwargs", "varargs"};
    std::unordered_set<std::string> read_;
};

class Resolver {
  public:
    explicit Resolver(Program& program) : program_(program) {}

    void run() {
        Frame root;
        root.function = {&program_.layout, 0};
        collect(root, program_.body, false);
        resolve(root, program_.body, false);
        finish(root, program_.scope);
    }

  private:
    // First pass over a scope: which variables it has.
    const Variable* find(const Frame* frame, const std::string& name) const {
        for (; frame != nullptr; frame = frame->parent)
            if (const auto it = frame->variables.find(name); it != frame->variables.end()) return &it->second;
        return nullptr;
    }

    Variable& define(Frame& frame, const std::string& name, Entry::Kind on_entry) {
        Variable& variable = frame.variables[name];
        if (variable.slot < 0) variable.slot = frame.function.layout->slots++;
        variable.on_entry = on_entry;
        return variable;
    }

    void load(Frame& frame, const std::string& name) {
        if (find(&frame, name) == nullptr) define(frame, name, Entry::Kind::lookup);
    }

    void store(Frame& frame, const std::string& name, bool in_branch, int line) {
        if (name == "loop" && frame.in_loop)
            fail_at(line, "can't assign to the special variable 'loop' inside a loop");
        const bool is_outer = find(frame.parent, name) != nullptr;
        if (!in_branch) {
            // The first thing that happens to the name: it starts as the outer one, or as nothing.
            if (frame.variables.count(name) == 0)
                define(frame, name, is_outer ? Entry::Kind::outer : Entry::Kind::nothing);
        } else if (frame.stored.count(name) == 0) {
            // Perhaps assigned: where it is not, the outer one or the render's variable shows.
            define(frame, name, is_outer ? Entry::Kind::outer : Entry::Kind::lookup);
        }
        frame.stored.insert(name);
    }

    int parameter(Frame& frame, const std::string& name) {
        Variable& variable = define(frame, name, Entry::Kind::nothing);
        variable.is_parameter = true;
        frame.stored.insert(name);
        return variable.slot;
    }

    void loads(Frame& frame, Expression* root) {
        walk(root, false, [&](const Expression& node, bool) {
            if (node.kind == ExpressionKind::name) load(frame, node.name);
        });
    }

    void stores(Frame& frame, const Expression* target, bool in_branch) {
        if (target->kind == ExpressionKind::name) store(frame, target->name, in_branch, target->line);
        if (target->kind == ExpressionKind::namespace_ref) load(frame, target->name);
        if (target->kind == ExpressionKind::tuple)
            for (const Expression* item : target->operands) stores(frame, item, in_branch);
    }

    void parameters(Frame& frame, const Expression* target) {
        if (target->kind == ExpressionKind::name) parameter(frame, target->name);
        if (target->kind == ExpressionKind::tuple)
            for (const Expression* item : target->operands) parameters(frame, item);
    }

    void collect(Frame& frame, const Block& block, bool in_branch) {
        for (const Statement* statement : block) collect(frame, *statement, in_branch);
    }

    void collect(Frame& frame, const Statement& s, bool in_branch) {
        switch (s.kind) {
            case StatementKind::output:
                for (Expression* value : s.values) loads(frame, value);
                break;
            case StatementKind::assign:
                loads(frame, s.value);
                stores(frame, s.target, in_branch);
                break;
            case StatementKind::assign_block:
                stores(frame, s.target, in_branch);
                break;
            case StatementKind::conditional:
                for (const Branch& branch : s.branches) {
                    loads(frame, branch.test);
                    collect(frame, branch.body, true);
                }
                break;
            case StatementKind::loop:
                loads(frame, s.loop->iterable);
                break;
            case StatementKind::macro:
                store(frame, s.macro->name, in_branch, s.line);
                break;
            case StatementKind::call_block:
                loads(frame, s.macro->call);
                break;
            case StatementKind::filter_block:
                loads(frame, s.value);
                break;
            case StatementKind::with:
                for (const auto& [target, value] : s.bindings) loads(frame, value);
                break;
            default:
                break;
        }
    }

    // Second pass: where each name of the scope is, and the scopes inside.
    Place place(const Frame& frame, const std::string& name) const {
        for (const Frame* at = &frame; at != nullptr; at = at->parent)
            if (const auto it = at->variables.find(name); it != at->variables.end())
                return {frame.function.depth - at->function.depth, it->second.slot};
        return {};
    }

    void places(const Frame& frame, Expression* root, bool soft) const {
        walk(root, soft, [&](Expression& node, bool is_soft) {
            if (node.kind == ExpressionKind::name || node.kind == ExpressionKind::namespace_ref)
                node.place = place(frame, node.name);
            const bool unknown = (node.kind == ExpressionKind::filter && node.filter == nullptr) ||
                                 (node.kind == ExpressionKind::test && node.test == nullptr);
            // Inside an `if` an unknown filter fails only when it is used, as in Jinja.
            if (unknown && !is_soft)
                fail_at(node.line, fmt::format("no {} named '{}'",
                                               node.kind == ExpressionKind::filter ? "filter" : "test",
                                               unicode::cut(node.name, Limits::quoted_bytes)));
        });
    }

    void finish(const Frame& frame, Scope& scope) const {
        for (const auto& [name, variable] : frame.variables) {
            if (variable.is_parameter) continue;
            Entry entry;
            entry.kind = variable.on_entry;
            entry.slot = variable.slot;
            if (entry.kind == Entry::Kind::lookup) entry.name = name;
            if (entry.kind == Entry::Kind::outer) {
                entry.source = place(*frame.parent, name);
                entry.source.hops += frame.function.depth - frame.parent->function.depth;
            }
            scope.entries.push_back(std::move(entry));
        }
    }

    Frame inner(const Frame& frame) const { return {&frame, frame.function, frame.in_loop, {}, {}}; }

    Frame inner_function(const Frame& frame, FunctionLayout& layout) const {
        frame.function.layout->holds_macros = true;
        return {&frame, {&layout, frame.function.depth + 1}, frame.in_loop, {}, {}};
    }

    void resolve(const Frame& frame, const Block& block, bool soft) {
        for (Statement* statement : block) resolve(frame, *statement, soft);
    }

    void resolve(const Frame& frame, Statement& s, bool soft) {
        switch (s.kind) {
            case StatementKind::output:
                for (Expression* value : s.values) places(frame, value, soft);
                break;
            case StatementKind::assign:
                places(frame, s.value, soft);
                places(frame, s.target, soft);
                break;
            case StatementKind::assign_block:
                places(frame, s.target, soft);
                captured(frame, s);
                break;
            case StatementKind::filter_block:
                captured(frame, s);
                break;
            case StatementKind::conditional:
                for (const Branch& branch : s.branches) {
                    places(frame, branch.test, true);
                    resolve(frame, branch.body, true);
                }
                break;
            case StatementKind::loop:
                loop(frame, s, soft);
                break;
            case StatementKind::macro:
                s.macro->place = place(frame, s.macro->name);
                macro(frame, s);
                break;
            case StatementKind::call_block:
                places(frame, s.macro->call, soft);
                macro(frame, s);
                break;
            case StatementKind::generation:
                macro(frame, s);
                break;
            case StatementKind::with:
                with(frame, s, soft);
                break;
            default:
                break;
        }
    }

    /// The body of a set or filter block, and the filter that takes its text.
    void captured(const Frame& frame, Statement& s) {
        Frame body = inner(frame);
        collect(body, s.body, false);
        loads(body, s.value);
        resolve(body, s.body, false);
        places(body, s.value, false);
        finish(body, s.scope);
    }

    void with(const Frame& frame, Statement& s, bool soft) {
        Frame body = inner(frame);
        for (const auto& [target, value] : s.bindings) parameters(body, target);
        collect(body, s.body, false);
        for (const auto& [target, value] : s.bindings) {
            places(body, target, false);
            places(frame, value, soft);
        }
        resolve(body, s.body, false);
        finish(body, s.scope);
    }

    Expression* copy_target(const Expression& target) {
        Expression& copy = program_.expressions.emplace_back();
        copy.kind = target.kind;
        copy.line = target.line;
        copy.name = target.name;
        for (const Expression* item : target.operands) copy.operands.push_back(copy_target(*item));
        return &copy;
    }

    void check_loop_name(const Expression& target) const {
        if (target.kind == ExpressionKind::name && target.name == "loop")
            fail_at(target.line, "can't assign to the special variable 'loop' inside a loop");
        for (const Expression* item : target.operands) check_loop_name(*item);
    }

    void loop(const Frame& frame, Statement& s, bool soft) {
        LoopParts& parts = *s.loop;
        check_loop_name(*s.target);
        places(frame, parts.iterable, soft);

        // A recursive loop is a function around its body, its else branch and its condition.
        Frame base = inner(frame);
        if (parts.recursive) {
            base = inner_function(frame, parts.layout);
            parts.layout.holds_macros = true;
        }
        Frame body{&frame, base.function, true, {}, {}};
        parts.loop_slot = parameter(body, "loop");
        parameters(body, s.target);
        collect(body, s.body, false);

        Frame otherwise{&frame, base.function, frame.in_loop, {}, {}};
        collect(otherwise, parts.otherwise, false);

        if (parts.condition != nullptr) {
            parts.condition_target = copy_target(*s.target);
            Frame condition{
                &frame, {&parts.condition_layout, base.function.depth + 1}, frame.in_loop, {}, {}};
            base.function.layout->holds_macros = true;
            parameters(condition, parts.condition_target);
            loads(condition, parts.condition);
            places(condition, parts.condition_target, false);
            places(condition, parts.condition, false);
            finish(condition, parts.condition_scope);
        }
        places(body, s.target, false);
        resolve(body, s.body, false);
        finish(body, parts.body_scope);
        resolve(otherwise, parts.otherwise, false);
        finish(otherwise, parts.otherwise_scope);
    }

    void macro(const Frame& frame, Statement& s) {
        MacroParts& parts = *s.macro;
        Frame body = inner_function(frame, parts.layout);
        const SpecialNames special(s.body);
        for (Parameter& parameter : parts.parameters) {
            parameter.place = {0, this->parameter(body, parameter.name)};
            if (parameter.name == "caller") parts.explicit_caller = true;
        }
        const auto declared = [&](const char* name) { return body.variables.count(name) != 0; };
        if (special.reads("caller")) {
            if (parts.explicit_caller) {
                for (const Parameter& parameter : parts.parameters)
                    if (parameter.name == "caller" && parameter.otherwise == nullptr)
                        fail_at(s.line,
                                "the special \"caller\" argument must be omitted or be given a default");
            } else {
                parts.caller = parameter(body, "caller");
            }
        }
        if (special.reads("kwargs") && !declared("kwargs")) parts.kwargs = parameter(body, "kwargs");
        if (special.reads("varargs") && !declared("varargs")) parts.varargs = parameter(body, "varargs");
        for (const Parameter& parameter : parts.parameters)
            if (parameter.otherwise != nullptr) loads(body, parameter.otherwise);
        collect(body, s.body, false);
        for (const Parameter& parameter : parts.parameters)
            if (parameter.otherwise != nullptr) places(body, parameter.otherwise, false);
        resolve(body, s.body, false);
        finish(body, parts.scope);
    }

    Program& program_;
};

}  // namespace

void resolve_names(Program& program) {
    Resolver(program).run();
}

}  // namespace sheaf::jinja
