#include "serve/request_reader.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <unordered_map>

#include "base/log.h"
#include "serve/request_error.h"
#include "serve/request_fields.h"

namespace sheaf {

namespace {

using fields::Draft;
using Json = nlohmann::ordered_json;

struct FieldIndex {
    std::unordered_map<std::string_view, const fields::Scalar*> scalars;
    std::unordered_map<std::string_view, const fields::Structured*> structured;
    std::unordered_map<std::string_view, const fields::Unsupported*> unsupported;

    FieldIndex() {
        for (const auto& rule : fields::scalars()) scalars.emplace(rule.name, &rule);
        for (const auto& rule : fields::structured()) structured.emplace(rule.name, &rule);
        for (const auto& rule : fields::unsupported()) unsupported.emplace(rule.name, &rule);
    }
};

const FieldIndex& field_index() {
    static const FieldIndex index;
    return index;
}

void read_field(Draft& draft, const std::string& name, const Json& value) {
    if (value.is_null()) return;
    const FieldIndex& index = field_index();
    if (const auto found = index.scalars.find(name); found != index.scalars.end()) {
        if (found->second->forms & draft.form)
            found->second->set(draft, fields::read_scalar(*found->second, name, value));
        return;
    }
    if (const auto found = index.structured.find(name); found != index.structured.end()) {
        if (found->second->forms & draft.form) found->second->read(draft, value);
        return;
    }
    if (const auto found = index.unsupported.find(name); found != index.unsupported.end()) {
        if (value != false && value.dump() != found->second->harmless)
            throw RequestError(ErrorKind::unsupported, name, std::string(found->second->reason));
        return;
    }
    if (std::ranges::find(fields::ignored(), name) == fields::ignored().end())
        log::debug("unknown request field \"{}\" ignored", name.substr(0, 64));
}

void apply_defaults(Draft& draft) {
    const GenerationDefaults& defaults = draft.context.defaults;
    SamplingParams& sampling = draft.request.sampling;
    sampling.temperature = defaults.temperature.value_or(sampling.temperature);
    sampling.top_p = defaults.top_p.value_or(sampling.top_p);
    sampling.min_p = defaults.min_p.value_or(sampling.min_p);
    sampling.repetition_penalty = defaults.repetition_penalty.value_or(sampling.repetition_penalty);
    if (defaults.top_k) draft.top_k = *defaults.top_k;
    draft.request.template_kwargs = defaults.template_kwargs;
}

void settle_tools(Draft& draft) {
    GenerationRequest& request = draft.request;
    if (draft.tool_choice.is_null() || draft.tool_choice == "none") {
        if (!draft.tool_choice.is_null()) request.parse_tools = false;
        return;
    }
    if (request.tools.is_null()) refuse("tool_choice", "tool_choice needs tools");
    if (draft.tool_choice == "auto") return;
    if (draft.tool_choice.is_string() && draft.tool_choice != "required")
        refuse("tool_choice",
               "tool_choice must be \"none\", \"auto\", \"required\" or an object naming a function");
    if (draft.tool_choice.is_object()) {
        const auto function = draft.tool_choice.find("function");
        const bool named = function != draft.tool_choice.end() && function->is_object() &&
                           function->contains("name") && (*function)["name"].is_string();
        if (!named) refuse("tool_choice", "tool_choice.function.name must be a string");
        const bool known = std::ranges::any_of(
            request.tools, [&](const Json& tool) { return tool["function"]["name"] == (*function)["name"]; });
        if (!known) refuse("tool_choice", "tool_choice names a function that is not in tools");
    }
    throw RequestError(ErrorKind::unsupported, "tool_choice",
                       "tool_choice \"required\" and named functions are not supported yet; use \"auto\"");
}

void settle_logprobs(Draft& draft) {
    GenerationRequest& request = draft.request;
    if (draft.form == fields::completion) {
        if (!draft.logprobs.is_null()) request.sampling.logprobs = draft.logprobs.get<int32_t>();
        if (request.echo && request.sampling.logprobs >= 0 && request.sampling.prompt_logprobs < 0) {
            const int32_t limit = draft.context.limits.prompt_logprobs;
            if (request.sampling.logprobs > limit)
                refuse("logprobs", "logprobs must not be more than {} together with echo", limit);
            request.sampling.prompt_logprobs = request.sampling.logprobs;
        }
    } else {
        const bool wanted = draft.logprobs == true;
        if (draft.top_logprobs.value_or(0) > 0 && !wanted)
            refuse("top_logprobs", "top_logprobs needs logprobs to be true");
        if (wanted) request.sampling.logprobs = draft.top_logprobs.value_or(0);
    }
    if (request.sampling.prompt_logprobs >= 0 && request.stream && draft.form == fields::chat)
        refuse("prompt_logprobs", "prompt_logprobs cannot be streamed");
}

// What depends on several fields.
void settle(Draft& draft) {
    GenerationRequest& request = draft.request;
    SamplingParams& sampling = request.sampling;
    if (draft.max_completion_tokens) request.max_tokens = draft.max_completion_tokens;
    if (draft.form == fields::completion && !request.max_tokens) request.max_tokens = 16;
    request.parse_output = draft.form != fields::completion;
    if (const auto cap = draft.context.defaults.max_tokens)
        request.max_tokens = std::min(request.max_tokens.value_or(*cap), *cap);
    if (request.max_tokens && sampling.min_tokens > *request.max_tokens)
        refuse("min_tokens", "min_tokens must not be more than max_tokens");
    if (request.n > draft.context.limits.n) refuse("n", "n must be between 1 and {}", draft.context.limits.n);
    if (request.prompts.size() * static_cast<size_t>(request.n) > draft.context.limits.choices)
        refuse("n", "prompts times n must not be more than {}", draft.context.limits.choices);
    if (draft.best_of.value_or(0) > request.n)
        throw RequestError(ErrorKind::unsupported, "best_of", "best_of larger than n is not supported");
    // OpenAI allows a top_p of 0: only the most likely token.
    sampling.top_p = std::max(sampling.top_p, 1e-6f);
    sampling.top_k = static_cast<int32_t>(std::max<int64_t>(draft.top_k.value_or(0), 0));
    if (request.add_generation_prompt && request.continue_final_message) {
        // vLLM refuses only what was said explicitly; the default gives way.
        request.add_generation_prompt = false;
    }
    // The most particular wish wins: the server's default, enable_thinking, the request's own kwargs.
    if (draft.enable_thinking) request.template_kwargs["enable_thinking"] = *draft.enable_thinking;
    request.template_kwargs.update(draft.template_kwargs);
    if (!draft.stream_options.is_null() && !request.stream)
        refuse("stream_options", "stream_options needs stream to be true");
    settle_tools(draft);
    settle_logprobs(draft);
}

GenerationRequest read(const Json& body, fields::Form form, const ReaderContext& context) {
    if (!body.is_object()) refuse("", "the request must be a JSON object");
    Draft draft(form, context);
    apply_defaults(draft);
    for (const auto& [name, value] : body.items()) read_field(draft, name, value);
    const GenerationRequest& request = draft.request;
    if (form == fields::chat && !request.is_chat()) refuse("messages", "messages is missing");
    if (form == fields::completion && request.prompts.empty()) refuse("prompt", "prompt is missing");
    if (form == fields::line && request.prompts.size() + (request.is_chat() ? 1 : 0) != 1)
        refuse("", "exactly one of token_ids, prompt and messages must be given");
    settle(draft);
    return std::move(draft.request);
}

template <class T>
std::optional<T> number_in(const Json& object, const char* name) {
    const auto found = object.find(name);
    if (found == object.end() || !found->is_number()) return {};
    return found->get<T>();
}

}  // namespace

GenerationDefaults GenerationDefaults::from_json(const Json& generation_config) {
    GenerationDefaults defaults;
    if (!generation_config.is_object()) return defaults;
    defaults.temperature = number_in<float>(generation_config, "temperature");
    defaults.top_p = number_in<float>(generation_config, "top_p");
    defaults.min_p = number_in<float>(generation_config, "min_p");
    defaults.repetition_penalty = number_in<float>(generation_config, "repetition_penalty");
    defaults.top_k = number_in<int32_t>(generation_config, "top_k");
    defaults.max_tokens = number_in<int32_t>(generation_config, "max_new_tokens");
    return defaults;
}

GenerationRequest read_chat_request(const Json& body, const ReaderContext& context) {
    return read(body, fields::chat, context);
}

GenerationRequest read_completion_request(const Json& body, const ReaderContext& context) {
    return read(body, fields::completion, context);
}

GenerationRequest read_line_request(const Json& line, const ReaderContext& context) {
    return read(line, fields::line, context);
}

}  // namespace sheaf
