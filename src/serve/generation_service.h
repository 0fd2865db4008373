// GenerationService: carries out generation requests: reads and renders on its own threads, submits to the
// engine, turns tokens back into text, reasoning and tool calls, and hands the pieces to a sink. Used by the
// HTTP endpoints and by `generate` and `chat`. Must not know HTTP or the wire form of answers.
//
//     auto service = GenerationService(model);
//     auto generation = service.start([&] { return read_line_request(json, service.context()); }, sink);
//
// Dropping the Generation cancels the request in whatever state it is.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "processor/output_parser.h"
#include "serve/generation_request.h"
#include "serve/prompt_builder.h"
#include "serve/request_reader.h"
#include "serve/served_model.h"
#include "serve/task_pool.h"

namespace sheaf {

/// Why a request came to nothing.
struct Failure {
    enum class Kind {
        bad_request,    // the client's fault; `param` may name the field
        not_found,      // no such model
        queue_full,     // try again later
        shutting_down,  // the engine or the server ends
        internal,       // ours; the message tells the client nothing but where to look
    };
    Kind kind = Kind::internal;
    std::string message, param;
};

/// The failure that an exception stands for. What is not the client's fault is logged in full and described
/// in general words.
Failure describe_failure(std::exception_ptr error);

/// What is new of one choice. Choice number = prompt number x n + k.
struct Delta {
    int32_t choice = 0;
    std::string text;    // as generated; never ends inside a character
    OutputDelta parsed;  // the same text taken apart, when the request wants that
    std::vector<SampledToken> tokens;
    std::vector<PromptLogprob> prompt_logprobs;  // in the first delta, when asked for
    std::optional<std::string> finish_reason;    // stop, length, tool_calls, abort; in the last delta
    nlohmann::ordered_json stop_reason;          // matched stop string or stop token id; null: neither
};

struct Usage {
    int64_t prompt_tokens = 0;      // each prompt counts once, however many choices it has
    int64_t completion_tokens = 0;  // all choices
    int64_t cached_tokens = 0;
    int64_t reasoning_tokens = 0;
};

/// Gets what becomes of a request. Calls come one at a time, on the service's threads, never after the
/// Generation is destroyed; they must be quick and must not destroy the Generation.
class GenerationSink {
  public:
    virtual ~GenerationSink() = default;
    /// The engine has taken all choices. Not called when the request fails before.
    virtual void accepted(const GenerationRequest& request, const std::vector<BuiltPrompt>& prompts) = 0;
    /// `usage` is that of all choices so far.
    virtual void delta(Delta delta, const Usage& usage) = 0;
    /// The last call: every choice has its finish_reason.
    virtual void finished(const Usage& usage) = 0;
    /// The last call: the request as a whole came to nothing.
    virtual void failed(const Failure& failure) = 0;
    /// False: deltas are held back (and joined) until Generation::resume().
    virtual bool writable() { return true; }
};

/// Numbers of one finished or abandoned request, for metrics. Times in seconds.
struct RequestRecord {
    std::string finish_reason;  // of the first choice; "abort" when abandoned, "error" when it failed
    Usage usage;
    int32_t n = 1;
    std::optional<int32_t> max_tokens;
    int64_t longest_choice = 0;  // tokens
    double total = 0, queue = 0, prefill = 0, decode = 0;
    std::optional<double> first_token;
};

/// Watches all requests of a service. Called from several threads.
class GenerationMonitor {
  public:
    virtual ~GenerationMonitor() = default;
    virtual void first_token(double seconds_since_arrival) = 0;
    virtual void next_tokens(double seconds_since_last, int32_t count) = 0;
    virtual void finished(const RequestRecord& record) = 0;
};

class GenerationJob;

/// Ownership of a request that runs. Destruction cancels it and frees what it holds.
class Generation {
  public:
    explicit Generation(std::shared_ptr<GenerationJob> job) : job_(std::move(job)) {}
    ~Generation();
    Generation(const Generation&) = delete;
    Generation& operator=(const Generation&) = delete;

    /// The sink is writable again.
    void resume();
    /// Ends the request with this failure, unless it has ended already.
    void abort(const Failure& failure);

  private:
    std::shared_ptr<GenerationJob> job_;
};

class GenerationService {
  public:
    /// `monitor` may be null and must outlive this. All Generations must be gone before this is destroyed.
    explicit GenerationService(std::shared_ptr<const ServedModel> model,
                               GenerationMonitor* monitor = nullptr);
    ~GenerationService();

    using RequestMaker = std::function<GenerationRequest()>;

    /// Returns at once. `make` (JSON parsing and reading) runs on the service's threads; what it throws
    /// reaches sink->failed.
    std::unique_ptr<Generation> start(RequestMaker make, std::shared_ptr<GenerationSink> sink);

    /// Runs `job` on the threads that prepare requests.
    void run(std::function<void()> job) { preparation_.post(std::move(job)); }

    const ServedModel& model() const { return *model_; }
    const ReaderContext& context() const { return context_; }
    const PromptBuilder& prompts() const { return prompts_; }
    int32_t max_model_len() const { return model_->engine->options().max_model_len; }
    /// Throws RequestError (not_found) unless `name` is empty or one of the model's names.
    void check_model_name(const std::string& name) const;

  private:
    friend class GenerationJob;

    std::shared_ptr<const ServedModel> model_;
    GenerationMonitor* monitor_;
    ReaderContext context_;
    PromptBuilder prompts_;
    std::optional<int32_t> end_of_thinking_;  // the token </think>
    std::atomic<uint64_t> seeds_;
    TaskPool preparation_;  // may take long: parsing, templates, tokenising
    TaskPool delivery_;     // short: text of tokens, answers, giving resources back
};

}  // namespace sheaf
