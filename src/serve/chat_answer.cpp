// The shapes of /v1/chat/completions.
#include <algorithm>
#include <utility>

#include "serve/answer_sink.h"
#include "serve/json_reader.h"

namespace sheaf {

namespace {

class ChatSink : public AnswerSink {
  public:
    using AnswerSink::AnswerSink;

  protected:
    const char* id_prefix() const override { return "chatcmpl-"; }
    const char* object(bool chunk) const override {
        return chunk ? "chat.completion.chunk" : "chat.completion";
    }

    void started() override { opened_.assign(choices().size(), false); }

    void stream_delta(Delta&& delta, const Usage& usage) override {
        const auto index = static_cast<size_t>(delta.choice);
        if (!opened_[index]) {
            opened_[index] = true;
            Json more = Json::object();
            if (request().return_token_ids) more["prompt_token_ids"] = prompts().front().prompt.token_ids;
            send_choice(chunk(delta.choice, {{"role", "assistant"}, {"content", ""}}), usage,
                        std::move(more));
        }
        Json content = delta_json(delta);
        const bool extras =
            !delta.tokens.empty() && (request().sampling.logprobs >= 0 || request().return_token_ids);
        if (!content.empty() || extras) {
            Json choice = chunk(delta.choice, std::move(content));
            add_extras(choice, delta.tokens);
            send_choice(std::move(choice), usage);
        }
        if (!delta.finish_reason) return;
        Json choice = chunk(delta.choice, Json::object());
        choice["finish_reason"] = *delta.finish_reason;
        choice["stop_reason"] = delta.stop_reason;
        send_choice(std::move(choice), usage);
    }

    void whole(Json& answer) override {
        Json list = Json::array();
        for (size_t i = 0; i < choices().size(); ++i) {
            const ChoiceResult& result = choices()[i];
            Json choice = {{"index", i}, {"message", message(result)}, {"logprobs", nullptr}};
            add_extras(choice, result.tokens);
            choice["finish_reason"] = result.finish_reason;
            choice["stop_reason"] = result.stop_reason;
            list.push_back(std::move(choice));
        }
        answer["choices"] = std::move(list);
        if (request().sampling.prompt_logprobs >= 0)
            answer["prompt_logprobs"] = answer::prompt_logprobs(choices().front().prompt_logprobs, names());
        if (request().return_token_ids) answer["prompt_token_ids"] = prompts().front().prompt.token_ids;
    }

  private:
    static Json chunk(int32_t index, Json delta) {
        return {
            {"index", index}, {"delta", std::move(delta)}, {"logprobs", nullptr}, {"finish_reason", nullptr}};
    }

    // Reasoning under both names: `reasoning` (vLLM) and `reasoning_content` (most others).
    static void set_reasoning(Json& to, const Json& text) {
        to["reasoning"] = text;
        to["reasoning_content"] = text;
    }

    Json delta_json(const Delta& delta) const {
        Json result = Json::object();
        if (!delta.parsed.reasoning.empty() && request().include_reasoning)
            set_reasoning(result, delta.parsed.reasoning);
        if (!delta.parsed.content.empty()) result["content"] = delta.parsed.content;
        Json calls = Json::array();
        for (const ToolCallDelta& call : delta.parsed.tool_calls)
            if (call.index == 0 || request().parallel_tool_calls)
                calls.push_back(answer::tool_call_delta(call));
        if (!calls.empty()) result["tool_calls"] = std::move(calls);
        return result;
    }

    Json message(const ChoiceResult& result) const {
        Json message = {{"role", "assistant"}};
        const bool only_text = result.reasoning.empty() && result.tool_calls.empty();
        message["content"] = result.content.empty() && !only_text ? Json() : Json(result.content);
        if (request().include_reasoning)
            set_reasoning(message, result.reasoning.empty() ? Json() : Json(result.reasoning));
        Json calls = Json::array();
        for (const ToolCall& call : result.tool_calls)
            if (calls.empty() || request().parallel_tool_calls) calls.push_back(answer::tool_call(call));
        if (!calls.empty()) message["tool_calls"] = std::move(calls);
        return message;
    }

    void add_extras(Json& choice, const std::vector<SampledToken>& tokens) const {
        if (request().sampling.logprobs >= 0) choice["logprobs"] = answer::chat_logprobs(tokens, names());
        if (request().return_token_ids) choice["token_ids"] = answer::token_ids(tokens);
    }

    std::vector<bool> opened_;
};

}  // namespace

std::shared_ptr<Generation> answer_chat(GenerationService& service, std::shared_ptr<Exchange> exchange,
                                        const AnswerOptions& options) {
    auto sink = std::make_shared<ChatSink>(exchange, service, options.stream_bytes, options.fingerprint);
    auto make = [&service, exchange, always_usage = options.always_usage] {
        const std::string body = exchange->take_body();
        GenerationRequest request = read_chat_request(
            parse_json(body, {service.context().limits.json_depth, service.context().limits.json_nodes}),
            service.context());
        request.include_usage = request.include_usage || always_usage;
        return request;
    };
    return start_answer(service, exchange, std::move(make), std::move(sink));
}

}  // namespace sheaf
