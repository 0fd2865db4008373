#include "processor/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "processor/jinja/object.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

void check_depth(int depth) {
    if (depth > Limits::value_depth)
        fail(ErrorKind::invalid_input, "lists and mappings are nested more than {} levels deep",
             static_cast<int>(Limits::value_depth));
}

int depth_of(const Values& items) {
    int depth = 0;
    for (const Value& item : items) depth = std::max(depth, item.depth());
    check_depth(depth + 1);
    return depth + 1;
}

std::shared_ptr<SequenceCell> sequence(Values items) {
    auto cell = std::make_shared<SequenceCell>();
    cell->depth = depth_of(items);
    cell->items = std::move(items);
    return cell;
}

constexpr double kTwo63 = 9223372036854775808.0;

bool is_whole(double value) {
    return value >= -kTwo63 && value < kTwo63 && std::trunc(value) == value;
}

}  // namespace

Value Value::boolean(bool value) {
    Value result(Kind::boolean);
    result.number_.boolean = value;
    return result;
}

Value Value::integer(std::int64_t value) {
    Value result(Kind::integer);
    result.number_.integer = value;
    return result;
}

Value Value::real(double value) {
    Value result(Kind::real);
    result.number_.real = value;
    return result;
}

Value Value::text(std::string bytes, bool markup) {
    auto cell = std::make_shared<TextCell>();
    cell->ascii = unicode::is_ascii(bytes);
    cell->bytes = std::move(bytes);
    cell->markup = markup;
    return {Kind::string, std::move(cell)};
}

Value Value::list(Values items) {
    return {Kind::list, sequence(std::move(items))};
}
Value Value::tuple(Values items) {
    return {Kind::tuple, sequence(std::move(items))};
}

Value Value::group(Value grouper, Value items) {
    auto cell = sequence({std::move(grouper), std::move(items)});
    cell->group = true;
    return {Kind::tuple, std::move(cell)};
}

Value Value::dict(Dict entries) {
    auto cell = std::make_shared<DictCell>();
    int depth = 0;
    for (const Dict::Entry& entry : entries.entries())
        depth = std::max({depth, entry.key.depth(), entry.value.depth()});
    check_depth(depth + 1);
    cell->depth = depth + 1;
    cell->dict = std::move(entries);
    return {Kind::dict, std::move(cell)};
}

Value Value::object(std::shared_ptr<Object> object) {
    // Objects hold values, which hold objects: the bound keeps taking them apart from using up the stack.
    check_depth(object->depth());
    return {Kind::object, std::move(object)};
}

Value Value::undefined(std::string message) {
    auto cell = std::make_shared<UndefinedCell>();
    cell->message = std::move(message);
    return {Kind::undefined, std::move(cell)};
}

std::string Value::message() const {
    return cell_ ? static_cast<const UndefinedCell&>(*cell_).message : std::string("value is undefined");
}

int Value::depth() const {
    switch (kind_) {
        case Kind::list:
        case Kind::tuple:
            return static_cast<const SequenceCell&>(*cell_).depth;
        case Kind::dict:
            return static_cast<const DictCell&>(*cell_).depth;
        case Kind::object:
            return as_object().depth() + 1;
        default:
            return 0;
    }
}

bool Value::same_as(const Value& other) const {
    if (kind_ != other.kind_) return false;
    switch (kind_) {
        case Kind::none:
            return true;
        case Kind::boolean:
            return as_boolean() == other.as_boolean();
        case Kind::integer:
            return as_integer() == other.as_integer() && as_integer() >= -5 && as_integer() <= 256;
        case Kind::real:
            return false;
        default:
            return cell_ == other.cell_;
    }
}

const char* Value::type_name() const {
    switch (kind_) {
        case Kind::undefined:
            return "Undefined";
        case Kind::none:
            return "NoneType";
        case Kind::boolean:
            return "bool";
        case Kind::integer:
            return "int";
        case Kind::real:
            return "float";
        case Kind::string:
            return is_markup() ? "Markup" : "str";
        case Kind::list:
            return "list";
        case Kind::tuple:
            return "tuple";
        case Kind::dict:
            return "dict";
        case Kind::object:
            return as_object().type_name();
    }
    return "object";
}

bool truthy(const Value& value) {
    switch (value.kind()) {
        case Kind::undefined:
        case Kind::none:
            return false;
        case Kind::boolean:
            return value.as_boolean();
        case Kind::integer:
            return value.as_integer() != 0;
        case Kind::real:
            return value.as_real() != 0.0;
        case Kind::string:
            return !value.as_text().empty();
        case Kind::list:
        case Kind::tuple:
            return !value.items().empty();
        case Kind::dict:
            return value.as_dict().size() != 0;
        case Kind::object:
            return value.as_object().is_truthy();
    }
    return false;
}

int compare_numbers(const Value& a, const Value& b) {
    const auto order = [](auto x, auto y) { return x < y ? -1 : (x > y ? 1 : 0); };
    if (a.is_integral() && b.is_integral()) return order(a.as_integer(), b.as_integer());
    if (std::isnan(a.as_real()) || std::isnan(b.as_real())) return 2;
    if (!a.is_integral() && !b.is_integral()) return order(a.as_real(), b.as_real());
    if (!a.is_integral()) return -compare_numbers(b, a);
    // A whole number against a real one, without rounding the whole one.
    const double real = b.as_real();
    if (real >= kTwo63) return -1;
    if (real < -kTwo63) return 1;
    const double whole = std::floor(real);
    const int sign = order(a.as_integer(), static_cast<std::int64_t>(whole));
    return sign == 0 && real > whole ? -1 : sign;
}

