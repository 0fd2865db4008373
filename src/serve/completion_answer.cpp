// The shapes of /v1/completions.
#include <algorithm>
#include <utility>

#include "processor/tokenizer.h"
#include "serve/answer_sink.h"
#include "serve/json_reader.h"

namespace sheaf {

namespace {

class CompletionSink : public AnswerSink {
  public:
    using AnswerSink::AnswerSink;

  protected:
    const char* id_prefix() const override { return "cmpl-"; }
    const char* object(bool) const override { return "text_completion"; }

    void started() override { progress_.resize(choices().size()); }

    void stream_delta(Delta&& delta, const Usage& usage) override {
        Progress& progress = progress_[static_cast<size_t>(delta.choice)];
        const bool first = !std::exchange(progress.opened, true);
        const bool extras = request().return_token_ids || request().sampling.logprobs >= 0;
        const bool echo = first && request().echo;
        if (delta.text.empty() && !delta.finish_reason && !echo && !(extras && !delta.tokens.empty())) {
            progress.opened = !first;
            return;
        }
        Json choice = {{"index", delta.choice}, {"text", delta.text}, {"logprobs", nullptr}};
        if (echo) choice["text"] = prompt_text(delta.choice) + delta.text;
        if (request().sampling.logprobs >= 0)
            choice["logprobs"] =
                logprobs(delta.choice, delta.tokens, delta.prompt_logprobs, first, progress.offset);
        choice["finish_reason"] = delta.finish_reason ? Json(*delta.finish_reason) : Json();
        choice["stop_reason"] = delta.stop_reason;
        if (request().return_token_ids) {
            choice["token_ids"] = answer::token_ids(delta.tokens);
            if (first) choice["prompt_token_ids"] = prompt_ids(delta.choice);
        }
        send_choice(std::move(choice), usage);
    }

    void whole(Json& answer) override {
        Json list = Json::array();
        for (size_t i = 0; i < choices().size(); ++i) {
            const ChoiceResult& result = choices()[i];
            const auto index = static_cast<int32_t>(i);
            Json choice = {{"index", i}, {"text", result.text}, {"logprobs", nullptr}};
            if (request().echo) choice["text"] = prompt_text(index) + result.text;
            size_t offset = 0;
            if (request().sampling.logprobs >= 0)
                choice["logprobs"] = logprobs(index, result.tokens, result.prompt_logprobs, true, offset);
            choice["finish_reason"] = result.finish_reason;
            choice["stop_reason"] = result.stop_reason;
            if (request().sampling.prompt_logprobs >= 0)
                choice["prompt_logprobs"] = answer::prompt_logprobs(result.prompt_logprobs, names());
            if (request().return_token_ids) {
                choice["token_ids"] = answer::token_ids(result.tokens);
                choice["prompt_token_ids"] = prompt_ids(index);
            }
            list.push_back(std::move(choice));
        }
        answer["choices"] = std::move(list);
    }

  private:
    struct Progress {
        bool opened = false;
        size_t offset = 0;  // of the next token's text, in code points
    };

    const std::vector<int32_t>& prompt_ids(int32_t choice) const {
        return prompts()[static_cast<size_t>(choice / request().n)].prompt.token_ids;
    }

    std::string prompt_text(int32_t choice) const {
        const RawPrompt& raw = request().prompts[static_cast<size_t>(choice / request().n)];
        const bool whole_text = !raw.is_tokens && !request().truncate_prompt_tokens;
        return whole_text ? raw.text : tokenizer().decode(prompt_ids(choice));
    }

    Json logprobs(int32_t choice, const std::vector<SampledToken>& tokens,
                  const std::vector<PromptLogprob>& prompt_logprobs, bool first, size_t& offset) const {
        answer::CompletionLogprobs lists;
        if (first && request().echo) lists.add_prompt(prompt_ids(choice), prompt_logprobs, names(), offset);
        lists.add(tokens, names(), offset);
        return std::move(lists).json();
    }

    std::vector<Progress> progress_;
};

}  // namespace

std::shared_ptr<Generation> answer_completion(GenerationService& service, std::shared_ptr<Exchange> exchange,
                                              const AnswerOptions& options) {
    auto sink =
        std::make_shared<CompletionSink>(exchange, service, options.stream_bytes, options.fingerprint);
    auto make = [&service, exchange, always_usage = options.always_usage] {
        const std::string body = exchange->take_body();
        GenerationRequest request = read_completion_request(
            parse_json(body, {service.context().limits.json_depth, service.context().limits.json_nodes}),
            service.context());
        request.include_usage = request.include_usage || always_usage;
        return request;
    };
    return start_answer(service, exchange, std::move(make), std::move(sink));
}

}  // namespace sheaf
