// Macros and loops as values.
#include <algorithm>

#include "processor/jinja/interpreter.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

std::string quoted(std::string_view name) {
    return fmt::format("'{}'", unicode::cut(name, Limits::quoted_bytes));
}

}  // namespace

/// Jinja's order: positions, names, then caller, the rest of the names and the rest of the positions.
void Interpreter::bind_macro(const MacroParts& macro, const Arguments& arguments) {
    std::vector<Value>& slots = current_->slots;
    const auto set = [&](int slot_index, Value value) {
        slots[static_cast<std::size_t>(slot_index)] = std::move(value);
    };
    const std::size_t count = macro.parameters.size();
    const std::size_t given = std::min(arguments.positional.size(), count);
    for (std::size_t i = 0; i < given; ++i) set(macro.parameters[i].place.slot, arguments.positional[i]);

    auto named = arguments.named;
    const auto take = [&](const std::string& name) -> Value {
        const auto it =
            std::find_if(named.begin(), named.end(), [&](const auto& entry) { return entry.first == name; });
        if (it == named.end()) return {};
        Value value = std::move(it->second);
        named.erase(it);
        return value;
    };
    bool found_caller = given == count && macro.explicit_caller;
    for (std::size_t i = given; i < count; ++i) {
        if (macro.parameters[i].name == "caller") found_caller = true;
        set(macro.parameters[i].place.slot, take(macro.parameters[i].name));
    }
    if (macro.caller >= 0 && !found_caller) {
        Value caller = take("caller");
        set(macro.caller,
            caller.is_missing() || caller.is_none() ? Value::undefined("No caller defined") : caller);
    }
    if (macro.kwargs >= 0) {
        Dict rest;
        for (auto& [name, value] : named) rest.set(name, std::move(value));
        set(macro.kwargs, Value::dict(std::move(rest)));
    } else if (!named.empty()) {
        fail(ErrorKind::invalid_input, "macro {} takes no keyword argument {}", quoted(macro.name),
             quoted(named.front().first));
    }
    if (macro.varargs >= 0) {
        const auto first = arguments.positional.begin() + static_cast<std::ptrdiff_t>(given);
        set(macro.varargs, Value::tuple(Values(first, arguments.positional.end())));
    } else if (arguments.positional.size() > count) {
        fail(ErrorKind::invalid_input, "macro {} takes not more than {} argument(s)", quoted(macro.name),
             count);
    }
}

std::string Interpreter::call_macro(const Statement& s, const std::shared_ptr<Activation>& closure,
                                    const Arguments& arguments) {
    const Level level(budget_);
    const MacroParts& macro = *s.macro;
    const std::shared_ptr<Activation> outer = std::exchange(current_, make_activation(macro.layout, closure));
    std::string text;
    std::string* const outer_text = std::exchange(out_, &text);
    bind_macro(macro, arguments);
    enter(macro.scope);
    for (const Parameter& parameter : macro.parameters) {
        if (!slot(parameter.place).is_missing()) continue;
        Value value =
            parameter.otherwise != nullptr
                ? evaluate(*parameter.otherwise)
                : Value::undefined(fmt::format("parameter {} was not provided", quoted(parameter.name)));
        slot(parameter.place) = std::move(value);
    }
    execute(s.body);
    out_ = outer_text;
    current_ = outer;
    return text;
}

std::string Macro::repr() const {
    return statement_.kind == StatementKind::macro ? fmt::format("<Macro {}>", quoted(statement_.macro->name))
                                                   : std::string("<Macro anonymous>");
}

Value Macro::call(Interpreter& interpreter, const Arguments& arguments) {
    return Value::text(interpreter.call_macro(statement_, closure_, arguments));
}

