// Slices, iteration and lengths: what operators.h says of sequences.
#include <algorithm>
#include <numeric>

#include "processor/jinja/interpreter.h"
#include "processor/jinja/objects.h"
#include "processor/jinja/operators.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

struct Bounds {
    std::int64_t start = 0;
    std::int64_t end = 0;
    std::int64_t step = 1;
    std::size_t count = 0;

    std::size_t at(std::size_t i) const {
        return static_cast<std::size_t>(start + static_cast<std::int64_t>(i) * step);
    }
};

std::int64_t bound(const Value& value, std::int64_t length, std::int64_t otherwise, std::int64_t low,
                   std::int64_t high) {
    if (value.is_none()) return otherwise;
    if (!value.is_integral())
        fail(ErrorKind::invalid_input, "slice indices must be integers or None or have an __index__ method");
    std::int64_t at = value.as_integer();
    if (at < 0) at += length;
    return std::clamp(at, low, high);
}

/// The rule of Python's slice.indices().
Bounds bounds(const Value& start, const Value& stop, const Value& step, std::int64_t length) {
    Bounds result;
    if (!step.is_none()) {
        if (!step.is_integral())
            fail(ErrorKind::invalid_input,
                 "slice indices must be integers or None or have an __index__ method");
        // A step beyond the length takes one element, whatever its size.
        result.step = std::clamp<std::int64_t>(step.as_integer(), -length - 1, length + 1);
        if (result.step == 0) fail(ErrorKind::invalid_input, "slice step cannot be zero");
    }
    const bool backwards = result.step < 0;
    const std::int64_t low = backwards ? -1 : 0;
    const std::int64_t high = backwards ? length - 1 : length;
    result.start = bound(start, length, backwards ? high : low, low, high);
    result.end = bound(stop, length, backwards ? low : high, low, high);
    const std::int64_t distance = backwards ? result.start - result.end : result.end - result.start;
    const std::int64_t stride = backwards ? -result.step : result.step;
    result.count = distance <= 0 ? 0 : static_cast<std::size_t>((distance - 1) / stride + 1);
    return result;
}

Value slice_text(Budget& budget, const Value& value, const Value& start, const Value& stop,
                 const Value& step) {
    const std::string& text = value.as_text();
    if (value.is_ascii()) {
        const Bounds range = bounds(start, stop, step, static_cast<std::int64_t>(text.size()));
        budget.text(range.count);
        if (range.step == 1) return Value::text(text.substr(range.at(0), range.count), value.is_markup());
        std::string out(range.count, '\0');
        for (std::size_t i = 0; i < range.count; ++i) out[i] = text[range.at(i)];
        return Value::text(std::move(out), value.is_markup());
    }
    budget.work(text.size());
    const std::size_t length = unicode::length(text);
    const Bounds range = bounds(start, stop, step, static_cast<std::int64_t>(length));
    if (range.count == 0) return Value::text("", value.is_markup());
    if (range.step == 1) {
        const std::size_t first = unicode::offset_of(text, range.at(0));
        const std::size_t bytes = unicode::offset_of(std::string_view(text).substr(first), range.count);
        budget.text(bytes);
        return Value::text(text.substr(first, bytes), value.is_markup());
    }
    budget.work(length * sizeof(std::size_t));
    std::vector<std::size_t> offsets;
    offsets.reserve(length + 1);
    for (std::size_t at = 0; at < text.size(); at += unicode::decode(text, at).size) offsets.push_back(at);
    offsets.push_back(text.size());
    std::string out;
    for (std::size_t i = 0; i < range.count; ++i) {
        const std::size_t at = range.at(i);
        out.append(text, offsets[at], offsets[at + 1] - offsets[at]);
    }
    budget.text(out.size());
    return Value::text(std::move(out), value.is_markup());
}

std::shared_ptr<Iterator> text_iterator(const Value& value) {
    // Characters are found one after the other; only a forward walk is needed.
    auto at = std::make_shared<std::size_t>(0);
    return std::make_shared<FunctionIterator>(1, [value, at](Interpreter&, Value& out) {
        const std::string& text = value.as_text();
        if (*at >= text.size()) return false;
        const std::size_t size = unicode::decode(text, *at).size;
        out = Value::text(text.substr(*at, size));
        *at += size;
        return true;
    });
}

}  // namespace

