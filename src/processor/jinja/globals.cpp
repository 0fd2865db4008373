// The functions that a template finds without being given them.
#include <array>
#include <chrono>
#include <ctime>

#include "processor/jinja/arguments.h"
#include "processor/jinja/interpreter.h"
#include "processor/jinja/print.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

Value range(Interpreter&, const Value&, const Arguments& arguments) {
    const Parameters given("range", arguments, {"/start", "/stop", "/step"}, 1);
    if (!given.given(1)) return Value::object(std::make_shared<Range>(0, given.integer(0, 0), 1));
    return Value::object(
        std::make_shared<Range>(given.integer(0, 0), given.integer(1, 0), given.integer(2, 1)));
}

/// dict(mapping or pairs, **named).
Dict make_dict(Interpreter& interpreter, const Arguments& arguments) {
    if (arguments.positional.size() > 1) fail(ErrorKind::invalid_input, "dict expected at most 1 argument");
    Budget& budget = interpreter.budget();
    Dict out;
    if (!arguments.positional.empty()) {
        const Value& source = arguments.positional.front();
        if (source.is_undefined()) fail_undefined(source);
        if (source.is(Kind::dict)) {
            budget.work(source.as_dict().size() * 2 * sizeof(Value));
            out = source.as_dict();
        } else {
            const auto pairs = iterate(interpreter, source);
            for (Value pair; pairs->next(interpreter, pair);) {
                const Values parts = to_values(interpreter, pair);
                if (parts.size() != 2) fail(ErrorKind::invalid_input, "dict() wants pairs");
                budget.work(2 * sizeof(Value));
                out.set(budget, parts[0], parts[1]);
            }
        }
    }
    for (const auto& [name, value] : arguments.named) out.set(name, value);
    return out;
}

Value dict(Interpreter& interpreter, const Value&, const Arguments& arguments) {
    return Value::dict(make_dict(interpreter, arguments));
}

Value make_namespace(Interpreter& interpreter, const Value&, const Arguments& arguments) {
    const Dict attributes = make_dict(interpreter, arguments);
    auto space = interpreter.make_namespace();
    for (const Dict::Entry& entry : attributes.entries())
        if (entry.key.is_text()) space->set(entry.key.as_text(), entry.value);
    return Value::object(std::move(space));
}

Value cycler(Interpreter&, const Value&, const Arguments& arguments) {
    if (!arguments.named.empty()) fail(ErrorKind::invalid_input, "cycler() takes no keyword arguments");
    return Value::object(std::make_shared<Cycler>(arguments.positional));
}

Value joiner(Interpreter&, const Value&, const Arguments& arguments) {
    const Parameters given("joiner", arguments, {"sep"}, 0);
    return Value::object(std::make_shared<Joiner>(given.given(0) ? given[0] : Value::text(", ")));
}

Value raise_exception(Interpreter& interpreter, const Value&, const Arguments& arguments) {
    const Parameters given("raise_exception", arguments, {"message"}, 1);
    const std::string message = to_text(interpreter.budget(), given[0]);
    throw Raised(std::string(unicode::cut(message, Limits::raised_bytes)));
}

Value strftime_now(Interpreter& interpreter, const Value&, const Arguments& arguments) {
    const Parameters given("strftime_now", arguments, {"format"}, 1);
    constexpr std::size_t kLongest = 256;
    std::string format = given.text(0);
    if (format.size() > kLongest) fail(ErrorKind::invalid_input, "strftime_now: the format is too long");
    const auto now = std::chrono::system_clock::now();
    const auto micros =
        std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count() % 1'000'000;
    // %f, microseconds, is Python's own.
    for (std::size_t at = format.find('%'); at != std::string::npos && at + 1 < format.size();
         at = format.find('%', at + 2))
        if (format[at + 1] == 'f') format.replace(at, 2, fmt::format("{:06}", micros));
    const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
    std::tm local{};
    localtime_r(&seconds, &local);
    std::array<char, 16384> buffer{};
    const std::size_t size = std::strftime(buffer.data(), buffer.size(), format.c_str(), &local);
    interpreter.budget().text(size);
    return Value::text(std::string(buffer.data(), size));
}

struct Named {
    const char* name;
    Function function;
};

constexpr Named kGlobals[] = {
    {"cycler", cycler},
    {"dict", dict},
    {"joiner", joiner},
    {"namespace", make_namespace},
    {"raise_exception", raise_exception},
    {"range", range},
    {"strftime_now", strftime_now},
};

}  // namespace

Value find_global(std::string_view name) {
    for (const Named& global : kGlobals)
        if (name == global.name)
            return Value::object(std::make_shared<Callable>(global.name, Value(), global.function));
    return {};
}

}  // namespace sheaf::jinja
