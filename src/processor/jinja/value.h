// The values of a template: Python's None, bool, int, float, str, list, tuple, dict, Jinja's Undefined, and
// objects (ranges, namespaces, loops, macros, iterators ...). Used by all of processor/jinja. Immutable apart
// from objects, and shared: copying a Value never copies what it holds. It must not know templates or
// filters.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "processor/jinja/budget.h"

namespace sheaf::jinja {

class Dict;
class Object;
class Value;
using Values = std::vector<Value>;

enum class Kind : std::uint8_t { undefined, none, boolean, integer, real, string, list, tuple, dict, object };

/// What a Value holds beyond a number.
struct Cell {
    virtual ~Cell() = default;
};

class Value {
  public:
    /// Nothing assigned: what a variable is before its first assignment. Reads as a nameless undefined.
    Value() = default;

    static Value none() { return Value(Kind::none); }
    static Value boolean(bool value);
    static Value integer(std::int64_t value);
    static Value real(double value);
    /// `markup`: Python's Markup, a str that escapes what is added to it.
    static Value text(std::string bytes, bool markup = false);
    /// Errors: invalid_input when the nesting would pass Limits::value_depth (so for tuple and dict).
    static Value list(Values items);
    static Value tuple(Values items);
    /// A pair with the attributes `grouper` and `list`.
    static Value group(Value grouper, Value items);
    static Value dict(Dict entries);
    static Value object(std::shared_ptr<Object> object);
    /// Jinja's Undefined; `message` is what an operation on it says.
    static Value undefined(std::string message);

    Kind kind() const { return kind_; }
    bool is(Kind kind) const { return kind_ == kind; }
    bool is_undefined() const { return kind_ == Kind::undefined; }
    bool is_missing() const { return kind_ == Kind::undefined && cell_ == nullptr; }
    bool is_none() const { return kind_ == Kind::none; }
    bool is_text() const { return kind_ == Kind::string; }
    bool is_sequence() const { return kind_ == Kind::list || kind_ == Kind::tuple; }
    /// bool, int.
    bool is_integral() const { return kind_ == Kind::integer || kind_ == Kind::boolean; }
    bool is_number() const { return is_integral() || kind_ == Kind::real; }

    bool as_boolean() const { return number_.boolean; }
    /// Of an int or a bool.
    std::int64_t as_integer() const { return kind_ == Kind::boolean ? number_.boolean : number_.integer; }
    /// Of any number.
    double as_real() const { return kind_ == Kind::real ? number_.real : static_cast<double>(as_integer()); }
    const std::string& as_text() const;
    bool is_markup() const;
    bool is_ascii() const;
    const Values& items() const;
    bool is_group() const;
    const Dict& as_dict() const;
    Object& as_object() const;
    const std::shared_ptr<Cell>& cell() const { return cell_; }
    template <class T>
    T* object_as() const;
    /// Of an undefined value.
    std::string message() const;

    /// Levels of lists, tuples, dicts and holding objects; a number or a text has 0.
    int depth() const;
    /// Python's `is`, for what it can be relied on.
    bool same_as(const Value& other) const;
    /// Python's name of the type.
    const char* type_name() const;

  private:
    explicit Value(Kind kind) : kind_(kind) {}
    Value(Kind kind, std::shared_ptr<Cell> cell) : kind_(kind), cell_(std::move(cell)) {}

    Kind kind_ = Kind::undefined;
    union {
        bool boolean;
        std::int64_t integer;
        double real;
    } number_ = {.integer = 0};
    std::shared_ptr<Cell> cell_;
};

/// Python's truth.
bool truthy(const Value& value);
/// Python's ==.
bool equal(Budget& budget, const Value& a, const Value& b);
/// Equal values have equal hashes. Errors: invalid_input for a list or dict.
std::size_t hash(Budget& budget, const Value& value);

/// a < b by value, for whole and real numbers in any mix (0: equal, NaN compares as unordered: 2).
int compare_numbers(const Value& a, const Value& b);

/// A dict: keys in the order of their first setting.
class Dict {
  public:
    struct Entry {
        Value key;
        Value value;
    };

    const Value* find(Budget& budget, const Value& key) const;
    const Value* find(std::string_view key) const;
    void set(Budget& budget, Value key, Value value);
    void set(std::string key, Value value);

    const std::vector<Entry>& entries() const { return entries_; }
    std::size_t size() const { return entries_.size(); }

  private:
    static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
    std::size_t position(Budget& budget, const Value& key, std::size_t hashed) const;
    std::size_t position(std::string_view key, std::size_t hashed) const;
    void insert(Value key, Value value, std::size_t hashed);

    std::vector<Entry> entries_;
    std::vector<std::size_t> hashes_;
    std::unordered_multimap<std::size_t, std::size_t> index_;  // hash -> position, once there are many
};

struct TextCell final : Cell {
    std::string bytes;
    bool ascii = true;
    bool markup = false;
};

struct SequenceCell final : Cell {
    Values items;
    int depth = 1;
    bool group = false;
};

struct DictCell final : Cell {
    Dict dict;
    int depth = 1;
};

struct UndefinedCell final : Cell {
    std::string message;
};

inline const std::string& Value::as_text() const {
    return static_cast<const TextCell&>(*cell_).bytes;
}
inline bool Value::is_markup() const {
    return kind_ == Kind::string && static_cast<const TextCell&>(*cell_).markup;
}
inline bool Value::is_ascii() const {
    return static_cast<const TextCell&>(*cell_).ascii;
}
inline const Values& Value::items() const {
    return static_cast<const SequenceCell&>(*cell_).items;
}
inline bool Value::is_group() const {
    return kind_ == Kind::tuple && static_cast<const SequenceCell&>(*cell_).group;
}
inline const Dict& Value::as_dict() const {
    return static_cast<const DictCell&>(*cell_).dict;
}

}  // namespace sheaf::jinja