std::optional<Value> Macro::attribute(Interpreter&, const Value&, std::string_view name) {
    const MacroParts& macro = *statement_.macro;
    if (name == "name")
        return statement_.kind == StatementKind::macro ? Value::text(macro.name) : Value::none();
    if (name == "catch_kwargs") return Value::boolean(macro.kwargs >= 0);
    if (name == "catch_varargs") return Value::boolean(macro.varargs >= 0);
    if (name == "caller") return Value::boolean(macro.caller >= 0);
    if (name != "arguments") return std::nullopt;
    Values names;
    for (const Parameter& parameter : macro.parameters) names.push_back(Value::text(parameter.name));
    return Value::tuple(std::move(names));
}

bool LoopObject::advance(Value& item) {
    if (after_) {
        item = *std::exchange(after_, std::nullopt);
    } else if (!items_->next(interpreter_, item)) {
        return false;
    }
    ++index0_;
    before_ = std::exchange(current_, item);
    return true;
}

void LoopObject::finish() {
    items_.reset();
    after_.reset();
    current_ = before_ = Value();
    last_changed_.reset();
    closure_.reset();
}

bool LoopObject::peek() const {
    if (after_) return true;
    Value next;
    if (!items_ || !items_->next(interpreter_, next)) return false;
    after_ = std::move(next);
    return true;
}

std::int64_t LoopObject::count() const {
    if (length_) return *length_;
    Values rest;
    if (items_)
        for (Value item; items_->next(interpreter_, item);) {
            interpreter_.budget().work(sizeof(Value));
            rest.push_back(item);
        }
    length_ = static_cast<std::int64_t>(rest.size()) + index0_ + 1 + (after_ ? 1 : 0);
    const Value list = Value::list(std::move(rest));
    items_ = jinja::iterate(interpreter_, list);
    return *length_;
}

Value LoopObject::cycle(const Arguments& arguments) const {
    if (arguments.positional.empty()) fail(ErrorKind::invalid_input, "no items for cycling given");
    return arguments.positional[static_cast<std::size_t>(index0_) % arguments.positional.size()];
}

bool LoopObject::changed(const Arguments& arguments) {
    Value value = Value::tuple(arguments.positional);
    if (last_changed_ && equal(interpreter_.budget(), *last_changed_, value)) return false;
    last_changed_ = std::move(value);
    return true;
}

std::optional<Value> LoopObject::attribute(Interpreter&, const Value& self, std::string_view name) {
    if (name == "index") return Value::integer(index0_ + 1);
    if (name == "index0") return Value::integer(index0_);
    if (name == "first") return Value::boolean(index0_ == 0);
    if (name == "last") return Value::boolean(!peek());
    if (name == "length") return Value::integer(count());
    if (name == "revindex") return Value::integer(count() - index0_);
    if (name == "revindex0") return Value::integer(count() - index0_ - 1);
    if (name == "depth") return Value::integer(depth_ + 1);
    if (name == "depth0") return Value::integer(depth_);
    if (name == "previtem") return index0_ == 0 ? Value::undefined("there is no previous item") : before_;
    if (name == "nextitem") return peek() ? *after_ : Value::undefined("there is no next item");
    if (name == "cycle")
        return Value::object(std::make_shared<Callable>(
            "cycle", self, [](Interpreter&, const Value& me, const Arguments& arguments) {
                return me.object_as<LoopObject>()->cycle(arguments);
            }));
    if (name == "changed")
        return Value::object(std::make_shared<Callable>(
            "changed", self, [](Interpreter&, const Value& me, const Arguments& arguments) {
                return Value::boolean(me.object_as<LoopObject>()->changed(arguments));
            }));
    return std::nullopt;
}

Value LoopObject::call(Interpreter& interpreter, const Arguments& arguments) {
    if (!statement_.loop->recursive || !closure_)
        fail(ErrorKind::invalid_input, "the loop must have the 'recursive' marker to be called recursively");
    if (arguments.positional.size() != 1 || !arguments.named.empty())
        fail(ErrorKind::invalid_input, "loop() takes one argument");
    return Value::text(interpreter.call_loop(statement_, closure_, arguments.positional.front(), depth_ + 1));
}

std::string LoopObject::repr() const {
    return fmt::format("<LoopContext {}/{}>", index0_ + 1, count());
}

}  // namespace sheaf::jinja
