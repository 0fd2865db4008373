// AnswerSink: carries one generation request of an HTTP client: the answer at once or as a stream of events,
// its errors in OpenAI's form, back-pressure. The chat and completion endpoints fill in the shapes. Must not
// know sockets or the engine.
#pragma once

#include <memory>
#include <string>

#include "serve/answer_json.h"
#include "serve/generation_result.h"
#include "serve/generation_service.h"
#include "serve/http_types.h"

namespace sheaf {

/// What a failure looks like over HTTP.
HttpResponse failure_response(const Failure& failure);

class AnswerSink : public GenerationSink {
  public:
    AnswerSink(std::shared_ptr<Exchange> exchange, const GenerationService& service, size_t stream_bytes,
               std::string fingerprint);

    void accepted(const GenerationRequest& request, const std::vector<BuiltPrompt>& prompts) final;
    void delta(Delta delta, const Usage& usage) final;
    void finished(const Usage& usage) final;
    void failed(const Failure& failure) final;
    bool writable() final { return exchange_->writable(stream_bytes_); }

  protected:
    using Json = nlohmann::ordered_json;

    /// "chatcmpl-" or "cmpl-".
    virtual const char* id_prefix() const = 0;
    virtual const char* object(bool chunk) const = 0;
    /// Sends the events of one delta.
    virtual void stream_delta(Delta&& delta, const Usage& usage) = 0;
    /// The choices of a whole answer, and what else belongs at its top.
    virtual void whole(Json& answer) = 0;
    virtual void started() {}

    /// {id, object, created, model} and, for a chunk, one choice.
    Json frame(bool chunk) const;
    void send(const Json& event);
    /// A chunk with this choice; adds usage where the client wants it in every chunk.
    void send_choice(Json choice, const Usage& usage, Json more = Json::object());
    answer::TokenNames names() const;
    const GenerationRequest& request() const { return *request_; }
    const std::vector<BuiltPrompt>& prompts() const { return *prompts_; }
    const Tokenizer& tokenizer() const { return *service_.model().tokenizer; }
    std::vector<ChoiceResult>& choices() { return choices_; }

  private:
    std::shared_ptr<Exchange> exchange_;
    const GenerationService& service_;
    size_t stream_bytes_;
    std::string id_, fingerprint_, model_;
    int64_t created_;
    const GenerationRequest* request_ = nullptr;  // of the generation, which outlives its sink's calls
    const std::vector<BuiltPrompt>* prompts_ = nullptr;
    std::vector<ChoiceResult> choices_;  // of an answer that is not streamed
};

/// Answers a request to /v1/chat/completions or /v1/completions. Returns at once.
struct AnswerOptions {
    size_t stream_bytes = 1u << 20;
    std::string fingerprint;
    bool always_usage = false;  // --enable-force-include-usage
};
std::shared_ptr<Generation> answer_chat(GenerationService& service, std::shared_ptr<Exchange> exchange,
                                        const AnswerOptions& options);
std::shared_ptr<Generation> answer_completion(GenerationService& service, std::shared_ptr<Exchange> exchange,
                                              const AnswerOptions& options);

/// Starts `make` with `sink` and ties the generation's life to the exchange's.
std::shared_ptr<Generation> start_answer(GenerationService& service,
                                         const std::shared_ptr<Exchange>& exchange,
                                         GenerationService::RequestMaker make,
                                         std::shared_ptr<GenerationSink> sink);

}  // namespace sheaf
