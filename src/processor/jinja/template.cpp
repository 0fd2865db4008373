#include "processor/jinja/template.h"

#include <new>
#include <stdexcept>

#include "processor/jinja/interpreter.h"
#include "processor/jinja/lexer.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {

namespace {

/// JSON as values, counting its size.
class Importer {
  public:
    Value import(const nlohmann::ordered_json& json, int depth = 0) {
        using Type = nlohmann::ordered_json::value_t;
        if (depth > Limits::input_depth)
            fail(ErrorKind::invalid_input,
                 "the input of the chat template is nested more than {} levels deep",
                 static_cast<int>(Limits::input_depth));
        bytes_ += sizeof(Value);
        switch (json.type()) {
            case Type::boolean:
                return Value::boolean(json.get<bool>());
            case Type::number_integer:
                return Value::integer(json.get<std::int64_t>());
            case Type::number_unsigned: {
                const auto value = json.get<std::uint64_t>();
                if (value <= static_cast<std::uint64_t>(INT64_MAX))
                    return Value::integer(static_cast<std::int64_t>(value));
                return Value::object(std::make_shared<BigInteger>(fmt::format("{}", value)));
            }
            case Type::number_float:
                return Value::real(json.get<double>());
            case Type::string:
                return text(json.get_ref<const std::string&>());
            case Type::array: {
                Values items;
                items.reserve(json.size());
                for (const auto& item : json) items.push_back(import(item, depth + 1));
                return Value::list(std::move(items));
            }
            case Type::object: {
                Dict dict;
                for (const auto& [key, value] : json.items()) {
                    bytes_ += key.size();
                    dict.set(key, import(value, depth + 1));
                }
                return Value::dict(std::move(dict));
            }
            default:
                return Value::none();
        }
    }

    std::size_t bytes() const { return bytes_; }

  private:
    Value text(const std::string& value) {
        bytes_ += value.size();
        return Value::text(value);
    }

    std::size_t bytes_ = 0;
};

}  // namespace

Template::Template(std::string_view source) : program_(parse(source)) {}
Template::~Template() = default;

std::string Template::render(const nlohmann::ordered_json& variables) const {
    Importer importer;
    Variables values;
    for (const auto& [name, value] : variables.items()) values.emplace(name, importer.import(value));
    Interpreter interpreter(*program_, values, importer.bytes());
    try {
        return interpreter.run();
    } catch (const Raised&) {
        throw;  // the template speaks for itself
    } catch (Error& error) {
        fail_at(interpreter.line(), error.what());
    } catch (const std::bad_alloc&) {
        fail(ErrorKind::out_of_memory, "not enough memory to render the chat template");
    }
}

}  // namespace sheaf::jinja