bool equal(Budget& budget, const Value& a, const Value& b) {
    budget.step();
    if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
    if (a.kind() != b.kind()) return false;
    switch (a.kind()) {
        case Kind::string:
            budget.work(std::min(a.as_text().size(), b.as_text().size()) / 8);
            return a.as_text() == b.as_text();
        case Kind::list:
        case Kind::tuple: {
            if (a.cell() == b.cell()) return true;
            const Values& x = a.items();
            const Values& y = b.items();
            return x.size() == y.size() &&
                   std::equal(x.begin(), x.end(), y.begin(), [&](const Value& p, const Value& q) {
                       return p.same_as(q) || equal(budget, p, q);
                   });
        }
        case Kind::dict: {
            if (a.cell() == b.cell()) return true;
            if (a.as_dict().size() != b.as_dict().size()) return false;
            for (const Dict::Entry& entry : a.as_dict().entries()) {
                const Value* other = b.as_dict().find(budget, entry.key);
                if (other == nullptr || !(entry.value.same_as(*other) || equal(budget, entry.value, *other)))
                    return false;
            }
            return true;
        }
        case Kind::object:
            return a.cell() == b.cell() || a.as_object().equals(budget, b.as_object());
        default:
            return true;  // None, undefined
    }
}

std::size_t hash(Budget& budget, const Value& value) {
    budget.step();
    switch (value.kind()) {
        case Kind::boolean:
        case Kind::integer:
            return std::hash<std::int64_t>{}(value.as_integer());
        case Kind::real:
            return is_whole(value.as_real())
                       ? std::hash<std::int64_t>{}(static_cast<std::int64_t>(value.as_real()))
                       : std::hash<double>{}(value.as_real());
        case Kind::string:
            budget.work(value.as_text().size() / 8);
            return std::hash<std::string_view>{}(value.as_text());
        case Kind::tuple: {
            std::size_t mixed = 0x345678;
            for (const Value& item : value.items()) mixed = (mixed ^ hash(budget, item)) * 1000003;
            return mixed;
        }
        case Kind::list:
        case Kind::dict:
            fail(ErrorKind::invalid_input, "unhashable type: '{}'", value.type_name());
        case Kind::object:
            return std::hash<const void*>{}(value.cell().get());
        case Kind::undefined:
        case Kind::none:
            break;
    }
    return static_cast<std::size_t>(value.kind());
}

std::size_t Dict::position(Budget& budget, const Value& key, std::size_t hashed) const {
    const auto matches = [&](std::size_t at) {
        return hashes_[at] == hashed &&
               (entries_[at].key.same_as(key) || equal(budget, entries_[at].key, key));
    };
    if (index_.empty()) {
        for (std::size_t at = 0; at < entries_.size(); ++at)
            if (matches(at)) return at;
        return kNone;
    }
    const auto [begin, end] = index_.equal_range(hashed);
    for (auto it = begin; it != end; ++it)
        if (matches(it->second)) return it->second;
    return kNone;
}

std::size_t Dict::position(std::string_view key, std::size_t hashed) const {
    const auto matches = [&](std::size_t at) {
        return hashes_[at] == hashed && entries_[at].key.is_text() && entries_[at].key.as_text() == key;
    };
    if (index_.empty()) {
        for (std::size_t at = 0; at < entries_.size(); ++at)
            if (matches(at)) return at;
        return kNone;
    }
    const auto [begin, end] = index_.equal_range(hashed);
    for (auto it = begin; it != end; ++it)
        if (matches(it->second)) return it->second;
    return kNone;
}

const Value* Dict::find(Budget& budget, const Value& key) const {
    const std::size_t at = position(budget, key, hash(budget, key));
    return at == kNone ? nullptr : &entries_[at].value;
}

const Value* Dict::find(std::string_view key) const {
    const std::size_t at = position(key, std::hash<std::string_view>{}(key));
    return at == kNone ? nullptr : &entries_[at].value;
}

void Dict::insert(Value key, Value value, std::size_t hashed) {
    constexpr std::size_t kSmall = 8;
    entries_.push_back({std::move(key), std::move(value)});
    hashes_.push_back(hashed);
    if (entries_.size() == kSmall + 1) {
        for (std::size_t at = 0; at < hashes_.size(); ++at) index_.emplace(hashes_[at], at);
    } else if (entries_.size() > kSmall) {
        index_.emplace(hashed, entries_.size() - 1);
    }
}

void Dict::set(Budget& budget, Value key, Value value) {
    const std::size_t hashed = hash(budget, key);
    const std::size_t at = position(budget, key, hashed);
    if (at == kNone) {
        insert(std::move(key), std::move(value), hashed);
    } else {
        entries_[at].value = std::move(value);
    }
}

void Dict::set(std::string key, Value value) {
    const std::size_t hashed = std::hash<std::string_view>{}(key);
    const std::size_t at = position(std::string_view(key), hashed);
    if (at == kNone) {
        insert(Value::text(std::move(key)), std::move(value), hashed);
    } else {
        entries_[at].value = std::move(value);
    }
}

}  // namespace sheaf::jinja
