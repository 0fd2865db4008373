// The fields of a generation request that are lists or objects.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "serve/request_error.h"
#include "serve/request_fields.h"

namespace sheaf::fields {

namespace {

void read_messages(Draft& draft, const Json& value) {
    if (!value.is_array() || value.empty())
        refuse("messages", "messages must be a list with at least one message");
    const size_t limit = draft.context.limits.messages;
    if (value.size() > limit) refuse("messages", "messages must not have more than {} entries", limit);
    for (size_t i = 0; i < value.size(); ++i) {
        if (!value[i].is_object())
            refuse(fmt::format("messages[{}]", i), "messages[{}] must be an object", i);
        const auto role = value[i].find("role");
        if (role == value[i].end() || !role->is_string())
            refuse(fmt::format("messages[{}].role", i), "messages[{}].role must be a string", i);
    }
    draft.request.messages = value;
}

RawPrompt read_one_prompt(const std::string& param, const Draft& draft, const Json& value) {
    RawPrompt prompt;
    if (value.is_string()) {
        prompt.text = value.get<std::string>();
    } else {
        prompt.is_tokens = true;
        prompt.token_ids =
            read_token_ids(param, value, draft.context, static_cast<size_t>(draft.context.limits.json_nodes));
    }
    return prompt;
}

void read_prompt(Draft& draft, const Json& value) {
    if (value.is_string()) {
        draft.request.prompts.push_back(read_one_prompt("prompt", draft, value));
        return;
    }
    if (draft.form == line) refuse("prompt", "prompt must be a string");
    if (!value.is_array() || value.empty())
        refuse("prompt",
               "prompt must be a string, a list of strings, a list of token ids or a list of such lists, and "
               "not "
               "empty");
    if (value[0].is_number()) {
        draft.request.prompts.push_back(read_one_prompt("prompt", draft, value));
        return;
    }
    const size_t limit = draft.context.limits.prompts;
    if (value.size() > limit) refuse("prompt", "prompt must not have more than {} entries", limit);
    for (size_t i = 0; i < value.size(); ++i) {
        const std::string param = fmt::format("prompt[{}]", i);
        if (value[i].type() != value[0].type() || !(value[i].is_string() || value[i].is_array()))
            refuse(param, "{} must be {}", param, value[0].is_string() ? "a string" : "a list of token ids");
        draft.request.prompts.push_back(read_one_prompt(param, draft, value[i]));
    }
}

void read_line_tokens(Draft& draft, const Json& value) {
    if (!value.is_array()) refuse("token_ids", "token_ids must be a list of token ids");
    draft.request.prompts.push_back(read_one_prompt("token_ids", draft, value));
}

void read_stop(Draft& draft, const Json& value) {
    const RequestLimits& limits = draft.context.limits;
    const auto add = [&](const Json& entry) {
        if (!entry.is_string()) refuse("stop", "stop must be a string or a list of strings");
        std::string text = entry.get<std::string>();
        if (text.empty()) refuse("stop", "stop must not have an empty string");
        if (text.size() > limits.stop_string_bytes)
            refuse("stop", "a stop string must not be longer than {} bytes", limits.stop_string_bytes);
        draft.request.stop.push_back(std::move(text));
    };
    if (!value.is_array()) return add(value);
    if (value.size() > limits.stop_strings)
        refuse("stop", "stop must not have more than {} strings", limits.stop_strings);
    for (const Json& entry : value) add(entry);
}

void read_stop_token_ids(Draft& draft, const Json& value) {
    draft.request.sampling.stop_token_ids =
        read_token_ids("stop_token_ids", value, draft.context, draft.context.limits.token_lists);
}

void read_allowed_token_ids(Draft& draft, const Json& value) {
    auto ids = read_token_ids("allowed_token_ids", value, draft.context,
                              static_cast<size_t>(draft.context.vocabulary_size));
    if (ids.empty()) refuse("allowed_token_ids", "allowed_token_ids must not be empty");
    draft.request.sampling.allowed_token_ids = std::move(ids);
}

void read_logit_bias(Draft& draft, const Json& value) {
    if (!value.is_object()) refuse("logit_bias", "logit_bias must be an object of token ids and numbers");
    const size_t limit = draft.context.limits.token_lists;
    if (value.size() > limit) refuse("logit_bias", "logit_bias must not have more than {} entries", limit);
    for (const auto& [key, bias] : value.items()) {
        int32_t id = 0;
        const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
        if (error != std::errc() || end != key.data() + key.size() || id < 0 ||
            id >= draft.context.vocabulary_size)
            refuse("logit_bias", "the keys of logit_bias must be token ids between 0 and {}",
                   draft.context.vocabulary_size - 1);
        if (!bias.is_number()) refuse("logit_bias", "the values of logit_bias must be numbers");
        // Like vLLM: clamped, not refused.
        draft.request.sampling.logit_bias.emplace_back(
            id, static_cast<float>(std::clamp(bias.get<double>(), -100.0, 100.0)));
    }
}

void read_tools(Draft& draft, const Json& value) {
    if (!value.is_array()) refuse("tools", "tools must be a list");
    const size_t limit = draft.context.limits.tools;
    if (value.size() > limit) refuse("tools", "tools must not have more than {} entries", limit);
    for (size_t i = 0; i < value.size(); ++i) {
        const std::string param = fmt::format("tools[{}]", i);
        if (!value[i].is_object()) refuse(param, "{} must be an object", param);
        const auto type = value[i].find("type");
        if (type != value[i].end() && (!type->is_string() || *type != "function"))
            refuse(param + ".type", "{}.type must be \"function\"", param);
        const auto function = value[i].find("function");
        if (function == value[i].end() || !function->is_object())
            refuse(param + ".function", "{}.function must be an object", param);
        const auto name = function->find("name");
        if (name == function->end() || !name->is_string() || name->get_ref<const std::string&>().empty())
            refuse(param + ".function.name", "{}.function.name must be a string", param);
        const auto parameters = function->find("parameters");
        if (parameters != function->end() && !parameters->is_object() && !parameters->is_null())
            refuse(param + ".function.parameters", "{}.function.parameters must be an object", param);
    }
    if (!value.empty()) draft.request.tools = value;
}

void read_tool_choice(Draft& draft, const Json& value) {
    if (!value.is_string() && !value.is_object())
        refuse("tool_choice",
               "tool_choice must be \"none\", \"auto\", \"required\" or an object naming a function");
    draft.tool_choice = value;
}

void read_stream_options(Draft& draft, const Json& value) {
    if (!value.is_object()) refuse("stream_options", "stream_options must be an object");
    for (const auto& [key, entry] : value.items()) {
        if (key != "include_usage" && key != "continuous_usage_stats") continue;
        if (entry.is_null()) continue;
        if (!entry.is_boolean())
            refuse("stream_options." + key, "stream_options.{} must be true or false", key);
        (key == "include_usage" ? draft.request.include_usage : draft.request.continuous_usage) =
            entry.get<bool>();
    }
    draft.stream_options = value;
}

void read_logprobs(Draft& draft, const Json& value) {
    if (draft.form == completion) {
        read_integer("logprobs", value, 0, draft.context.limits.logprobs);
    } else if (!value.is_boolean()) {
        refuse("logprobs", "logprobs must be true or false");
    }
    draft.logprobs = value;
}

void read_response_format(Draft&, const Json& value) {
    if (!value.is_object()) refuse("response_format", "response_format must be an object");
    const auto type = value.find("type");
    if (type == value.end() || !type->is_string())
        refuse("response_format.type", "response_format.type must be a string");
    if (*type != "text")
        refuse("response_format",
               "response_format other than text is not supported yet; ask for the form in the prompt");
}

bool is_scalar(const Json& value) {
    return value.is_primitive();
}

void read_template_kwargs(Draft& draft, const Json& value) {
    if (!value.is_object()) refuse("chat_template_kwargs", "chat_template_kwargs must be an object");
    if (value.size() > 64)
        refuse("chat_template_kwargs", "chat_template_kwargs must not have more than 64 entries");
    for (const auto& [key, entry] : value.items()) {
        const std::string param = "chat_template_kwargs." + key.substr(0, 64);
        if (key == "messages" || key == "tools" || key == "add_generation_prompt" || key == "tokenize" ||
            key == "chat_template")
            refuse(param, "{} cannot be set there", param);
        if (!is_scalar(entry)) refuse(param, "{} must be a string, a number, true, false or null", param);
        draft.template_kwargs[key] = entry;
    }
}

// {"effort": ..., "enabled": ...}, as OpenRouter has it.
void read_reasoning(Draft& draft, const Json& value) {
    if (!value.is_object()) refuse("reasoning", "reasoning must be an object");
    const auto effort = value.find("effort");
    if (effort != value.end() && effort->is_string() && *effort == "none") draft.enable_thinking = false;
    const auto enabled = value.find("enabled");
    if (enabled != value.end() && enabled->is_boolean()) draft.enable_thinking = enabled->get<bool>();
}

void read_reasoning_effort(Draft& draft, const Json& value) {
    constexpr std::string_view efforts[] = {"none", "minimal", "low", "medium", "high", "xhigh", "max"};
    if (!value.is_string() ||
        std::ranges::find(efforts, value.get_ref<const std::string&>()) == std::end(efforts))
        refuse("reasoning_effort",
               "reasoning_effort must be \"none\", \"minimal\", \"low\", \"medium\", \"high\", \"xhigh\" or "
               "\"max\"");
    if (value == "none") draft.enable_thinking = false;
}

constexpr Structured table[] = {
    {"messages", chat | line, read_messages},
    {"prompt", completion | line, read_prompt},
    {"token_ids", line, read_line_tokens},
    {"stop", any, read_stop},
    {"stop_token_ids", any, read_stop_token_ids},
    {"allowed_token_ids", any, read_allowed_token_ids},
    {"logit_bias", any, read_logit_bias},
    {"tools", chat | line, read_tools},
    {"tool_choice", chat | line, read_tool_choice},
    {"stream_options", any, read_stream_options},
    {"logprobs", any, read_logprobs},
    {"response_format", any, read_response_format},
    {"chat_template_kwargs", chat | line, read_template_kwargs},
    {"reasoning", chat | line, read_reasoning},
    {"reasoning_effort", chat | line, read_reasoning_effort},
};

}  // namespace

std::span<const Structured> structured() {
    return table;
}

}  // namespace sheaf::fields
