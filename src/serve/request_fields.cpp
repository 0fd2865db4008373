#include "serve/request_fields.h"

#include <cmath>
#include <limits>

#include "serve/request_error.h"

namespace sheaf::fields {

namespace {

using Type = Scalar::Type;
using Value = Scalar::Value;

constexpr double int32_max = std::numeric_limits<int32_t>::max();

const char* type_name(Type type) {
    switch (type) {
        case Type::boolean:
            return "true or false";
        case Type::integer:
            return "an integer";
        case Type::number:
            return "a number";
        case Type::text:
            return "a string";
    }
    return "";
}

// clang-format off
constexpr Scalar scalar_table[] = {
    {"model", any, Type::text, 0, 1024, [](Draft& d, Value&& v) { d.request.model = std::move(v.text); }},
    {"temperature", any, Type::number, 0, 100, [](Draft& d, Value&& v) { d.request.sampling.temperature = static_cast<float>(v.number); }},
    {"top_p", any, Type::number, 0, 1, [](Draft& d, Value&& v) { d.request.sampling.top_p = static_cast<float>(v.number); }},
    {"top_k", any, Type::integer, -1, int32_max, [](Draft& d, Value&& v) { d.top_k = v.integer; }},
    {"min_p", any, Type::number, 0, 1, [](Draft& d, Value&& v) { d.request.sampling.min_p = static_cast<float>(v.number); }},
    {"presence_penalty", any, Type::number, -2, 2, [](Draft& d, Value&& v) { d.request.sampling.presence_penalty = static_cast<float>(v.number); }},
    {"frequency_penalty", any, Type::number, -2, 2, [](Draft& d, Value&& v) { d.request.sampling.frequency_penalty = static_cast<float>(v.number); }},
    {"repetition_penalty", any, Type::number, 0.01, 100, [](Draft& d, Value&& v) { d.request.sampling.repetition_penalty = static_cast<float>(v.number); }},
    {"seed", any, Type::integer, -9223372036854775808.0, 18446744073709551615.0, [](Draft& d, Value&& v) { d.request.seed = static_cast<uint64_t>(v.integer); }},
    {"max_tokens", any, Type::integer, 0, int32_max, [](Draft& d, Value&& v) { d.request.max_tokens = static_cast<int32_t>(v.integer); }},
    {"max_completion_tokens", chat | line, Type::integer, 0, int32_max, [](Draft& d, Value&& v) { d.max_completion_tokens = static_cast<int32_t>(v.integer); }},
    {"min_tokens", any, Type::integer, 0, int32_max, [](Draft& d, Value&& v) { d.request.sampling.min_tokens = static_cast<int32_t>(v.integer); }},
    {"ignore_eos", any, Type::boolean, 0, 0, [](Draft& d, Value&& v) { d.request.sampling.ignore_eos = v.boolean; }},
    {"n", any, Type::integer, 1, 128, [](Draft& d, Value&& v) { d.request.n = static_cast<int32_t>(v.integer); }},
    {"best_of", any, Type::integer, 0, 128, [](Draft& d, Value&& v) { d.best_of = static_cast<int32_t>(v.integer); }},
    {"top_logprobs", chat | line, Type::integer, 0, 20, [](Draft& d, Value&& v) { d.top_logprobs = static_cast<int32_t>(v.integer); }},
    {"prompt_logprobs", any, Type::integer, 0, 5, [](Draft& d, Value&& v) { d.request.sampling.prompt_logprobs = static_cast<int32_t>(v.integer); }},
    {"truncate_prompt_tokens", any, Type::integer, -1, int32_max, [](Draft& d, Value&& v) { d.request.truncate_prompt_tokens = static_cast<int32_t>(v.integer); }},
    {"stream", any, Type::boolean, 0, 0, [](Draft& d, Value&& v) { d.request.stream = v.boolean; }},
    {"echo", any, Type::boolean, 0, 0, [](Draft& d, Value&& v) { d.request.echo = v.boolean; }},
    {"include_stop_str_in_output", any, Type::boolean, 0, 0, [](Draft& d, Value&& v) { d.request.include_stop = v.boolean; }},
    {"no_stop_trim", any, Type::boolean, 0, 0, [](Draft& d, Value&& v) { d.request.include_stop = v.boolean; }},
    {"skip_special_tokens", any, Type::boolean, 0, 0, [](Draft& d, Value&& v) { d.request.skip_special_tokens = v.boolean; }},
    {"add_generation_prompt", chat | line, Type::boolean, 0, 0, [](Draft& d, Value&& v) { d.request.add_generation_prompt = v.boolean; }},
    {"continue_final_message", chat | line, Type::boolean, 0, 0, [](Draft& d, Value&& v) { d.request.continue_final_message = v.boolean; }},
    {"parallel_tool_calls", chat | line, Type::boolean, 0, 0, [](Draft& d, Value&& v) { d.request.parallel_tool_calls = v.boolean; }},
    {"include_reasoning", chat | line, Type::boolean, 0, 0, [](Draft& d, Value&& v) { d.request.include_reasoning = v.boolean; }},
    {"enable_thinking", chat | line, Type::boolean, 0, 0, [](Draft& d, Value&& v) { d.enable_thinking = v.boolean; }},
    {"return_token_ids", any, Type::boolean, 0, 0, [](Draft& d, Value&& v) { d.request.return_token_ids = v.boolean; }},
    {"return_tokens_as_token_ids", any, Type::boolean, 0, 0, [](Draft& d, Value&& v) { d.request.return_tokens_as_token_ids = v.boolean; }},
};
// clang-format on

constexpr std::string_view no_grammar =
    "structured output is not supported yet; leave the field out or ask for the form in the prompt";

constexpr Unsupported unsupported_table[] = {
    {"structured_outputs", "{}", no_grammar},
    {"guided_json", "", no_grammar},
    {"guided_regex", "", no_grammar},
    {"guided_choice", "", no_grammar},
    {"guided_grammar", "", no_grammar},
    {"json_schema", "", no_grammar},
    {"regex", "", no_grammar},
    {"ebnf", "", no_grammar},
    {"grammar", "", no_grammar},
    {"use_beam_search", "false", "beam search is not supported"},
    {"suffix", "\"\"", "suffix is not supported: the model does not fill in the middle"},
    {"bad_words", "[]", "bad_words is not supported yet; use logit_bias"},
    {"stop_regex", "[]", "stop_regex is not supported; use stop"},
    {"thinking_token_budget", "",
     "a thinking budget is not supported yet; use enable_thinking or max_tokens"},
    {"prompt_embeds", "", "prompt_embeds is not supported: this server takes text and token ids"},
    {"chat_template", "", "this server uses the model's own chat template; chat_template is refused"},
};

constexpr std::string_view ignored_table[] = {
    "user",
    "store",
    "metadata",
    "service_tier",
    "verbosity",
    "prediction",
    "modalities",
    "safety_identifier",
    "prompt_cache_key",
    "length_penalty",
    "spaces_between_special_tokens",
    "truncation_side",
    "watermarking",
    "repetition_detection",
    "add_special_tokens",
    "documents",
    "separate_reasoning",
    "stream_reasoning",
    "reasoning_format",
    "mm_processor_kwargs",
    "media_io_kwargs",
    "priority",
    "cache_salt",
    "request_id",
    "session_id",
    "stream_interval",
    "rid",
    "extra_key",
    "id_slot",
    "cache_prompt",
    "return_prompt_text",
    "logprob_token_ids",
    "timings_per_token",
    "return_progress",
    "kv_transfer_params",
    "ec_transfer_params",
    "vllm_xargs",
    "lora_path",
    "custom_logit_processor",
    "chat_template_content_format",
    "early_stopping",
    "guided_decoding_backend",
    "guided_whitespace_pattern",
    "min_thinking_tokens",
    "web_search_options",
};

}  // namespace

std::span<const Scalar> scalars() {
    return scalar_table;
}
std::span<const Unsupported> unsupported() {
    return unsupported_table;
}
std::span<const std::string_view> ignored() {
    return ignored_table;
}

int64_t read_integer(const std::string& param, const Json& value, int64_t low, int64_t high) {
    std::optional<int64_t> number;
    if (value.is_number_unsigned()) {
        const uint64_t large = value.get<uint64_t>();
        if (large <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
            number = static_cast<int64_t>(large);
    } else if (value.is_number_integer()) {
        number = value.get<int64_t>();
    } else if (value.is_number_float()) {
        const double real = value.get<double>();
        if (std::trunc(real) != real) refuse(param, "{} must be an integer", param);
        if (std::abs(real) < 9e15) number = static_cast<int64_t>(real);
    } else {
        refuse(param, "{} must be an integer", param);
    }
    if (!number || *number < low || *number > high)
        refuse(param, "{} must be between {} and {}", param, low, high);
    return *number;
}

Value read_scalar(const Scalar& rule, const std::string& param, const Json& value) {
    Value result;
    const auto wrong_type = [&] { refuse(param, "{} must be {}", param, type_name(rule.type)); };
    switch (rule.type) {
        case Type::boolean:
            if (!value.is_boolean()) wrong_type();
            result.boolean = value.get<bool>();
            break;
        case Type::integer:
            if (value.is_number_unsigned() && rule.high > 1e19)  // a seed: any 64 bits
                result.integer = static_cast<int64_t>(value.get<uint64_t>());
            else
                result.integer = read_integer(
                    param, value,
                    rule.low < -9e18 ? std::numeric_limits<int64_t>::min() : static_cast<int64_t>(rule.low),
                    rule.high > 9e18 ? std::numeric_limits<int64_t>::max() : static_cast<int64_t>(rule.high));
            break;
        case Type::number:
            if (!value.is_number()) wrong_type();
            result.number = value.get<double>();
            if (!(result.number >= rule.low && result.number <= rule.high))
                refuse(param, "{} must be between {} and {}", param, rule.low, rule.high);
            break;
        case Type::text:
            if (!value.is_string()) wrong_type();
            result.text = value.get<std::string>();
            if (static_cast<double>(result.text.size()) > rule.high)
                refuse(param, "{} must not be longer than {} bytes", param, rule.high);
            break;
    }
    return result;
}

std::vector<int32_t> read_token_ids(const std::string& param, const Json& value, const ReaderContext& context,
                                    size_t limit) {
    if (!value.is_array()) refuse(param, "{} must be a list of token ids", param);
    if (value.size() > limit) refuse(param, "{} must not have more than {} entries", param, limit);
    std::vector<int32_t> ids;
    ids.reserve(value.size());
    for (const Json& entry : value)
        ids.push_back(static_cast<int32_t>(read_integer(param, entry, 0, context.vocabulary_size - 1)));
    return ids;
}

}  // namespace sheaf::fields
