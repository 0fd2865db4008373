// FakeEngine: an Engine without a model, for the server's tests: it "generates" the tokens that a test has
// prepared, at a pace that the test chooses, and counts the handles that live. Must not be used outside of
// tests.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"

namespace sheaf::testing {

class FakeEngine : public Engine {
  public:
    /// Chooses the output tokens of a request; the end token is added when `ends` is true for it.
    using Script = std::function<std::vector<int32_t>(const Prompt&, const SamplingParams&)>;

    FakeEngine(int32_t vocabulary_size, int32_t end_token, Script script)
        : vocabulary_size_(vocabulary_size), end_token_(end_token), script_(std::move(script)) {
        options_.max_model_len = 512;
        options_.max_num_seqs = 256;
        thread_ = std::thread([this] { run(); });
    }

    ~FakeEngine() override {
        {
            std::lock_guard lock(mutex_);
            stop_ = true;
        }
        wake_.notify_all();
        thread_.join();
    }

    std::unique_ptr<Request> submit(Prompt prompt, SamplingParams params, UpdateSink sink) override {
        if (prompt.token_ids.empty()) fail(ErrorKind::invalid_input, "empty prompt");
        const auto used = static_cast<int32_t>(prompt.token_ids.size());
        if (used + (params.max_tokens > 0 ? 1 : 0) > options_.max_model_len)
            fail(ErrorKind::invalid_input, "maximum context length");
        std::lock_guard lock(mutex_);
        if (static_cast<int32_t>(sequences_.size()) >= capacity) return nullptr;
        Sequence sequence;
        sequence.room = std::min(params.max_tokens, options_.max_model_len - used);
        sequence.tokens = script_(prompt, params);
        sequence.params = std::move(params);
        sequence.prompt = std::move(prompt.token_ids);
        sequence.sink = std::move(sink);
        stats_.prompt_tokens += static_cast<uint64_t>(used);
        const uint64_t id = ++last_id_;
        seen.push_back(sequence.params);
        prompts.push_back(sequence.prompt);
        sequences_.emplace(id, std::move(sequence));
        wake_.notify_all();
        return std::make_unique<Handle>(*this, id);
    }

    EngineStats stats() const override {
        std::lock_guard lock(mutex_);
        EngineStats stats = stats_;
        stats.running = static_cast<int32_t>(sequences_.size());
        stats.blocks_total = 100;
        stats.blocks_used = stats.running;
        return stats;
    }

    bool drain(double) override { return live() == 0; }
    const EngineOptions& options() const override { return options_; }
    int32_t vocabulary_size() const override { return vocabulary_size_; }

    /// Handles that exist.
    size_t live() const {
        std::lock_guard lock(mutex_);
        return sequences_.size();
    }
    /// Waits until `count` handles exist.
    bool wait_live(size_t count, std::chrono::milliseconds timeout = std::chrono::milliseconds(5000)) const {
        const auto deadline = std::chrono::steady_clock::now() + timeout;
        while (live() != count) {
            if (std::chrono::steady_clock::now() > deadline) return false;
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
        return true;
    }

    EngineOptions options_;
    std::atomic<int32_t> capacity{256};
    std::atomic<int> microseconds_per_step{0};
    std::atomic<bool> fails{false};   // every sequence ends with an error
    std::atomic<bool> paused{false};  // no steps
    std::vector<SamplingParams> seen;
    std::vector<std::vector<int32_t>> prompts;

  private:
    struct Sequence {
        std::vector<int32_t> prompt, tokens;
        SamplingParams params;
        UpdateSink sink;
        int32_t room = 0;
        size_t at = 0;
        bool finished = false;
    };

    class Handle : public Request {
      public:
        Handle(FakeEngine& engine, uint64_t id) : engine_(engine), id_(id) {}
        ~Handle() override {
            std::lock_guard lock(engine_.mutex_);
            engine_.sequences_.erase(id_);
        }
        uint64_t id() const override { return id_; }

      private:
        FakeEngine& engine_;
        uint64_t id_;
    };

    static TokenLogprob logprob_of(int32_t token) { return {token, -0.5f, 1}; }

    std::vector<TokenLogprob> alternatives(int32_t token, int32_t count) const {
        std::vector<TokenLogprob> list;
        for (int32_t i = 0; i < count; ++i)
            list.push_back({(token + i) % vocabulary_size_, -0.5f - static_cast<float>(i), i + 1});
        return list;
    }

    void step(Sequence& sequence) {
        if (sequence.finished) return;
        RequestUpdate update;
        if (sequence.at == 0 && sequence.params.prompt_logprobs >= 0) {
            for (size_t i = 1; i < sequence.prompt.size(); ++i)
                update.prompt_logprobs.push_back(
                    {logprob_of(sequence.prompt[i]),
                     alternatives(sequence.prompt[i], sequence.params.prompt_logprobs)});
        }
        if (fails) {
            update.finish = FinishReason::error;
            update.error = "secret detail at /a/path";
        } else if (sequence.room == 0) {
            update.finish = FinishReason::length;
        } else {
            const bool end = sequence.at >= sequence.tokens.size();
            const int32_t token = end ? end_token_ : sequence.tokens[sequence.at];
            SampledToken sampled{token, logprob_of(token), {}};
            if (sequence.params.logprobs > 0)
                sampled.alternatives = alternatives(token, sequence.params.logprobs);
            update.tokens.push_back(sampled);
            ++sequence.at;
            ++stats_.generation_tokens;
            const auto& stops = sequence.params.stop_token_ids;
            if (end) {
                update.finish = FinishReason::stop;
            } else if (std::ranges::find(stops, token) != stops.end()) {
                update.finish = FinishReason::stop;
                update.stop_token = token;
            } else if (static_cast<int32_t>(sequence.at) >= sequence.room) {
                update.finish = FinishReason::length;
            }
        }
        sequence.finished = update.finish.has_value();
        sequence.sink(std::move(update));
    }

    void run() {
        std::unique_lock lock(mutex_);
        while (!stop_) {
            const auto busy = [this] {
                return !paused &&
                       std::ranges::any_of(sequences_, [](const auto& s) { return !s.second.finished; });
            };
            if (!busy()) {
                wake_.wait_for(lock, std::chrono::milliseconds(5));
                continue;
            }
            for (auto& [id, sequence] : sequences_) step(sequence);
            ++stats_.steps;
            const int pause = microseconds_per_step;
            lock.unlock();
            if (pause > 0)
                std::this_thread::sleep_for(std::chrono::microseconds(pause));
            else
                std::this_thread::yield();
            lock.lock();
        }
    }

    const int32_t vocabulary_size_, end_token_;
    const Script script_;
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::map<uint64_t, Sequence> sequences_;
    EngineStats stats_;
    uint64_t last_id_ = 0;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace sheaf::testing
