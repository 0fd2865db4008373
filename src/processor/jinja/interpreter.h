// Runs a parsed template once: statements into text, expressions into values, under a budget. Made by
// Template::render and handed to every filter, test and method, which use its public half. It must not know
// files or chats.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "processor/jinja/objects.h"
#include "processor/jinja/syntax.h"

namespace sheaf::jinja {

using Variables = std::unordered_map<std::string, Value>;

/// The variables of one call of a function of the template.
struct Activation {
    std::vector<Value> slots;
    std::shared_ptr<Activation> parent;
};

class Interpreter {
  public:
    /// `input_bytes`: the size of what `variables` hold; the budget grows with it.
    Interpreter(const Program& program, const Variables& variables, std::size_t input_bytes);
    ~Interpreter();
    Interpreter(const Interpreter&) = delete;
    Interpreter& operator=(const Interpreter&) = delete;

    /// The rendered text. Errors: invalid_input; line() is then where.
    std::string run();
    int line() const { return line_; }

    Budget& budget() { return budget_; }

    /// value.name, as Jinja's sandbox looks it up: attributes first, then keys; undefined where there is
    /// neither.
    Value attribute(const Value& value, std::string_view name);
    /// value[key]: keys first, then attributes.
    Value subscript(const Value& value, const Value& key);
    Value call(const Value& callable, const Arguments& arguments);
    /// By name, as map, select and the like do it.
    Value apply_filter(const std::string& name, const Value& value, const Arguments& arguments);
    bool apply_test(const std::string& name, const Value& value, const Arguments& arguments);

    /// Namespaces can hold themselves: the interpreter empties them when it is done.
    std::shared_ptr<Namespace> make_namespace();

    // For macros and loops that are called as values.
    std::string call_macro(const Statement& macro, const std::shared_ptr<Activation>& closure,
                           const Arguments& arguments);
    std::string call_loop(const Statement& loop, const std::shared_ptr<Activation>& closure,
                          const Value& iterable, int depth);
    /// Whether the condition of a loop holds for `item`, which is then what its targets took of it;
    /// `activation` is the condition's own.
    bool loop_condition(const Statement& loop, const std::shared_ptr<Activation>& activation, Value& item);

  private:
    enum class Flow : std::uint8_t { normal, broken, continued };

    Flow execute(const Block& block);
    Flow execute(const Statement& statement);
    Flow execute_conditional(const Statement& statement);
    Flow execute_captured(const Statement& statement);
    Flow execute_with(const Statement& statement);
    Flow execute_loop(const Statement& statement);
    Flow run_loop(const Statement& statement, const Value& iterable,
                  const std::shared_ptr<Activation>& closure, int depth);
    void output_text(const Value& value);
    void execute_call_block(const Statement& statement);
    void assign(const Expression& target, const Value& value);
    void unpack(const Expression& target, const Value& value);
    Value target_value(const Expression& target);
    void check_namespaces(const Expression& target);
    void enter(const Scope& scope);
    void bind_macro(const MacroParts& macro, const Arguments& arguments);

    Value evaluate(const Expression& expression);
    Value evaluate_or_none(const Expression* expression);
    Value evaluate_leaf(const Expression& expression);
    Value apply(const Expression& expression, Value subject);
    Value apply_compare(const Expression& expression, const Value& subject);
    Value apply_concat(const Expression& expression, const Value& subject);
    Value evaluate_filter(const Expression& expression, const Value& subject);
    bool evaluate_test(const Expression& expression, const Value& subject);
    Values evaluate_all(const std::vector<Expression*>& expressions);
    Value evaluate_dict(const Expression& expression);
    Arguments evaluate_arguments(const CallArguments* arguments);

    std::shared_ptr<Activation> make_activation(const FunctionLayout& layout,
                                                std::shared_ptr<Activation> parent);
    Value& slot(const Place& place);
    /// What `body` writes, instead of writing it.
    template <class Body>
    std::string capture(Body body);
    /// Runs `body` with `activation` as the current one.
    template <class Body>
    auto within(const std::shared_ptr<Activation>& activation, Body body);

    const Program& program_;
    const Variables& variables_;
    Budget budget_;
    int line_ = 1;
    std::string* out_ = nullptr;
    Value captured_;  // the text that a filter block's filter takes
    std::shared_ptr<Activation> current_;
    std::vector<const Expression*> chain_;  // the subjects that wait in evaluate()
    std::vector<std::shared_ptr<Namespace>> namespaces_;
    std::vector<std::shared_ptr<Activation>> activations_;
};

/// A macro, or the body of a call block, with the variables around it.
class Macro final : public Object {
  public:
    Macro(const Statement& statement, std::shared_ptr<Activation> closure)
        : statement_(statement), closure_(std::move(closure)) {}
    const char* type_name() const override { return "Macro"; }
    std::string repr() const override;
    std::optional<Value> attribute(Interpreter& interpreter, const Value& self,
                                   std::string_view name) override;
    bool is_callable() const override { return true; }
    Value call(Interpreter& interpreter, const Arguments& arguments) override;

  private:
    const Statement& statement_;
    std::shared_ptr<Activation> closure_;
};

/// The `loop` of a for block.
class LoopObject final : public Object {
  public:
    LoopObject(Interpreter& interpreter, const Statement& statement, std::shared_ptr<Activation> closure,
               std::shared_ptr<Iterator> items, std::optional<std::int64_t> length, int depth)
        : interpreter_(interpreter),
          statement_(statement),
          closure_(std::move(closure)),
          items_(std::move(items)),
          length_(length),
          depth_(depth) {}

    const char* type_name() const override { return "LoopContext"; }
    std::string repr() const override;
    std::optional<Value> attribute(Interpreter& interpreter, const Value& self,
                                   std::string_view name) override;
    std::optional<std::int64_t> length() const override { return count(); }
    bool is_truthy() const override { return count() != 0; }
    bool is_callable() const override { return true; }
    Value call(Interpreter& interpreter, const Arguments& arguments) override;

    /// The next item; false at the end.
    bool advance(Value& item);
    /// Lets go of all values: a loop kept in a namespace must not hold on to others.
    void finish();
    Value cycle(const Arguments& arguments) const;
    bool changed(const Arguments& arguments);

  private:
    std::int64_t count() const;
    bool peek() const;

    Interpreter& interpreter_;
    const Statement& statement_;
    std::shared_ptr<Activation> closure_;
    // Looking ahead is part of answering questions such as `last`.
    mutable std::shared_ptr<Iterator> items_;
    mutable std::optional<std::int64_t> length_;
    mutable std::optional<Value> after_;
    int depth_;
    std::int64_t index0_ = -1;
    Value current_;
    Value before_;
    std::optional<Value> last_changed_;
};

// attributes.cpp, string_methods.cpp: the methods of plain values. Missing: there is none of that name.
Value find_method(const Value& self, std::string_view name);
/// A method of str; null: none of that name. `found` is the name as it lives on.
Function find_string_method(std::string_view name, const char** found = nullptr);
/// A method of a list or dict that would change it: exists in Python, hidden by the sandbox.
bool is_hidden_method(Kind kind, std::string_view name);

}  // namespace sheaf::jinja
