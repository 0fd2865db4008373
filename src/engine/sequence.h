// Sequence: one request inside the engine: its tokens, how many of them the caches hold, and that memory.
// Lives on the engine's thread; Ticket is the part shared with the Request handle on other threads. Must not
// know text.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/engine.h"
#include "engine/sampler.h"
#include "model/cache_pool.h"

namespace sheaf {

/// What handle and engine share. The sink is called under the lock (recursive: a sink may drop its own
/// handle), so that none is running or comes later once the handle is closed.
struct Ticket {
    uint64_t id = 0;
    std::atomic<bool> cancelled{false};
    std::recursive_mutex mutex;
    UpdateSink sink;  // empty once closed

    void close() {
        cancelled = true;
        std::lock_guard lock(mutex);
        sink = nullptr;
    }
    void deliver(RequestUpdate update) {
        std::lock_guard lock(mutex);
        if (!sink) return;
        const UpdateSink keep = sink;  // survives a close() from inside
        keep(std::move(update));
    }
};

struct Sequence {
    using Clock = std::chrono::steady_clock;

    std::shared_ptr<Ticket> ticket;
    SamplingParams params;
    Prompt prompt;                // token_ids moved to `tokens`
    std::vector<int32_t> tokens;  // prompt and generated
    int32_t prompt_size = 0;
    int32_t in_flight = 0;  // tokens chosen by steps that the host has not seen yet
    int32_t cached =
        0;  // tokens whose keys, values and state the memory holds, after the steps launched so far
    std::optional<SequenceMemory> memory;  // while running
    bool alone = false;                    // a batch with it failed: run it by itself to find the culprit
    std::vector<PromptLogprob> prompt_logprobs;
    bool prompt_reported = false;
    TokenHistory history;  // where penalties need it
    Clock::time_point submitted, started;

    int32_t generated() const { return static_cast<int32_t>(tokens.size()) - prompt_size; }
    /// With the tokens in flight.
    int32_t length() const { return static_cast<int32_t>(tokens.size()) + in_flight; }
    /// Tokens that still have to pass through the model before the next one can be sampled; none where those
    /// in flight are the last ones.
    int32_t pending() const {
        const bool last = in_flight > 0 && length() - prompt_size >= params.max_tokens;
        return last ? 0 : length() - cached;
    }
    int32_t position(int32_t axis, int32_t index) const {
        return index < static_cast<int32_t>(prompt.positions[axis].size()) ? prompt.positions[axis][index]
                                                                           : index + prompt.rope_delta;
    }
};

}  // namespace sheaf
