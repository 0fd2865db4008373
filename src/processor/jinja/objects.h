// The objects that templates meet: views of a dict, ranges, namespaces, cyclers, joiners, bound methods,
// functions and the iterators over values. Used by filters, globals and the interpreter. It must not know
// syntax.
#pragma once

#include <functional>

#include "processor/jinja/object.h"

namespace sheaf::jinja {

/// dict.keys(), .values() or .items().
class DictView final : public Object {
  public:
    enum class Part : std::uint8_t { keys, values, items };
    DictView(Value dict, Part part) : dict_(std::move(dict)), part_(part) {}

    const char* type_name() const override;
    std::optional<std::int64_t> length() const override;
    bool is_truthy() const override { return dict_.as_dict().size() != 0; }
    std::shared_ptr<Iterator> iterate(Interpreter& interpreter) override;
    std::shared_ptr<Iterator> iterate_reversed(Interpreter& interpreter) override;
    int depth() const override { return dict_.depth() + 1; }

    Value at(std::size_t index) const;
    Values listed() const;

  private:
    Value dict_;
    Part part_;
};

/// A whole number of the input beyond 64 bits: can be printed and compared, not calculated with.
class BigInteger final : public Object {
  public:
    explicit BigInteger(std::string digits) : digits_(std::move(digits)) {}
    const char* type_name() const override { return "int"; }
    std::string repr() const override { return digits_; }
    bool equals(Budget& budget, const Object& other) const override;

  private:
    std::string digits_;
};

/// range(start, stop, step), never written out.
class Range final : public Object {
  public:
    Range(std::int64_t start, std::int64_t stop, std::int64_t step);

    const char* type_name() const override { return "range"; }
    std::string repr() const override;
    std::optional<Value> attribute(Interpreter& interpreter, const Value& self,
                                   std::string_view name) override;
    std::optional<std::int64_t> length() const override { return length_; }
    bool is_truthy() const override { return length_ != 0; }
    bool is_indexable() const override { return true; }
    std::optional<Value> item(std::int64_t index) const override;
    std::shared_ptr<Iterator> iterate(Interpreter& interpreter) override;
    std::shared_ptr<Iterator> iterate_reversed(Interpreter& interpreter) override;
    bool equals(Budget& budget, const Object& other) const override;

    /// The part that a slice with these indices (from the start, in steps of `stride`) takes.
    Value part(std::int64_t first, std::int64_t end, std::int64_t stride) const;

  private:
    std::int64_t find(const Value& value) const;
    static Value count(Interpreter& interpreter, const Value& self, const Arguments& arguments);
    static Value index(Interpreter& interpreter, const Value& self, const Arguments& arguments);

    std::int64_t start_;
    std::int64_t stop_;
    std::int64_t step_;
    std::int64_t length_;
};

/// namespace(...): the one thing whose attributes a template may set.
class Namespace final : public Object {
  public:
    const char* type_name() const override { return "Namespace"; }
    std::string repr() const override;
    std::optional<Value> attribute(Interpreter& interpreter, const Value& self,
                                   std::string_view name) override;
    void set(std::string name, Value value) { attributes_.set(std::move(name), std::move(value)); }
    void clear() { attributes_ = Dict(); }

  private:
    Dict attributes_;
};

class Cycler final : public Object {
  public:
    explicit Cycler(Values items);
    const char* type_name() const override { return "Cycler"; }
    std::optional<Value> attribute(Interpreter& interpreter, const Value& self,
                                   std::string_view name) override;
    int depth() const override { return depth_; }

  private:
    Values items_;
    int depth_ = 0;
    std::size_t at_ = 0;
};

class Joiner final : public Object {
  public:
    explicit Joiner(Value separator) : separator_(std::move(separator)) {}
    const char* type_name() const override { return "Joiner"; }
    bool is_callable() const override { return true; }
    Value call(Interpreter& interpreter, const Arguments& arguments) override;
    int depth() const override { return separator_.depth(); }

  private:
    Value separator_;
    bool used_ = false;
};

/// A function of the dialect: a global, or a method of `self`.
using Function = Value (*)(Interpreter& interpreter, const Value& self, const Arguments& arguments);

class Callable final : public Object {
  public:
    Callable(const char* name, Value self, Function function);
    const char* type_name() const override { return "builtin_function_or_method"; }
    std::string repr() const override;
    bool is_callable() const override { return true; }
    Value call(Interpreter& interpreter, const Arguments& arguments) override;
    int depth() const override { return self_.depth(); }

  private:
    const char* name_;
    Value self_;
    Function function_;
};

/// Over what has a length and an element at each place. `reversed`: from the end.
class ElementIterator final : public Iterator {
  public:
    using Element = std::function<Value(std::size_t)>;
    ElementIterator(const Value& holder, std::size_t count, Element element, bool reversed = false);

  protected:
    bool advance(Interpreter& interpreter, Value& out) override;

  private:
    Value holder_;  // keeps what `element_` reads
    std::size_t count_;
    Element element_;
    bool reversed_;
    std::size_t at_ = 0;
};

/// Over a function: what filters such as map and select return.
class FunctionIterator final : public Iterator {
  public:
    using Next = std::function<bool(Interpreter&, Value&)>;
    FunctionIterator(int depth, Next next) : Iterator(depth), next_(std::move(next)) {}

  protected:
    bool advance(Interpreter& interpreter, Value& out) override { return next_(interpreter, out); }

  private:
    Next next_;
};

}  // namespace sheaf::jinja
