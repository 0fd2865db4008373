// The parts of answers that several forms share, in OpenAI's and vLLM's spelling. Used by the endpoints and
// by `generate`'s lines. Must not know HTTP or the engine's life.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "serve/generation_service.h"

namespace sheaf::answer {

using Json = nlohmann::ordered_json;

/// {"error": {"message", "type", "param", "code"}}
Json error(int status, const std::string& message, const std::string& param = {});

Json usage(const Usage& usage);

/// Names of tokens in log-probability lists.
struct TokenNames {
    const Tokenizer& tokenizer;
    bool as_ids = false;  // "token_id:N" instead of text

    std::string operator()(int32_t id) const;
};

/// Chat form: {"content": [{token, logprob, bytes, top_logprobs}]}
Json chat_logprobs(const std::vector<SampledToken>& tokens, const TokenNames& names);

/// Completion form: tokens, token_logprobs, top_logprobs, text_offset. `offset` is where the first token's
/// text begins, in code points, and is moved to the end of the last.
struct CompletionLogprobs {
    Json tokens = Json::array(), token_logprobs = Json::array(), top_logprobs = Json::array(),
         text_offset = Json::array();

    void add(const std::vector<SampledToken>& sampled, const TokenNames& names, size_t& offset);
    /// The tokens of a prompt; the first has no log-probability.
    void add_prompt(const std::vector<int32_t>& ids, const std::vector<PromptLogprob>& logprobs,
                    const TokenNames& names, size_t& offset);
    Json json() &&;

  private:
    void push(int32_t id, const TokenLogprob* logprob, const std::vector<TokenLogprob>& alternatives,
              const TokenNames& names, size_t& offset);
};

/// vLLM's prompt_logprobs: [null, {"ID": {"logprob", "rank", "decoded_token"}}, ...]
Json prompt_logprobs(const std::vector<PromptLogprob>& logprobs, const TokenNames& names);

Json token_ids(const std::vector<SampledToken>& tokens);

/// One complete call: {"id", "type", "function": {"name", "arguments"}}
Json tool_call(const ToolCall& call);

/// A piece of a call in a stream.
Json tool_call_delta(const ToolCallDelta& call);

}  // namespace sheaf::answer
