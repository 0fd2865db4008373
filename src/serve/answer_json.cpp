#include "serve/answer_json.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "base/error.h"
#include "processor/tokenizer.h"

namespace sheaf::answer {

namespace {

// JSON has no infinity; vLLM says -9999.
double finite(float logprob) {
    return std::isfinite(logprob) ? std::max<double>(logprob, -9999.0) : -9999.0;
}

Json bytes_of(std::string_view bytes) {
    Json list = Json::array();
    for (const char byte : bytes) list.push_back(static_cast<unsigned char>(byte));
    return list;
}

size_t code_points(std::string_view text) {
    return static_cast<size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

Json chat_token(const TokenLogprob& token, const TokenNames& names) {
    return {{"token", names(token.token)},
            {"logprob", finite(token.logprob)},
            {"bytes", bytes_of(names.tokenizer.token_bytes(token.token))}};
}

const char* error_type(int status) {
    switch (status) {
        case 400:
            return "BadRequestError";
        case 401:
            return "AuthenticationError";
        case 403:
            return "PermissionDeniedError";
        case 404:
            return "NotFoundError";
        case 405:
            return "MethodNotAllowedError";
        case 413:
            return "RequestTooLargeError";
        case 429:
            return "RateLimitError";
        case 501:
            return "NotImplementedError";
        case 503:
            return "ServiceUnavailableError";
        default:
            return status >= 500 ? "InternalServerError" : "BadRequestError";
    }
}

}  // namespace

Json error(int status, const std::string& message, const std::string& param) {
    Json inner = {{"message", message}, {"type", error_type(status)}, {"param", nullptr}, {"code", status}};
    if (!param.empty()) inner["param"] = param;
    return {{"error", std::move(inner)}};
}

Json usage(const Usage& usage) {
    return {{"prompt_tokens", usage.prompt_tokens},
            {"completion_tokens", usage.completion_tokens},
            {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
            {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
            {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}}};
}

std::string TokenNames::operator()(int32_t id) const {
    if (as_ids) return fmt::format("token_id:{}", id);
    return tokenizer.decode(std::span(&id, 1));
}

Json chat_logprobs(const std::vector<SampledToken>& tokens, const TokenNames& names) {
    Json content = Json::array();
    for (const SampledToken& token : tokens) {
        Json entry = chat_token(token.logprob, names);
        Json top = Json::array();
        for (const TokenLogprob& alternative : token.alternatives)
            top.push_back(chat_token(alternative, names));
        entry["top_logprobs"] = std::move(top);
        content.push_back(std::move(entry));
    }
    return {{"content", std::move(content)}};
}

void CompletionLogprobs::push(int32_t id, const TokenLogprob* logprob,
                              const std::vector<TokenLogprob>& alternatives, const TokenNames& names,
                              size_t& offset) {
    const std::string name = names(id);
    tokens.push_back(name);
    text_offset.push_back(offset);
    offset += code_points(names.as_ids ? names.tokenizer.decode(std::span(&id, 1)) : name);
    if (!logprob) {
        token_logprobs.push_back(nullptr);
        top_logprobs.push_back(nullptr);
        return;
    }
    token_logprobs.push_back(finite(logprob->logprob));
    Json top = Json::object();
    top[name] = finite(logprob->logprob);
    for (const TokenLogprob& alternative : alternatives)
        top.emplace(names(alternative.token), finite(alternative.logprob));  // the sampled one stays
    top_logprobs.push_back(std::move(top));
}

void CompletionLogprobs::add(const std::vector<SampledToken>& sampled, const TokenNames& names,
                             size_t& offset) {
    for (const SampledToken& token : sampled)
        push(token.token, &token.logprob, token.alternatives, names, offset);
}

void CompletionLogprobs::add_prompt(const std::vector<int32_t>& ids,
                                    const std::vector<PromptLogprob>& logprobs, const TokenNames& names,
                                    size_t& offset) {
    for (size_t i = 0; i < ids.size(); ++i) {
        if (i == 0 || i > logprobs.size())
            push(ids[i], nullptr, {}, names, offset);
        else
            push(ids[i], &logprobs[i - 1].logprob, logprobs[i - 1].alternatives, names, offset);
    }
}

Json CompletionLogprobs::json() && {
    return {{"text_offset", std::move(text_offset)},
            {"token_logprobs", std::move(token_logprobs)},
            {"tokens", std::move(tokens)},
            {"top_logprobs", std::move(top_logprobs)}};
}

Json prompt_logprobs(const std::vector<PromptLogprob>& logprobs, const TokenNames& names) {
    Json list = Json::array({nullptr});
    for (const PromptLogprob& entry : logprobs) {
        Json tokens = Json::object();
        const auto add = [&](const TokenLogprob& token) {
            tokens.emplace(std::to_string(token.token), Json{{"logprob", finite(token.logprob)},
                                                             {"rank", token.rank},
                                                             {"decoded_token", names(token.token)}});
        };
        add(entry.logprob);
        for (const TokenLogprob& alternative : entry.alternatives) add(alternative);
        list.push_back(std::move(tokens));
    }
    return list;
}

Json token_ids(const std::vector<SampledToken>& tokens) {
    Json list = Json::array();
    for (const SampledToken& token : tokens) list.push_back(token.token);
    return list;
}

Json tool_call(const ToolCall& call) {
    return {{"id", call.id},
            {"type", "function"},
            {"function", {{"name", call.name}, {"arguments", call.arguments}}}};
}

Json tool_call_delta(const ToolCallDelta& call) {
    Json delta = {{"index", call.index}};
    Json function = Json::object();
    if (!call.id.empty()) {
        delta["id"] = call.id;
        delta["type"] = "function";
        function["name"] = call.name;
    }
    function["arguments"] = call.arguments;
    delta["function"] = std::move(function);
    return delta;
}

}  // namespace sheaf::answer
