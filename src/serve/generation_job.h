// GenerationJob: one request on its way through GenerationService. Internal to it. Must not know HTTP.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "processor/text_stream.h"
#include "serve/generation_service.h"

namespace sheaf {

class GenerationJob : public std::enable_shared_from_this<GenerationJob> {
  public:
    GenerationJob(GenerationService& service, std::shared_ptr<GenerationSink> sink);

    /// Reads, renders, tokenises and submits. On a preparation thread.
    void prepare(const GenerationService::RequestMaker& make);
    /// From any thread: nothing is delivered afterwards; engine requests are given back.
    void close();
    void abort(const Failure& failure);
    void resume();

  private:
    using Clock = std::chrono::steady_clock;

    struct Choice {
        std::unique_ptr<Request> handle;
        std::optional<TextStream> text;
        std::optional<OutputParser> parser;
        int64_t generated = 0;
        bool in_reasoning = false;
        bool done = false;
    };

    void submit_all();
    SamplingParams parameters(int32_t choice) const;
    void add_choice(size_t prompt);
    void post(int32_t choice, RequestUpdate update);
    void schedule_locked();
    void deliver();
    bool take_mail(std::deque<std::pair<int32_t, RequestUpdate>>& mail);
    void handle_mail(std::deque<std::pair<int32_t, RequestUpdate>>& mail);
    void apply(Choice& choice, RequestUpdate& update, Delta& delta);
    void take_tokens(Choice& choice, RequestUpdate& update, Delta& delta, std::string& text);
    void finish_choice(Choice& choice, FinishReason reason, std::optional<int32_t> stop_token, Delta& delta,
                       std::string& text);
    void observe(const RequestUpdate& update);
    void fail_locked(const Failure& failure);
    void end_locked(const std::string& reason);

    GenerationService& service_;
    const Clock::time_point arrival_ = Clock::now();

    // Held while the sink is called and while choices are worked on.
    std::mutex delivery_mutex_;
    std::shared_ptr<GenerationSink> sink_;
    bool closed_ = false;
    GenerationRequest request_;
    std::vector<BuiltPrompt> prompts_;
    std::vector<Choice> choices_;
    Usage usage_;
    size_t open_choices_ = 0;
    RequestRecord record_;
    std::optional<Clock::time_point> first_token_, last_token_;

    // What the engine said and nobody has looked at yet.
    std::mutex mail_mutex_;
    std::deque<std::pair<int32_t, RequestUpdate>> mail_;
    bool open_ = false, scheduled_ = false, paused_ = false;
};

}  // namespace sheaf
