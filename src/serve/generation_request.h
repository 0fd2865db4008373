// GenerationRequest: all that a client asked for, typed and bounded, whatever wire it came over. Made by the
// request readers from JSON; carried out by GenerationService. Must not know HTTP.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/sampling_params.h"

namespace sheaf {

/// A prompt that needs no template: text whose special tokens are parsed, or ready tokens.
struct RawPrompt {
    bool is_tokens = false;
    std::string text;
    std::vector<int32_t> token_ids;
};

struct GenerationRequest {
    /// OpenAI-form messages; null: `prompts` are given instead.
    nlohmann::ordered_json messages;
    std::vector<RawPrompt> prompts;

    nlohmann::ordered_json tools;                                               // array or null
    nlohmann::ordered_json template_kwargs = nlohmann::ordered_json::object();  // variables of the template
    bool add_generation_prompt = true;
    bool continue_final_message = false;

    /// max_tokens and seed in it are not valid; see below.
    SamplingParams sampling;
    std::optional<int32_t> max_tokens;  // none: as many as the context leaves
    std::optional<uint64_t> seed;       // none: random
    int32_t n = 1;                      // choices per prompt
    std::vector<std::string> stop;
    bool include_stop = false;
    bool skip_special_tokens = true;
    std::optional<int32_t> truncate_prompt_tokens;  // keep the last so many; -1: as many as fit

    bool parse_output = true;  // false: only the raw text is wanted
    bool parse_tools = true;   // false: tool calls stay text
    bool parallel_tool_calls = true;
    bool include_reasoning = true;

    bool stream = false;
    bool include_usage = false, continuous_usage = false;
    bool echo = false;
    bool return_token_ids = false;
    bool return_tokens_as_token_ids = false;

    std::string model;  // empty: not named
    bool is_chat() const { return !messages.is_null(); }
};

}  // namespace sheaf
