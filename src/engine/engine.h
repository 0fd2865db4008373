// Engine: prompts in, streams of tokens out. One thread runs the model; any thread submits. A request's whole
// life hangs on its Request handle: dropping it frees everything the request holds, in any state. Used by
// serve and the generate and chat commands. Must not know text, JSON, HTTP or a particular back end.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/sampling_params.h"
#include "model/cache_dtypes.h"
#include "processor/prompt.h"

namespace sheaf {

class Model;
class Machine;

struct TokenLogprob {
    int32_t token = 0;
    float logprob = 0;  // before temperature and penalties
    int32_t rank = 0;   // 1 is the most likely
};

/// One generated token; `logprob` and `alternatives` only when asked for.
struct SampledToken {
    int32_t token = 0;
    TokenLogprob logprob;
    std::vector<TokenLogprob> alternatives;  // most likely first
};

enum class FinishReason {
    stop,    // an end token or a stop token
    length,  // max_tokens or the context is full
    abort,   // cancelled, or the server is draining
    error,   // see RequestUpdate::error
};

struct PromptLogprob {
    TokenLogprob logprob;
    std::vector<TokenLogprob> alternatives;
};

/// What happened to a request since the last update. Times are seconds.
struct RequestUpdate {
    std::vector<SampledToken> tokens;  // an end token is the last one of its request
    std::vector<PromptLogprob>
        prompt_logprobs;                 // once, with the first update, from the second prompt token on
    std::optional<FinishReason> finish;  // the last update has one
    std::optional<int32_t> stop_token;   // the stop_token_id that ended it; none for the model's own
    std::string error;
    int32_t cached_tokens = 0;                      // of the prompt, taken from a cache
    double queue_seconds = 0, prefill_seconds = 0;  // valid with the first token
};

/// Called on the engine's thread, in order; must return quickly and not throw.
using UpdateSink = std::function<void(RequestUpdate)>;

/// Ownership of a running request. Destruction cancels it; the sink is not called after the destructor
/// returns.
class Request {
  public:
    virtual ~Request() = default;
    virtual uint64_t id() const = 0;
};

struct EngineOptions {
    int32_t max_model_len = 0;  // prompt + output tokens of one sequence; 0: what the model allows and fits
    int32_t max_num_seqs = 0;   // running at once; 0: chosen from memory
    int32_t max_num_batched_tokens = 0;  // token budget of a step; 0: default
    int32_t max_waiting = 256;           // queued requests
    int32_t block_size = 16;             // tokens of a KV page
    uint64_t cache_bytes = 0;            // KV pages and states; 0: a share of free memory
    CacheDTypes cache_dtypes{};          // what they are kept in
    double memory_utilization = 0;  // share of a dedicated memory that may be used in all; 0: all but 1 GiB
    bool enforce_eager = false;     // steps are never recorded and replayed; same results
    /// The next step is launched before the tokens of the last one are looked at; same results. Empty: not.
    std::optional<bool> async_scheduling;
    /// Called once, on the engine's thread, when the machine broke: all requests have got their error.
    std::function<void(const std::string& fault)> on_fault;
    int32_t token_limit = 0;  // ids the tokenizer knows; higher rows of the head are padding. 0: no limit
};

/// A snapshot for /metrics, /load and the log line.
struct EngineStats {
    int32_t running = 0, waiting = 0;
    int32_t blocks_used = 0, blocks_total = 0;
    int32_t slots_used = 0, slots_total = 0;
    uint64_t prompt_tokens = 0, generation_tokens = 0;  // totals since the start
    uint64_t steps = 0, preemptions = 0;
    uint64_t prefix_queries = 0, prefix_hits = 0;  // in tokens
    std::string fault;                             // of the machine: nothing runs any more
    double last_step_age_seconds = 0;              // since the engine last finished a step while having work
};

class Engine {
  public:
    /// Takes the loaded model. Errors: out_of_memory with the figures when caches do not fit.
    static std::unique_ptr<Engine> create(std::shared_ptr<const Model> model,
                                          std::shared_ptr<Machine> machine, const EngineOptions& options);
    virtual ~Engine() = default;

    /// Null when the queue is full. Errors: invalid_input (empty prompt, a token outside the vocabulary,
    /// "maximum context length" exceeded, a parameter out of range). max_tokens is cut to what the context
    /// leaves. Errors: io after a fault of the machine.
    virtual std::unique_ptr<Request> submit(Prompt prompt, SamplingParams params, UpdateSink sink) = 0;

    virtual EngineStats stats() const = 0;
    /// Refuses new requests; returns true once nothing runs, false after `timeout_seconds`.
    virtual bool drain(double timeout_seconds) = 0;

    virtual const EngineOptions& options() const = 0;  // with defaults filled in
    virtual int32_t vocabulary_size() const = 0;
};

}  // namespace sheaf
