// Request readers: JSON in, GenerationRequest out; every field typed, bounded and either used, knowingly
// ignored or refused by name. Used by the HTTP endpoints and, for its input lines, by `sheaf generate`. Must
// not know HTTP, templates or tokens.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "serve/generation_request.h"
#include "serve/limits.h"

namespace sheaf {

/// What a request gets where it says nothing: from generation_config.json and the command line.
struct GenerationDefaults {
    std::optional<float> temperature, top_p, min_p, repetition_penalty;
    std::optional<int32_t> top_k;
    std::optional<int32_t> max_tokens;  // a cap on every request, as in vLLM
    nlohmann::ordered_json template_kwargs = nlohmann::ordered_json::object();

    /// From the object in a generation_config.json; members of other types are left out.
    static GenerationDefaults from_json(const nlohmann::ordered_json& generation_config);
};

/// What the readers must know of the server and its model.
struct ReaderContext {
    GenerationDefaults defaults;
    RequestLimits limits;
    int32_t vocabulary_size = 0;
};

/// The body of /v1/chat/completions. Errors: RequestError (invalid_input or unsupported), naming the field.
GenerationRequest read_chat_request(const nlohmann::ordered_json& body, const ReaderContext& context);

/// The body of /v1/completions.
GenerationRequest read_completion_request(const nlohmann::ordered_json& body, const ReaderContext& context);

/// One input line of `sheaf generate`: exactly one of token_ids, prompt and messages, and any field of a chat
/// completion. `id` is left to the caller.
GenerationRequest read_line_request(const nlohmann::ordered_json& line, const ReaderContext& context);

}  // namespace sheaf
