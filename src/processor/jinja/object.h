// The interface of everything in a template that is no plain value: what has attributes, can be called or
// iterated. Used by the interpreter and the filters; implemented in objects.h and beside the interpreter. It
// must not know which objects there are.
#pragma once

#include <optional>

#include "processor/jinja/value.h"

namespace sheaf::jinja {

class Interpreter;
class Iterator;

/// The arguments of a call, filter or test.
struct Arguments {
    Values positional;
    std::vector<std::pair<std::string, Value>> named;
};

class Object : public Cell {
  public:
    virtual const char* type_name() const = 0;
    virtual std::string repr() const;
    /// `self`: the value that holds this object. None: no such attribute.
    virtual std::optional<Value> attribute(Interpreter& interpreter, const Value& self,
                                           std::string_view name);
    virtual bool is_callable() const { return false; }
    virtual Value call(Interpreter& interpreter, const Arguments& arguments);
    /// Null: not iterable.
    virtual std::shared_ptr<Iterator> iterate(Interpreter& interpreter);
    virtual std::shared_ptr<Iterator> iterate_reversed(Interpreter& interpreter);
    /// None: has no len().
    virtual std::optional<std::int64_t> length() const { return std::nullopt; }
    /// Whether obj[index] works; item() is asked only then. None: out of range.
    virtual bool is_indexable() const { return false; }
    virtual std::optional<Value> item(std::int64_t index) const;
    virtual bool is_truthy() const { return true; }
    virtual bool equals(Budget& budget, const Object& other) const;
    /// Counted by the containers that hold this object.
    virtual int depth() const { return 0; }
};

/// A generator: gives each value once.
class Iterator : public Object {
  public:
    const char* type_name() const override { return "generator"; }
    int depth() const override { return depth_; }

    /// The next value; false at the end. Counts as a step and a level.
    bool next(Interpreter& interpreter, Value& out);

  protected:
    /// `depth`: of what is iterated, plus one.
    explicit Iterator(int depth);
    virtual bool advance(Interpreter& interpreter, Value& out) = 0;

  private:
    int depth_;
};

template <class T>
T* Value::object_as() const {
    return kind_ == Kind::object ? dynamic_cast<T*>(cell_.get()) : nullptr;
}

inline Object& Value::as_object() const {
    return static_cast<Object&>(*cell_);
}

}  // namespace sheaf::jinja
