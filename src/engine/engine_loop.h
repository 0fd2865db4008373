// EngineLoop: the Engine that really runs: a queue that other threads fill, and one thread that plans, steps,
// samples and delivers. One bad sequence fails alone: when a step throws, every sequence of it is recomputed
// by itself, and only the one that throws again ends with an error. Must not know a particular back end.
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

    void check(const Prompt& prompt, SamplingParams& params) const;
    void check_ids(const SamplingParams& params) const;
    void loop();
    bool take_submissions();
    void drop_cancelled();
    StepWishes wishes_of(const std::vector<Slice>& slices);
    void step(const std::vector<Slice>& slices);
    void apply(const Slice& slice, const StepOutput& output, int64_t row, int32_t rows);
    void collect_prompt_logprobs(Sequence& sequence, const StepOutput& output, int64_t row, int32_t rows);
    void finish(Sequence* sequence, RequestUpdate update, FinishReason reason);
    bool stop_if_broken();
    void fail_step(const std::vector<Slice>& slices, const std::string& what);
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
