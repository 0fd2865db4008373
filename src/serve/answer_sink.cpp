#include "serve/answer_sink.h"

#include <chrono>
#include <utility>

#include "serve/json_reader.h"

namespace sheaf {

namespace {

int status_of(Failure::Kind kind) {
    switch (kind) {
        case Failure::Kind::bad_request:
            return 400;
        case Failure::Kind::not_found:
            return 404;
        case Failure::Kind::queue_full:
            return 429;
        case Failure::Kind::shutting_down:
            return 503;
        case Failure::Kind::internal:
            return 500;
    }
    return 500;
}

}  // namespace

HttpResponse failure_response(const Failure& failure) {
    const int status = status_of(failure.kind);
    HttpResponse response{.status = status,
                          .body = dump_json(answer::error(status, failure.message, failure.param))};
    if (failure.kind == Failure::Kind::queue_full) response.headers.emplace_back("Retry-After", "1");
    return response;
}

AnswerSink::AnswerSink(std::shared_ptr<Exchange> exchange, const GenerationService& service,
                       size_t stream_bytes, std::string fingerprint)
    : exchange_(std::move(exchange)),
      service_(service),
      stream_bytes_(stream_bytes),
      fingerprint_(std::move(fingerprint)),
      created_(std::chrono::duration_cast<std::chrono::seconds>(
                   std::chrono::system_clock::now().time_since_epoch())
                   .count()) {}

answer::TokenNames AnswerSink::names() const {
    return {tokenizer(), request().return_tokens_as_token_ids};
}

void AnswerSink::accepted(const GenerationRequest& request, const std::vector<BuiltPrompt>& prompts) {
    request_ = &request;
    prompts_ = &prompts;
    id_ = id_prefix() + exchange_->request().id;
    model_ = request.model.empty() ? service_.model().names.front() : request.model;
    choices_.resize(prompts.size() * static_cast<size_t>(request.n));
    started();
    if (!request.stream) return;
    HttpResponse head;
    head.content_type = "text/event-stream; charset=utf-8";
    head.headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};
    exchange_->begin_stream(std::move(head), ": ping\n\n");
}

void AnswerSink::delta(Delta delta, const Usage& usage) {
    if (request().stream)
        stream_delta(std::move(delta), usage);
    else
        choices_[static_cast<size_t>(delta.choice)].add(std::move(delta));
}

void AnswerSink::finished(const Usage& usage) {
    if (!request().stream) {
        const bool aborted = choices_.front().finish_reason == "abort";
        if (aborted) return failed({Failure::Kind::shutting_down, "the server is shutting down", {}});
        Json answer = frame(false);
        whole(answer);
        answer["usage"] = answer::usage(usage);
        exchange_->reply({.body = dump_json(answer)});
        return;
    }
    if (request().include_usage) {
        Json event = frame(true);
        event["choices"] = Json::array();
        event["usage"] = answer::usage(usage);
        send(event);
    }
    exchange_->write("data: [DONE]\n\n");
    exchange_->end();
}

void AnswerSink::failed(const Failure& failure) {
    if (!request_ || !request().stream) {
        exchange_->reply(failure_response(failure));
        return;
    }
    send(answer::error(status_of(failure.kind), failure.message, failure.param));
    exchange_->write("data: [DONE]\n\n");
    exchange_->end();
}

AnswerSink::Json AnswerSink::frame(bool chunk) const {
    Json frame = {{"id", id_}, {"object", object(chunk)}, {"created", created_}, {"model", model_}};
    if (!fingerprint_.empty()) frame["system_fingerprint"] = fingerprint_;
    return frame;
}

void AnswerSink::send(const Json& event) {
    exchange_->write("data: " + dump_json(event) + "\n\n");
}

void AnswerSink::send_choice(Json choice, const Usage& usage, Json more) {
    Json event = frame(true);
    event["choices"] = Json::array({std::move(choice)});
    event.update(more);
    if (request().continuous_usage)
        event["usage"] = answer::usage(usage);
    else if (request().include_usage)
        event["usage"] = nullptr;
    send(event);
}

std::shared_ptr<Generation> start_answer(GenerationService& service,
                                         const std::shared_ptr<Exchange>& exchange,
                                         GenerationService::RequestMaker make,
                                         std::shared_ptr<GenerationSink> sink) {
    std::shared_ptr<Generation> generation = service.start(std::move(make), std::move(sink));
    exchange->on_progress([weak = std::weak_ptr(generation)] {
        if (const auto alive = weak.lock()) alive->resume();
    });
    exchange->hold(generation);
    return generation;
}

}  // namespace sheaf
