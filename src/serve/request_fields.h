// The fields of a generation request as a table: name, type, bounds, where it is allowed and what it sets.
// The readers, the tests and the documentation go through it, so that a field cannot be read without a bound.
// Must not know HTTP. Internal to serve.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "serve/request_reader.h"

namespace sheaf::fields {

using Json = nlohmann::ordered_json;

enum Form : unsigned { chat = 1, completion = 2, line = 4, any = 7 };

/// A request while it is being read: what cannot be decided before all fields are known stays here.
struct Draft {
    Draft(Form the_form, const ReaderContext& the_context) : form(the_form), context(the_context) {}

    Form form;
    const ReaderContext& context;
    GenerationRequest request;
    std::optional<int32_t> max_completion_tokens, top_logprobs, best_of;
    std::optional<bool> enable_thinking;
    std::optional<int64_t> top_k;
    Json logprobs, tool_choice, stream_options;  // null: absent
    Json template_kwargs = Json::object();
};

/// A field with one plain value. Bounds are inclusive; a null is as if the field were absent.
struct Scalar {
    enum class Type { boolean, integer, number, text };
    struct Value {
        bool boolean = false;
        int64_t integer = 0;
        double number = 0;
        std::string text;
    };
    std::string_view name;
    unsigned forms;
    Type type;
    double low, high;  // numbers: the value; text: its bytes
    void (*set)(Draft&, Value&&);
};

/// A field with a reader of its own.
struct Structured {
    std::string_view name;
    unsigned forms;
    void (*read)(Draft&, const Json&);
};

/// A known field that this build cannot honour: any value but null, false and `harmless` is refused.
struct Unsupported {
    std::string_view name;
    std::string_view harmless;  // JSON text
    std::string_view reason;
};

std::span<const Scalar> scalars();
std::span<const Structured> structured();
std::span<const Unsupported> unsupported();
/// Known, valid and without effect.
std::span<const std::string_view> ignored();

/// Reads one plain value by its rule. `param` names the field in errors.
Scalar::Value read_scalar(const Scalar& rule, const std::string& param, const Json& value);

/// A whole number in [low, high]; a number with a fraction of zero counts.
int64_t read_integer(const std::string& param, const Json& value, int64_t low, int64_t high);

/// A list of token ids inside the vocabulary.
std::vector<int32_t> read_token_ids(const std::string& param, const Json& value, const ReaderContext& context,
                                    size_t limit);

}  // namespace sheaf::fields
