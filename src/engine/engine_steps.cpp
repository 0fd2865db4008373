// The engine's steps: what each is asked for, what becomes of its tokens, and what happens when one fails.
#include <algorithm>

#include "base/log.h"
#include "engine/engine_loop.h"
#include "engine/sampler.h"

namespace sheaf {
namespace {

double seconds_between(Sequence::Clock::time_point begin, Sequence::Clock::time_point end) {
    return std::chrono::duration<double>(end - begin).count();
}

/// Numbers of alternatives that steps are made for, as they are recorded for each.
int32_t reported_logprobs(int32_t wanted, int32_t vocabulary) {
    for (const int32_t count : {0, 5, 20, 64})
        if (wanted <= count && count <= vocabulary) return wanted < 0 ? -1 : count;
    return wanted;
}

SampledToken sampled_token(const StepOutput& output, int64_t row, int32_t logprobs) {
    const SampledRow& chosen = output.rows[static_cast<size_t>(row)];
    SampledToken token;
    token.token = chosen.token;
    if (logprobs < 0) return token;
    token.logprob = {chosen.token, chosen.logprob, chosen.rank};
    for (int32_t i = 0; i < logprobs; ++i) {
        const auto at = static_cast<size_t>(row * output.best + i);
        token.alternatives.push_back({output.best_ids[at], output.best_logprobs[at], i + 1});
    }
    return token;
}

}  // namespace

bool EngineLoop::must_wait() const {
    return std::any_of(scheduler_->running().begin(), scheduler_->running().end(), [](const auto& sequence) {
        const bool prompt_wanted = sequence->params.prompt_logprobs >= 0 && !sequence->prompt_reported;
        return sequence->in_flight > 0 && (needs_history(sequence->params) || prompt_wanted);
    });
}

StepWishes EngineLoop::wishes_of(const std::vector<Slice>& slices) {
    StepWishes wishes;
    for (const Slice& slice : slices) {
        Sequence& sequence = *slice.sequence;
        const bool whole = sequence.params.prompt_logprobs >= 0 && !sequence.prompt_reported;
        const int32_t rows = whole ? slice.count : slice.completes() ? 1 : 0;
        wishes.rows.push_back(rows);
        wishes.logits |= whole;
        for (int32_t row = 0; row < rows; ++row) {
            if (row + 1 < rows || !slice.completes() || sequence.params.max_tokens == 0) {
                append_no_choice(wishes.sampling);
                continue;
            }
            if (needs_history(sequence.params))
                sequence.history.update(sequence.tokens, static_cast<size_t>(sequence.prompt_size));
            const std::span<const int32_t> tokens(sequence.tokens);
            append_choice({.vocabulary = vocabulary_size(),
                           .index = sequence.generated() + sequence.in_flight,
                           .generated = tokens.subspan(static_cast<size_t>(sequence.prompt_size)),
                           .history = &sequence.history,
                           .end_tokens = end_tokens_,
                           .token_limit = options_.token_limit},
                          sequence.params, wishes.sampling);
            if (*options_.async_scheduling) wishes.sampling.rows.back().slot = sequence.memory->slot();
        }
    }
    wishes.sampling.logprobs = reported_logprobs(wishes.sampling.logprobs, vocabulary_size());
    return wishes;
}

bool EngineLoop::launch(const std::vector<Slice>& slices) {
    Launched step;
    const StepWishes wishes = wishes_of(slices);
    for (size_t i = 0; i < slices.size(); ++i) {
        Sequence* sequence = slices[i].sequence;
        if (sequence->cached == 0 && sequence->generated() == 0) sequence->started = Clock::now();
        step.parts.push_back({.sequence = sequence,
                              .context = sequence->cached,
                              .count = slices[i].count,
                              .rows = wishes.rows[i],
                              .completes = slices[i].completes()});
    }
    try {
        step.running = runner_->launch(slices, wishes);
    } catch (const std::exception& error) {
        step.error = error.what();
    }
    const bool launched = step.error.empty();
    for (const Part& part : step.parts) {
        if (!launched) break;
        part.sequence->cached += part.count;
        if (part.completes && part.sequence->params.max_tokens > 0) ++part.sequence->in_flight;
    }
    launched_.push_back(std::move(step));
    return launched;
}

void EngineLoop::complete_down_to(size_t steps) {
    while (launched_.size() > steps) {
        Launched& step = launched_.front();
        StepOutput output;
        if (step.error.empty()) {
            try {
                output = step.running.wait();
            } catch (const std::exception& error) {
                step.error = error.what();
            }
        }
        if (step.error.empty()) {
            deliver(step, output);
        } else if (stop_if_broken()) {
            launched_.clear();
            return;
        } else {
            fail_step(step);
        }
        launched_.pop_front();
    }
}

void EngineLoop::deliver(Launched& step, const StepOutput& output) {
    ++steps_;
    int64_t row = 0;
    for (Part& part : step.parts) {
        Sequence* sequence = part.sequence;  // none: it has ended meanwhile
        try {
            if (sequence) apply(part, output, row);
        } catch (const std::exception& error) {
            log::warn("request {} failed: {}", sequence->ticket->id, error.what());
            RequestUpdate update;
            update.error = error.what();
            finish(sequence, std::move(update), FinishReason::error);
        }
        row += part.rows;
    }
}

void EngineLoop::forget(const Sequence* sequence) {
    for (Launched& step : launched_)
        for (Part& part : step.parts)
            if (part.sequence == sequence) part.sequence = nullptr;
}

void EngineLoop::collect_prompt_logprobs(const Part& part, const StepOutput& output, int64_t row) {
    // The logits of prompt token i speak about token i + 1.
    Sequence& sequence = *part.sequence;
    for (int32_t i = 0; i < part.rows; ++i) {
        const int32_t next = part.context + i + 1;
        if (next >= sequence.prompt_size) break;
        sequence.prompt_logprobs.push_back(token_logprobs(output.logits_of(row + i), sequence.tokens[next],
                                                          sequence.params.prompt_logprobs));
    }
}

std::optional<FinishReason> EngineLoop::reason_to_stop(const Sequence& sequence, int32_t token,
                                                       RequestUpdate& update) const {
    const SamplingParams& params = sequence.params;
    if (sequence.generated() >= params.min_tokens) {
        const auto& stops = params.stop_token_ids;
        if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
            update.stop_token = token;
            return FinishReason::stop;
        }
        if (!params.ignore_eos &&
            std::find(end_tokens_.begin(), end_tokens_.end(), token) != end_tokens_.end())
            return FinishReason::stop;
    }
    if (sequence.generated() >= params.max_tokens) return FinishReason::length;
    return std::nullopt;
}

