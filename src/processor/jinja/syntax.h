// A parsed template. Nodes live in the Program's pools and point at each other, so that a tree of any shape
// is built and freed without recursion. Made by the parser, completed by resolve_names(), run by the
// interpreter. Immutable after that, and shared by threads.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "processor/jinja/operators.h"
#include "processor/jinja/registry.h"

namespace sheaf::jinja {

struct Expression;

struct CallArguments {
    std::vector<Expression*> positional;
    std::vector<std::pair<std::string, Expression*>> named;
    Expression* star = nullptr;
    Expression* double_star = nullptr;
};

/// Where a variable lives: `hops` functions outwards, at `slot`.
struct Place {
    int hops = 0;
    int slot = -1;
};

enum class ExpressionKind : std::uint8_t {
    constant,
    name,
    tuple,          // operands
    list,           // operands
    dict,           // operands: key, value, key, value ...
    condition,      // operands: test, then, else (may be null)
    namespace_ref,  // only as a target: name.attribute; `name` and `attribute`
    // With a subject, which is evaluated first:
    negate,
    posit,
    logical_not,
    binary,       // subject op operands[0]
    logical_and,  // operands[0]
    logical_or,   // operands[0]
    concat,       // subject and operands
    compare,      // subject and operands with comparisons
    attribute,    // .name
    item,         // [operands[0]]
    slice,        // [operands[0]:operands[1]:operands[2]], each may be null
    call,         // (arguments)
    filter,       // | name(arguments); no subject: the text of a filter block
    test,         // is name(arguments)
};

struct Expression {
    ExpressionKind kind = ExpressionKind::constant;
    Arithmetic op = Arithmetic::add;
    int line = 0;
    Place place;
    Expression* subject = nullptr;
    std::vector<Expression*> operands;
    std::vector<Comparison> comparisons;
    std::unique_ptr<CallArguments> arguments;
    std::string name;
    std::string attribute;
    Value constant;
    Filter filter = nullptr;
    Predicate test = nullptr;
};

enum class StatementKind : std::uint8_t {
    text,          // text
    output,        // values
    assign,        // target = value
    assign_block,  // target = body [| filter]
    conditional,   // branches
    loop,
    macro,
    call_block,
    filter_block,
    with,
    generation,
    loop_break,
    loop_continue,
};

using Block = std::vector<struct Statement*>;

/// What a variable is when its scope is entered.
struct Entry {
    enum class Kind : std::uint8_t { nothing, outer, lookup };
    Kind kind = Kind::nothing;
    int slot = -1;
    Place source;      // outer
    std::string name;  // lookup
};

/// A scope: the variables that start anew whenever it is entered.
struct Scope {
    std::vector<Entry> entries;
};

/// What becomes a function: the template, a macro, the body of a call, a recursive loop, the condition of a
/// loop.
struct FunctionLayout {
    int slots = 0;
    bool holds_macros = false;  // macros made in it outlive it
};

struct Branch {
    Expression* test = nullptr;  // null: else
    Block body;
};

struct Parameter {
    std::string name;
    Expression* otherwise = nullptr;
    Place place;
};

struct MacroParts {
    std::string name;
    std::vector<Parameter> parameters;
    Expression* call = nullptr;  // of a call block
    Scope scope;
    FunctionLayout layout;
    Place place;      // of the macro's own name
    int caller = -1;  // slots, -1: not used
    int kwargs = -1;
    int varargs = -1;
    bool explicit_caller = false;
};

struct LoopParts {
    Expression* iterable = nullptr;
    Expression* condition = nullptr;
    Expression* condition_target = nullptr;  // the target again, in the condition's scope
    bool recursive = false;
    Block otherwise;
    Scope body_scope;
    Scope otherwise_scope;
    Scope condition_scope;
    FunctionLayout condition_layout;
    FunctionLayout layout;  // of a recursive loop
    int loop_slot = -1;
};

struct Statement {
    StatementKind kind = StatementKind::text;
    int line = 0;
    std::string text;
    Expression* target = nullptr;     // assign, assign_block, loop
    Expression* value = nullptr;      // assign; the filter of assign_block and filter_block
    std::vector<Expression*> values;  // output
    std::vector<std::pair<Expression*, Expression*>> bindings;  // with: target, value
    Block body;
    std::vector<Branch> branches;
    Scope scope;  // assign_block, filter_block, with
    std::unique_ptr<MacroParts> macro;
    std::unique_ptr<LoopParts> loop;
};

struct Program {
    std::deque<Expression> expressions;
    std::deque<Statement> statements;
    Block body;
    Scope scope;
    FunctionLayout layout;
};

/// The tree of a template. Errors: invalid_input with the line.
std::unique_ptr<Program> parse(std::string_view source);

/// Gives every name its place, by Jinja's scoping rules.
void resolve_names(Program& program);

}  // namespace sheaf::jinja
