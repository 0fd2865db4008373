#include "serve/generation_job.h"

#include <algorithm>

#include "serve/request_error.h"

namespace sheaf {

namespace {

// Seeds of the choices of one request: unrelated streams of noise, the first that of the request itself.
uint64_t derived_seed(uint64_t seed, uint64_t choice) {
    if (choice == 0) return seed;
    uint64_t x = seed + choice * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

double seconds(std::chrono::steady_clock::duration duration) {
    return std::chrono::duration<double>(duration).count();
}

void append(OutputDelta& to, OutputDelta&& from) {
    to.reasoning += from.reasoning;
    to.content += from.content;
    for (ToolCallDelta& call : from.tool_calls) {
        if (!to.tool_calls.empty() && to.tool_calls.back().index == call.index && call.id.empty())
            to.tool_calls.back().arguments += call.arguments;
        else
            to.tool_calls.push_back(std::move(call));
    }
}

}  // namespace

GenerationJob::GenerationJob(GenerationService& service, std::shared_ptr<GenerationSink> sink)
    : service_(service), sink_(std::move(sink)) {}

void GenerationJob::prepare(const GenerationService::RequestMaker& make) {
    {
        std::lock_guard lock(delivery_mutex_);
        if (closed_) return;
    }
    try {
        GenerationRequest request = make();
        service_.check_model_name(request.model);
        auto prompts = service_.prompts_.build(request, service_.max_model_len());
        std::lock_guard lock(delivery_mutex_);
        if (closed_) return;
        request_ = std::move(request);
        prompts_ = std::move(prompts);
        submit_all();
        if (closed_) return;
        sink_->accepted(request_, prompts_);
    } catch (...) {
        const Failure failure = describe_failure(std::current_exception());
        std::lock_guard lock(delivery_mutex_);
        fail_locked(failure);
        return;
    }
    std::lock_guard lock(mail_mutex_);
    open_ = true;
    schedule_locked();
}

SamplingParams GenerationJob::parameters(int32_t choice) const {
    SamplingParams sampling = request_.sampling;
    sampling.seed = derived_seed(*request_.seed, static_cast<uint64_t>(choice % request_.n));
    sampling.max_tokens = request_.max_tokens.value_or(service_.max_model_len());
    return sampling;
}

void GenerationJob::add_choice(size_t prompt) {
    const ServedModel& model = service_.model();
    Choice& choice = choices_.emplace_back();
    choice.text.emplace(*model.tokenizer, request_.stop, request_.include_stop, request_.skip_special_tokens);
    choice.in_reasoning = prompts_[prompt].starts_in_reasoning;
    if (!request_.parse_output) return;
    const bool tools = request_.parse_tools && model.parse_tools && !request_.tools.is_null();
    choice.parser.emplace(request_.tools, model.parse_reasoning && choice.in_reasoning, tools);
}

void GenerationJob::submit_all() {
    if (!request_.seed) request_.seed = service_.seeds_.fetch_add(0x9e3779b97f4a7c15u);
    for (size_t prompt = 0; prompt < prompts_.size(); ++prompt) {
        usage_.prompt_tokens += static_cast<int64_t>(prompts_[prompt].prompt.token_ids.size());
        for (int32_t k = 0; k < request_.n; ++k) add_choice(prompt);
    }
    open_choices_ = choices_.size();
    record_.n = request_.n;
    record_.max_tokens = request_.max_tokens;
    for (size_t i = 0; i < choices_.size(); ++i) {
        const auto number = static_cast<int32_t>(i);
        choices_[i].handle = service_.model().engine->submit(
            prompts_[i / static_cast<size_t>(request_.n)].prompt, parameters(number),
            [self = weak_from_this(), number](RequestUpdate update) {
                if (const auto job = self.lock()) job->post(number, std::move(update));
            });
        if (choices_[i].handle) continue;
        fail_locked({Failure::Kind::queue_full, "too many requests are waiting; try again later", {}});
        return;
    }
}

void GenerationJob::post(int32_t choice, RequestUpdate update) {
    std::lock_guard lock(mail_mutex_);
    mail_.emplace_back(choice, std::move(update));
    schedule_locked();
}

void GenerationJob::schedule_locked() {
    if (!open_ || scheduled_ || paused_ || mail_.empty()) return;
    scheduled_ = true;
    service_.delivery_.post([self = shared_from_this()] { self->deliver(); });
}

void GenerationJob::resume() {
    std::lock_guard lock(mail_mutex_);
    paused_ = false;
    schedule_locked();
}

bool GenerationJob::take_mail(std::deque<std::pair<int32_t, RequestUpdate>>& mail) {
    std::lock_guard lock(mail_mutex_);
    if (!sink_->writable()) {
        paused_ = true;
        // It may have become writable just before the pause was noted.
        if (sink_->writable()) paused_ = false;
    }
    if (!paused_) mail.swap(mail_);
    if (!mail.empty()) return true;
    scheduled_ = false;
    return false;
}

void GenerationJob::deliver() {
    std::lock_guard lock(delivery_mutex_);
    std::deque<std::pair<int32_t, RequestUpdate>> mail;
    while (!closed_ && take_mail(mail)) {
        try {
            handle_mail(mail);
        } catch (...) {
            fail_locked(describe_failure(std::current_exception()));
        }
        mail.clear();
    }
}

void GenerationJob::handle_mail(std::deque<std::pair<int32_t, RequestUpdate>>& mail) {
    std::vector<Delta> deltas;  // one per choice, however many updates have come
    for (auto& [number, update] : mail) {
        Choice& choice = choices_[static_cast<size_t>(number)];
        if (choice.done) continue;
        if (update.finish == FinishReason::error) {
            fail_locked(describe_failure(std::make_exception_ptr(std::runtime_error(update.error))));
            return;
        }
        auto delta = std::ranges::find(deltas, number, &Delta::choice);
        if (delta == deltas.end()) {
            delta = deltas.insert(deltas.end(), Delta{});
            delta->choice = number;
        }
        observe(update);
        apply(choice, update, *delta);
    }
    for (Delta& delta : deltas) {
        if (record_.finish_reason.empty() && delta.finish_reason && delta.choice == 0)
            record_.finish_reason = *delta.finish_reason;
        sink_->delta(std::move(delta), usage_);
    }
    if (open_choices_ > 0) return;
    sink_->finished(usage_);
    end_locked(record_.finish_reason);
}

void GenerationJob::apply(Choice& choice, RequestUpdate& update, Delta& delta) {
    // A prompt counts once, however many choices share it.
    if (choice.generated == 0 && delta.choice % request_.n == 0) usage_.cached_tokens += update.cached_tokens;
    std::ranges::move(update.prompt_logprobs, std::back_inserter(delta.prompt_logprobs));
    std::string text;
    take_tokens(choice, update, delta, text);
    if (choice.text->stopped())
        finish_choice(choice, FinishReason::stop, {}, delta, text);
    else if (update.finish)
        finish_choice(choice, *update.finish, update.stop_token, delta, text);
    if (choice.parser) {
        append(delta.parsed, choice.parser->push(text));
        if (choice.done) append(delta.parsed, choice.parser->finish());
        if (choice.done && delta.finish_reason == "stop" && choice.parser->tool_calls() > 0)
            delta.finish_reason = "tool_calls";
    }
    delta.text += text;
}

void GenerationJob::take_tokens(Choice& choice, RequestUpdate& update, Delta& delta, std::string& text) {
    for (size_t i = 0; i < update.tokens.size(); ++i) {
        SampledToken& token = update.tokens[i];
        ++choice.generated;
        ++usage_.completion_tokens;
        if (choice.in_reasoning) {
            ++usage_.reasoning_tokens;
            if (token.token == service_.end_of_thinking_) choice.in_reasoning = false;
        }
        const bool ends = update.finish == FinishReason::stop && i + 1 == update.tokens.size();
        // The token that ends a sequence is no part of its text.
        if (!ends || request_.include_stop) text += choice.text->push(token.token);
        delta.tokens.push_back(std::move(token));
        if (choice.text->stopped()) return;
    }
}

void GenerationJob::finish_choice(Choice& choice, FinishReason reason, std::optional<int32_t> stop_token,
                                  Delta& delta, std::string& text) {
    text += choice.text->finish();
    if (choice.text->stopped()) reason = FinishReason::stop;
    delta.finish_reason = reason == FinishReason::stop     ? "stop"
                          : reason == FinishReason::length ? "length"
                                                           : "abort";
    if (choice.text->matched())
        delta.stop_reason = *choice.text->matched();
    else if (reason == FinishReason::stop && stop_token)
        delta.stop_reason = *stop_token;
    choice.done = true;
    choice.handle.reset();
    record_.longest_choice = std::max(record_.longest_choice, choice.generated);
    --open_choices_;
}

void GenerationJob::observe(const RequestUpdate& update) {
    if (update.tokens.empty()) return;
    const auto now = Clock::now();
    auto count = static_cast<int32_t>(update.tokens.size());
    if (!first_token_) {
        first_token_ = now;
        record_.first_token = seconds(now - arrival_);
        record_.queue = update.queue_seconds;
        record_.prefill = update.prefill_seconds;
        if (service_.monitor_) service_.monitor_->first_token(*record_.first_token);
        --count;
    }
    if (count > 0 && service_.monitor_)
        service_.monitor_->next_tokens(seconds(now - last_token_.value_or(now)), count);
    last_token_ = now;
}

void GenerationJob::abort(const Failure& failure) {
    std::lock_guard lock(delivery_mutex_);
    fail_locked(failure);
}

void GenerationJob::close() {
    std::lock_guard lock(delivery_mutex_);
    if (!closed_) end_locked("abort");
}

void GenerationJob::fail_locked(const Failure& failure) {
    if (closed_) return;
    sink_->failed(failure);
    end_locked(failure.kind == Failure::Kind::internal ? "error" : "abort");
}

// Gives everything back. The engine's handles go on a delivery thread: their destruction may have to wait for
// the engine, which neither the network's thread nor a preparation should.
void GenerationJob::end_locked(const std::string& reason) {
    closed_ = true;
    std::vector<std::unique_ptr<Request>> handles;
    for (Choice& choice : choices_) {
        if (choice.handle) handles.push_back(std::move(choice.handle));
    }
    if (!handles.empty()) {
        auto shared = std::make_shared<decltype(handles)>(std::move(handles));
        service_.delivery_.post([shared] { shared->clear(); });
    }
    if (service_.monitor_ && !choices_.empty()) {
        record_.finish_reason = reason;
        record_.usage = usage_;
        record_.total = seconds(Clock::now() - arrival_);
        if (first_token_) record_.decode = seconds(last_token_.value_or(*first_token_) - *first_token_);
        service_.monitor_->finished(record_);
    }
    sink_.reset();
}

}  // namespace sheaf
