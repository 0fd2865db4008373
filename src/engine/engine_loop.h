// EngineLoop: the Engine that really runs: a queue that other threads fill, and one thread that plans, steps,
// samples and delivers. One bad sequence fails alone: when a step throws, every sequence of it is recomputed
// by itself, and only the one that throws again ends with an error. Must not know a particular back end.
//
// Asynchronous scheduling: the host runs one step behind the machine. While step N runs, step N + 1 is
// planned and launched: a sequence's last token may then be in flight (Sequence::in_flight) and is known by
// its place alone. The scheduler counts such tokens as there; the model runner names them by the sequence's
// slot, where the machine finds what step N chose (Ops::known_tokens). Only then step N's tokens are read and
// looked at.
// * A sequence whose end could be foreseen (max_tokens) gets no further row. One that turns out to have ended
//   (a stop token, an error, a cancelled request) has one row in step N + 1, which is not looked at. Its
//   memory may go to another sequence at once: the machine does its steps in order.
// * What depends on the tokens themselves waits for them: penalties, prompt log-probabilities, a preempted
//   sequence.
// * Tokens are functions of a sequence's own past, so they are the same with and without.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "engine/engine.h"
#include "engine/model_runner.h"
#include "engine/scheduler.h"

namespace sheaf {

class EngineLoop final : public Engine {
  public:
    EngineLoop(std::shared_ptr<const Model> model, std::shared_ptr<Machine> machine,
               const EngineOptions& options);
    ~EngineLoop() override;

    std::unique_ptr<Request> submit(Prompt prompt, SamplingParams params, UpdateSink sink) override;
    EngineStats stats() const override;
    bool drain(double timeout_seconds) override;
    const EngineOptions& options() const override { return options_; }
    int32_t vocabulary_size() const override;

  private:
    using Clock = Sequence::Clock;

    /// A slice of a launched step: tokens [context, context + count), the last `rows` of them output rows.
    struct Part {
        Sequence* sequence = nullptr;  // null: it ended meanwhile
        int32_t context = 0, count = 0, rows = 0;
        bool completes = false;  // its last row chooses a token
    };
    struct Launched {
        std::vector<Part> parts;
        RunningStep running;
        std::string error;  // it could not be launched
    };

    void check(const Prompt& prompt, SamplingParams& params) const;
    void check_ids(const SamplingParams& params) const;
    void loop();
    bool take_submissions();
    void drop_cancelled();
    StepWishes wishes_of(const std::vector<Slice>& slices);
    bool must_wait() const;
    /// Whether it succeeded; if not, its error is among the launched steps.
    bool launch(const std::vector<Slice>& slices);
    /// Waits for the oldest launched steps until so many are left.
    void complete_down_to(size_t steps);
    void deliver(Launched& step, const StepOutput& output);
    void apply(const Part& part, const StepOutput& output, int64_t row);
    void collect_prompt_logprobs(const Part& part, const StepOutput& output, int64_t row);
    /// What launched steps still bring for a sequence is not looked at.
    void forget(const Sequence* sequence);
    void finish(Sequence* sequence, RequestUpdate update, FinishReason reason);
    bool stop_if_broken();
    void fail_step(const Launched& step);
    std::optional<FinishReason> reason_to_stop(const Sequence& sequence, int32_t token,
                                               RequestUpdate& update) const;
    void publish_stats();
    void log_split(uint64_t step_bytes) const;

    std::shared_ptr<const Model> model_;
    std::shared_ptr<Machine> machine_;
    EngineOptions options_;
    std::vector<int32_t> end_tokens_;
    std::unique_ptr<CachePool> pool_;
    std::unique_ptr<ModelRunner> runner_;
    std::unique_ptr<Scheduler> scheduler_;

    std::deque<Launched> launched_;  // oldest first

    mutable std::mutex mutex_;  // guards what follows
    std::condition_variable wake_, idle_;
    std::deque<std::unique_ptr<Sequence>> submitted_;
    EngineStats stats_;
    Clock::time_point last_step_{};
    bool busy_ = false, draining_ = false, stop_ = false;
    uint64_t next_id_ = 1;

    uint64_t prompt_tokens_ = 0, generation_tokens_ = 0, steps_ = 0;  // the engine thread's own counters
    std::thread thread_;
};

}  // namespace sheaf