void EngineLoop::apply(const Part& part, const StepOutput& output, int64_t row) {
    Sequence& sequence = *part.sequence;
    if (sequence.params.prompt_logprobs >= 0 && !sequence.prompt_reported)
        collect_prompt_logprobs(part, output, row);
    if (sequence.generated() == 0) prompt_tokens_ += static_cast<uint64_t>(part.count);
    if (!part.completes) return;

    RequestUpdate update;
    update.queue_seconds = seconds_between(sequence.submitted, sequence.started);
    update.prefill_seconds = seconds_between(sequence.started, Clock::now());
    if (!sequence.prompt_reported) {
        update.prompt_logprobs = std::move(sequence.prompt_logprobs);
        sequence.prompt_reported = true;
    }
    if (sequence.params.max_tokens == 0) {
        finish(&sequence, std::move(update), FinishReason::length);
        return;
    }
    const int64_t last = row + part.rows - 1;
    --sequence.in_flight;
    check_chosen(output.rows[static_cast<size_t>(last)].status);
    update.tokens.push_back(sampled_token(output, last, sequence.params.logprobs));
    const int32_t id = update.tokens.back().token;
    sequence.tokens.push_back(id);
    ++generation_tokens_;
    if (const auto why = reason_to_stop(sequence, id, update)) {
        finish(&sequence, std::move(update), *why);
    } else {
        sequence.ticket->deliver(std::move(update));
    }
}

void EngineLoop::finish(Sequence* sequence, RequestUpdate update, FinishReason reason) {
    update.finish = reason;
    forget(sequence);
    // Memory first: whoever hears of the end may submit again at once.
    const auto owned = scheduler_->remove(sequence);
    owned->ticket->deliver(std::move(update));
}

bool EngineLoop::stop_if_broken() {
    const std::string fault = machine_->fault();
    if (fault.empty()) return false;
    log::error("the machine broke, no request can be answered any more: {}", fault);
    {
        std::lock_guard lock(mutex_);
        stats_.fault = fault;
    }
    std::vector<Sequence*> all;
    for (const auto& sequence : scheduler_->running()) all.push_back(sequence.get());
    for (const auto& sequence : scheduler_->waiting()) all.push_back(sequence.get());
    for (Sequence* sequence : all) {
        RequestUpdate update;
        update.error = fault;
        finish(sequence, std::move(update), FinishReason::error);
    }
    if (options_.on_fault) options_.on_fault(fault);
    return true;
}

void EngineLoop::fail_step(const Launched& step) {
    std::vector<Sequence*> affected;
    for (const Part& part : step.parts)
        if (part.sequence) affected.push_back(part.sequence);
    if (step.parts.size() == 1 && !affected.empty()) {
        log::warn("request {} failed: {}", affected[0]->ticket->id, step.error);
        RequestUpdate update;
        update.error = step.error;
        finish(affected[0], std::move(update), FinishReason::error);
        return;
    }
    log::warn("a step of {} sequences failed ({}); each is run again by itself", step.parts.size(),
              step.error);
    for (auto it = affected.rbegin(); it != affected.rend(); ++it) {
        forget(*it);
        (*it)->alone = true;
        (*it)->in_flight = 0;
        scheduler_->preempt(*it);
    }
}

}  // namespace sheaf
