#include "serve/generation_result.h"

#include <utility>

#include "serve/answer_json.h"

namespace sheaf {

using Json = nlohmann::ordered_json;

void ChoiceResult::add(Delta&& delta) {
    text += delta.text;
    reasoning += delta.parsed.reasoning;
    content += delta.parsed.content;
    for (ToolCallDelta& call : delta.parsed.tool_calls) {
        const auto index = static_cast<size_t>(call.index);
        if (index >= tool_calls.size()) tool_calls.resize(index + 1);
        if (!call.id.empty()) {
            tool_calls[index].id = std::move(call.id);
            tool_calls[index].name = std::move(call.name);
        }
        tool_calls[index].arguments += call.arguments;
    }
    std::ranges::move(delta.tokens, std::back_inserter(tokens));
    std::ranges::move(delta.prompt_logprobs, std::back_inserter(prompt_logprobs));
    if (delta.finish_reason) {
        finish_reason = std::move(*delta.finish_reason);
        stop_reason = std::move(delta.stop_reason);
    }
}

void ResultCollector::accepted(const GenerationRequest& given, const std::vector<BuiltPrompt>& built) {
    request = given;
    request->messages = nullptr;
    request->tools = nullptr;
    for (const BuiltPrompt& one : built) prompts.push_back(one.prompt.token_ids);
    choices.resize(built.size() * static_cast<size_t>(given.n));
}

void ResultCollector::delta(Delta delta, const Usage&) {
    choices[static_cast<size_t>(delta.choice)].add(std::move(delta));
}

void ResultCollector::finished(const Usage& total) {
    usage = total;
    end();
}

void ResultCollector::failed(const Failure& why) {
    failure = why;
    end();
}

void ResultCollector::end() {
    std::lock_guard lock(mutex_);
    done_ = true;
    ended_.notify_all();
}

void ResultCollector::wait() {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return done_; });
}

bool ResultCollector::done() const {
    std::lock_guard lock(mutex_);
    return done_;
}

namespace {

Json optional_text(const std::string& text) {
    return text.empty() ? Json() : Json(text);
}

Json choice_json(const ChoiceResult& choice, const ResultCollector& collector, const Tokenizer& tokenizer) {
    Json line = Json::object();
    line["token_ids"] = answer::token_ids(choice.tokens);
    line["text"] = choice.text;
    line["reasoning"] = optional_text(choice.reasoning);
    const bool nothing_else = choice.reasoning.empty() && choice.tool_calls.empty();
    line["content"] = nothing_else ? Json(choice.content) : optional_text(choice.content);
    line["tool_calls"] = Json::array();
    for (const ToolCall& call : choice.tool_calls) line["tool_calls"].push_back(answer::tool_call(call));
    line["finish_reason"] = choice.finish_reason;
    line["stop_reason"] = choice.stop_reason;
    const answer::TokenNames names{tokenizer, collector.request->return_tokens_as_token_ids};
    if (collector.request->sampling.logprobs >= 0)
        line["logprobs"] = answer::chat_logprobs(choice.tokens, names);
    if (collector.request->sampling.prompt_logprobs >= 0)
        line["prompt_logprobs"] = answer::prompt_logprobs(choice.prompt_logprobs, names);
    return line;
}

}  // namespace

Json line_result(const Json& id, const ResultCollector& collector, const Tokenizer& tokenizer) {
    if (collector.failure) return {{"id", id}, {"error", collector.failure->message}};
    Json line = {{"id", id}, {"prompt_token_ids", collector.prompts.at(0)}};
    line.update(choice_json(collector.choices.at(0), collector, tokenizer));
    line["usage"] = answer::usage(collector.usage);
    if (collector.choices.size() > 1) {
        Json all = Json::array();
        for (const ChoiceResult& choice : collector.choices)
            all.push_back(choice_json(choice, collector, tokenizer));
        line["choices"] = std::move(all);
    }
    return line;
}

}  // namespace sheaf