Value slice(Budget& budget, const Value& value, const Value& start, const Value& stop, const Value& step) {
    budget.step();
    if (value.is_undefined()) fail_undefined(value);
    if (value.is_text()) return slice_text(budget, value, start, stop, step);
    if (value.is_sequence()) {
        const Values& items = value.items();
        const Bounds range = bounds(start, stop, step, static_cast<std::int64_t>(items.size()));
        budget.work(range.count * sizeof(Value));
        Values out;
        out.reserve(range.count);
        for (std::size_t i = 0; i < range.count; ++i) out.push_back(items[range.at(i)]);
        return value.is(Kind::list) ? Value::list(std::move(out)) : Value::tuple(std::move(out));
    }
    if (const auto* range = value.object_as<Range>()) {
        const Bounds part = bounds(start, stop, step, *range->length());
        return range->part(part.start, part.end, part.step);
    }
    fail(ErrorKind::invalid_input, "'{}' object cannot be sliced", value.type_name());
}

std::optional<std::int64_t> length(const Value& value) {
    switch (value.kind()) {
        case Kind::undefined:
            return 0;
        case Kind::string:
            return static_cast<std::int64_t>(value.is_ascii() ? value.as_text().size()
                                                              : unicode::length(value.as_text()));
        case Kind::list:
        case Kind::tuple:
            return static_cast<std::int64_t>(value.items().size());
        case Kind::dict:
            return static_cast<std::int64_t>(value.as_dict().size());
        case Kind::object:
            return value.as_object().length();
        default:
            return std::nullopt;
    }
}

std::shared_ptr<Iterator> try_iterate(Interpreter& interpreter, const Value& value) {
    switch (value.kind()) {
        case Kind::undefined:
            return std::make_shared<FunctionIterator>(1, [](Interpreter&, Value&) { return false; });
        case Kind::string:
            return text_iterator(value);
        case Kind::list:
        case Kind::tuple:
            return std::make_shared<ElementIterator>(
                value, value.items().size(), [items = &value.items()](std::size_t i) { return (*items)[i]; });
        case Kind::dict:
            return std::make_shared<ElementIterator>(
                value, value.as_dict().size(),
                [dict = &value.as_dict()](std::size_t i) { return dict->entries()[i].key; });
        case Kind::object:
            if (value.object_as<Iterator>() != nullptr)
                return std::static_pointer_cast<Iterator>(value.cell());
            return value.as_object().iterate(interpreter);
        default:
            return nullptr;
    }
}

std::shared_ptr<Iterator> iterate(Interpreter& interpreter, const Value& value) {
    auto iterator = try_iterate(interpreter, value);
    if (!iterator) fail(ErrorKind::invalid_input, "'{}' object is not iterable", value.type_name());
    return iterator;
}

std::shared_ptr<Iterator> try_iterate_reversed(Interpreter& interpreter, const Value& value) {
    switch (value.kind()) {
        case Kind::undefined:
            return try_iterate(interpreter, value);
        case Kind::list:
        case Kind::tuple:
            return std::make_shared<ElementIterator>(
                value, value.items().size(), [items = &value.items()](std::size_t i) { return (*items)[i]; },
                true);
        case Kind::dict:
            return std::make_shared<ElementIterator>(
                value, value.as_dict().size(),
                [dict = &value.as_dict()](std::size_t i) { return dict->entries()[i].key; }, true);
        case Kind::string: {
            const Value text =
                slice(interpreter.budget(), value, Value::none(), Value::none(), Value::integer(-1));
            return text_iterator(text);
        }
        case Kind::object:
            return value.as_object().iterate_reversed(interpreter);
        default:
            return nullptr;
    }
}

Values to_values(Interpreter& interpreter, const Value& value) {
    if (value.is_sequence()) {
        interpreter.budget().work(value.items().size() * sizeof(Value));
        return value.items();
    }
    const auto iterator = iterate(interpreter, value);
    Values out;
    for (Value item; iterator->next(interpreter, item);) {
        interpreter.budget().work(sizeof(Value));
        out.push_back(item);
    }
    return out;
}

}  // namespace sheaf::jinja
