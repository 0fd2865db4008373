#include "processor/jinja/objects.h"

#include <algorithm>
#include <cmath>

#include "processor/jinja/arguments.h"
#include "processor/jinja/interpreter.h"
#include "processor/jinja/operators.h"
#include "processor/jinja/print.h"

namespace sheaf::jinja {

std::string Object::repr() const {
    return fmt::format("<{} object>", type_name());
}

std::optional<Value> Object::attribute(Interpreter&, const Value&, std::string_view) {
    return std::nullopt;
}

Value Object::call(Interpreter&, const Arguments&) {
    fail(ErrorKind::invalid_input, "'{}' object is not callable", type_name());
}

std::shared_ptr<Iterator> Object::iterate(Interpreter&) {
    return nullptr;
}
std::shared_ptr<Iterator> Object::iterate_reversed(Interpreter&) {
    return nullptr;
}
std::optional<Value> Object::item(std::int64_t) const {
    return std::nullopt;
}
bool Object::equals(Budget&, const Object&) const {
    return false;
}

Iterator::Iterator(int depth) : depth_(depth) {
    if (depth > Limits::value_depth)
        fail(ErrorKind::invalid_input, "iterators are nested more than {} levels deep",
             static_cast<int>(Limits::value_depth));
}

bool Iterator::next(Interpreter& interpreter, Value& out) {
    interpreter.budget().step();
    const Level level(interpreter.budget());
    return advance(interpreter, out);
}

ElementIterator::ElementIterator(const Value& holder, std::size_t count, Element element, bool reversed)
    : Iterator(holder.depth() + 1),
      holder_(holder),
      count_(count),
      element_(std::move(element)),
      reversed_(reversed) {}

bool ElementIterator::advance(Interpreter&, Value& out) {
    if (at_ >= count_) return false;
    out = element_(reversed_ ? count_ - 1 - at_ : at_);
    ++at_;
    return true;
}

const char* DictView::type_name() const {
    switch (part_) {
        case Part::keys:
            return "dict_keys";
        case Part::values:
            return "dict_values";
        case Part::items:
            return "dict_items";
    }
    return "dict_items";
}

std::optional<std::int64_t> DictView::length() const {
    return static_cast<std::int64_t>(dict_.as_dict().size());
}

Value DictView::at(std::size_t index) const {
    const Dict::Entry& entry = dict_.as_dict().entries()[index];
    switch (part_) {
        case Part::keys:
            return entry.key;
        case Part::values:
            return entry.value;
        case Part::items:
            break;
    }
    return Value::tuple({entry.key, entry.value});
}

Values DictView::listed() const {
    Values out;
    for (std::size_t i = 0; i < dict_.as_dict().size(); ++i) out.push_back(at(i));
    return out;
}

std::shared_ptr<Iterator> DictView::iterate(Interpreter&) {
    return std::make_shared<ElementIterator>(dict_, dict_.as_dict().size(),
                                             [view = *this](std::size_t i) { return view.at(i); });
}

std::shared_ptr<Iterator> DictView::iterate_reversed(Interpreter&) {
    return std::make_shared<ElementIterator>(
        dict_, dict_.as_dict().size(), [view = *this](std::size_t i) { return view.at(i); }, true);
}

bool BigInteger::equals(Budget&, const Object& other) const {
    const auto* big = dynamic_cast<const BigInteger*>(&other);
    return big != nullptr && big->digits_ == digits_;
}

Range::Range(std::int64_t start, std::int64_t stop, std::int64_t step)
    : start_(start), stop_(stop), step_(step) {
    if (step == 0) fail(ErrorKind::invalid_input, "range() arg 3 must not be zero");
    const __int128 distance =
        step > 0 ? static_cast<__int128>(stop) - start : static_cast<__int128>(start) - stop;
    const __int128 stride = step > 0 ? static_cast<__int128>(step) : -static_cast<__int128>(step);
    const __int128 count = distance <= 0 ? 0 : (distance - 1) / stride + 1;
    if (count > Limits::range_items)
        fail(ErrorKind::invalid_input, "range() of more than {} numbers", Limits::range_items);
    length_ = static_cast<std::int64_t>(count);
}

std::string Range::repr() const {
    return step_ == 1 ? fmt::format("range({}, {})", start_, stop_)
                      : fmt::format("range({}, {}, {})", start_, stop_, step_);
}

/// Where `value` is in the range; -1: nowhere.
std::int64_t Range::find(const Value& value) const {
    if (!value.is_number()) return -1;
    const double real = value.as_real();
    if (!value.is_integral() && (std::trunc(real) != real || std::fabs(real) > 9e15)) return -1;
    const std::int64_t whole = value.is_integral() ? value.as_integer() : static_cast<std::int64_t>(real);
    const __int128 distance = static_cast<__int128>(whole) - start_;
    if (distance % step_ != 0 || distance / step_ < 0 || distance / step_ >= length_) return -1;
    return static_cast<std::int64_t>(distance / step_);
}

Value Range::count(Interpreter&, const Value& self, const Arguments& arguments) {
    const Parameters given("count", arguments, {"/value"}, 1);
    return Value::integer(self.object_as<Range>()->find(given[0]) >= 0 ? 1 : 0);
}

Value Range::index(Interpreter&, const Value& self, const Arguments& arguments) {
    const Parameters given("index", arguments, {"/value"}, 1);
    const std::int64_t at = self.object_as<Range>()->find(given[0]);
    if (at < 0) fail(ErrorKind::invalid_input, "index(): the value is not in the range");
    return Value::integer(at);
}

std::optional<Value> Range::attribute(Interpreter&, const Value& self, std::string_view name) {
    if (name == "start") return Value::integer(start_);
    if (name == "stop") return Value::integer(stop_);
    if (name == "step") return Value::integer(step_);
    if (name == "count") return Value::object(std::make_shared<Callable>("count", self, count));
    if (name == "index") return Value::object(std::make_shared<Callable>("index", self, index));
    return std::nullopt;
}

std::optional<Value> Range::item(std::int64_t index) const {
    if (index < 0) index += length_;
    if (index < 0 || index >= length_) return std::nullopt;
    return Value::integer(start_ + index * step_);
}

Value Range::part(std::int64_t first, std::int64_t end, std::int64_t stride) const {
    const auto fit = [](__int128 value) {
        if (value > INT64_MAX || value < INT64_MIN)
            fail(ErrorKind::invalid_input, "a whole number of the template does not fit into 64 bits");
        return static_cast<std::int64_t>(value);
    };
    const __int128 step = step_;
    return Value::object(
        std::make_shared<Range>(fit(start_ + first * step), fit(start_ + end * step), fit(stride * step)));
}

std::shared_ptr<Iterator> Range::iterate(Interpreter&) {
    return std::make_shared<ElementIterator>(
        Value(), static_cast<std::size_t>(length_),
        [range = *this](std::size_t i) { return *range.item(static_cast<std::int64_t>(i)); });
}

std::shared_ptr<Iterator> Range::iterate_reversed(Interpreter&) {
    return std::make_shared<ElementIterator>(
        Value(), static_cast<std::size_t>(length_),
        [range = *this](std::size_t i) { return *range.item(static_cast<std::int64_t>(i)); }, true);
}

bool Range::equals(Budget&, const Object& other) const {
    const auto* range = dynamic_cast<const Range*>(&other);
    if (range == nullptr || range->length_ != length_) return false;
    if (length_ == 0) return true;
    return range->start_ == start_ && (length_ == 1 || range->step_ == step_);
}

std::string Namespace::repr() const {
    return "<Namespace>";
}

std::optional<Value> Namespace::attribute(Interpreter&, const Value&, std::string_view name) {
    const Value* found = attributes_.find(name);
    if (found == nullptr) return std::nullopt;
    return *found;
}

Cycler::Cycler(Values items) : items_(std::move(items)) {
    if (items_.empty()) fail(ErrorKind::invalid_input, "at least one item has to be provided");
    for (const Value& item : items_) depth_ = std::max(depth_, item.depth());
}

std::optional<Value> Cycler::attribute(Interpreter&, const Value& self, std::string_view name) {
    if (name == "current") return items_[at_];
    if (name == "items") return Value::tuple(items_);
    if (name == "pos") return Value::integer(static_cast<std::int64_t>(at_));
    if (name == "next") {
        return Value::object(
            std::make_shared<Callable>("next", self, [](Interpreter&, const Value& me, const Arguments&) {
                auto& cycler = *me.object_as<Cycler>();
                const Value item = cycler.items_[cycler.at_];
                cycler.at_ = (cycler.at_ + 1) % cycler.items_.size();
                return item;
            }));
    }
    if (name == "reset") {
        return Value::object(
            std::make_shared<Callable>("reset", self, [](Interpreter&, const Value& me, const Arguments&) {
                me.object_as<Cycler>()->at_ = 0;
                return Value::none();
            }));
    }
    return std::nullopt;
}

Value Joiner::call(Interpreter&, const Arguments& arguments) {
    const Parameters none("joiner", arguments, {}, 0);
    if (used_) return separator_;
    used_ = true;
    return Value::text("");
}

Callable::Callable(const char* name, Value self, Function function)
    : name_(name), self_(std::move(self)), function_(function) {}

std::string Callable::repr() const {
    return fmt::format("<built-in method {} of {} object at 0x7f0000000000>", name_, self_.type_name());
}

Value Callable::call(Interpreter& interpreter, const Arguments& arguments) {
    return function_(interpreter, self_, arguments);
}

}  // namespace sheaf::jinja
