#include "engine/engine_loop.h"

#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "engine/sampler.h"
#include "model/memory.h"

namespace sheaf {
namespace {

constexpr int32_t least_context = 64;

/// What options leave open. A machine with memory of its own is one whose steps want many rows.
struct Defaults {
    int32_t max_num_seqs, token_budget;
};
Defaults defaults_of(const Machine& machine) {
    return machine.dedicated_memory() ? Defaults{256, 2048} : Defaults{64, 512};
}

double seconds_between(Sequence::Clock::time_point begin, Sequence::Clock::time_point end) {
    return std::chrono::duration<double>(end - begin).count();
}

class Handle final : public Request {
  public:
    explicit Handle(std::shared_ptr<Ticket> ticket) : ticket_(std::move(ticket)) {}
    // The engine looks at its tickets before every step, and without steps there is nothing to free.
    ~Handle() override { ticket_->close(); }
    uint64_t id() const override { return ticket_->id; }

  private:
    std::shared_ptr<Ticket> ticket_;
};

/// Bytes that caches may take. On a shared machine half of what is free; of memory that is there for the
/// model alone everything that weights and steps left, but for what the share asked for (or 1 GiB) keeps
/// free.
uint64_t cache_budget(const Machine& machine, const EngineOptions& options) {
    if (options.cache_bytes > 0) return options.cache_bytes;
    const uint64_t available = machine.available_memory();
    if (!machine.dedicated_memory()) return available / 2;
    const auto all = static_cast<double>(machine.total_memory());
    const auto kept = options.memory_utilization > 0
                          ? static_cast<uint64_t>((1.0 - options.memory_utilization) * all)
                          : std::min<uint64_t>(uint64_t{1} << 30, available / 4);
    return available > kept ? available - kept : 0;
}

/// How many sequences to run at once: on a shared machine as many as states of half the budget; where the
/// budget is all there is, as many as also have pages for a usual request.
int32_t sequences_that_fit(const Machine& machine, uint64_t budget, uint64_t state, uint64_t per_token) {
    constexpr uint64_t usual_tokens = 1024;
    const uint64_t fit =
        machine.dedicated_memory() ? budget / (state + usual_tokens * per_token) : budget / 2 / state;
    return static_cast<int32_t>(
        std::clamp<uint64_t>(fit, 1, static_cast<uint64_t>(defaults_of(machine).max_num_seqs)));
}

/// Fills in what the options leave open: slots, pages and context that fit the memory.
CachePool* make_pool(const ModelConfig& config, Machine& machine, EngineOptions& options) {
    const uint64_t per_token =
        std::max<uint64_t>(kv_bytes_per_token(config.text, machine.compute_type(), options.cache_dtypes), 1);
    const uint64_t per_sequence =
        std::max<uint64_t>(state_bytes_per_sequence(config.text, options.cache_dtypes), 1);
    const uint64_t budget = cache_budget(machine, options);
    if (options.block_size <= 0) options.block_size = 16;
    if (options.max_num_seqs <= 0)
        options.max_num_seqs = sequences_that_fit(machine, budget, per_sequence, per_token);
    const uint64_t states = per_sequence * static_cast<uint64_t>(options.max_num_seqs);
    const uint64_t page = per_token * static_cast<uint64_t>(options.block_size);
    const int64_t model_limit = config.text.max_position_embeddings;
    const bool chosen = options.max_model_len > 0;
    if (!chosen) options.max_model_len = static_cast<int32_t>(std::min<int64_t>(model_limit, INT32_MAX / 2));
    const auto wanted_tokens = static_cast<uint64_t>(options.max_model_len);
    const uint64_t useful = (wanted_tokens / static_cast<uint64_t>(options.block_size) + 1) *
                            static_cast<uint64_t>(options.max_num_seqs);
    const uint64_t left = budget > states ? budget - states : 0;
    const uint64_t blocks =
        std::min({left / page, useful, static_cast<uint64_t>(INT32_MAX / options.block_size)});
    const uint64_t fits = blocks * static_cast<uint64_t>(options.block_size);
    if (fits < (chosen ? wanted_tokens : static_cast<uint64_t>(least_context)))
        fail(ErrorKind::out_of_memory,
             "caches for {} sequences of up to {} tokens need {:.2f} GiB and {:.2f} GiB may be used; lower "
             "--max-model-len or --max-num-seqs{}",
             options.max_num_seqs, options.max_model_len,
             static_cast<double>(states + per_token * wanted_tokens) / 0x1p30,
             static_cast<double>(budget) / 0x1p30,
             options.memory_utilization > 0 ? ", or raise --gpu-memory-utilization" : "");
    if (fits < wanted_tokens) options.max_model_len = static_cast<int32_t>(fits);
    return new CachePool(config.text, machine, options.max_num_seqs, static_cast<int32_t>(blocks),
                         options.block_size, options.cache_dtypes);
}

void check_range(const char* name, double value, double least, double most) {
    if (!(value >= least) || !(value <= most))
        fail(ErrorKind::invalid_input, "{} must be between {} and {}, got {}", name, least, most, value);
}

}  // namespace

std::unique_ptr<Engine> Engine::create(std::shared_ptr<const Model> model, std::shared_ptr<Machine> machine,
                                       const EngineOptions& options) {
    return std::make_unique<EngineLoop>(std::move(model), std::move(machine), options);
}

EngineLoop::EngineLoop(std::shared_ptr<const Model> model, std::shared_ptr<Machine> machine,
                       const EngineOptions& options)
    : model_(std::move(model)), machine_(std::move(machine)), options_(options) {
    end_tokens_ = model_->config.end_token_ids;
    if (options_.max_num_batched_tokens <= 0)
        options_.max_num_batched_tokens = defaults_of(*machine_).token_budget;
    if (!options_.async_scheduling) options_.async_scheduling = false;
    runner_ = std::make_unique<ModelRunner>(
        model_, *machine_,
        GraphOptions{.replay = !options_.enforce_eager, .max_length = std::max(options_.max_model_len, 0)},
        *options_.async_scheduling);
    const uint64_t before = machine_->available_memory();
    if (machine_->dedicated_memory()) {
        const int32_t outputs = options_.max_num_seqs > 0 ? options_.max_num_seqs : 64;
        runner_->rehearse(*machine_, std::min(options_.max_num_batched_tokens, 8192), outputs);
    }
    const uint64_t after = machine_->available_memory();
    pool_.reset(make_pool(model_->config, *machine_, options_));
    runner_->attach(*pool_);
    if (machine_->dedicated_memory()) log_split(before - std::min(before, after));
    scheduler_ = std::make_unique<Scheduler>(*pool_, options_.max_num_seqs, options_.max_num_batched_tokens,
                                             machine_->prompt_cut());
    publish_stats();
    thread_ = std::thread([this] { loop(); });
}

void EngineLoop::log_split(uint64_t step_bytes) const {
    const TextConfig& text = model_->config.text;
    const double gib = 0x1p30;
    const int64_t tokens = static_cast<int64_t>(pool_->blocks_total()) * options_.block_size;
    const uint64_t pages = kv_bytes_per_token(text, machine_->compute_type(), options_.cache_dtypes) *
                           static_cast<uint64_t>(tokens);
    const uint64_t states =
        state_bytes_per_sequence(text, options_.cache_dtypes) * static_cast<uint64_t>(options_.max_num_seqs);
    log::info(
        "memory: weights {:.2f} GiB, steps {:.2f}, states of {} sequences {:.2f}, {} tokens of keys and "
        "values "
        "{:.2f} ({:.1f} sequences of the full {} tokens), free {:.2f}",
        static_cast<double>(model_->weight_bytes) / gib, static_cast<double>(step_bytes) / gib,
        options_.max_num_seqs, static_cast<double>(states) / gib, tokens, static_cast<double>(pages) / gib,
        static_cast<double>(tokens) / std::max(options_.max_model_len, 1), options_.max_model_len,
        static_cast<double>(machine_->available_memory()) / gib);
}

EngineLoop::~EngineLoop() {
    {
        std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

int32_t EngineLoop::vocabulary_size() const {
    return static_cast<int32_t>(model_->config.text.vocab_size);
}

void EngineLoop::check_ids(const SamplingParams& params) const {
    auto inside = [&](const char* name, int32_t token) {
        if (token < 0 || token >= vocabulary_size())
            fail(ErrorKind::invalid_input, "{} has token id {}, outside the vocabulary of {}", name, token,
                 vocabulary_size());
    };
    for (const int32_t token : params.stop_token_ids) inside("stop_token_ids", token);
    for (const int32_t token : params.allowed_token_ids) inside("allowed_token_ids", token);
    for (const auto& word : params.bad_words) {
        if (word.empty()) fail(ErrorKind::invalid_input, "bad_words has an empty entry");
        for (const int32_t token : word) inside("bad_words", token);
    }
    for (const auto& [token, bias] : params.logit_bias) {
        inside("logit_bias", token);
        check_range("logit_bias", bias, -100, 100);
    }
}

void EngineLoop::check(const Prompt& prompt, SamplingParams& params) const {
    if (prompt.token_ids.empty()) fail(ErrorKind::invalid_input, "the prompt is empty");
    for (const int32_t token : prompt.token_ids)
        if (token < 0 || token >= vocabulary_size())
            fail(ErrorKind::invalid_input, "the prompt has token id {}, outside the vocabulary of {}", token,
                 vocabulary_size());
    for (const auto& axis : prompt.positions)
        if (!axis.empty() && axis.size() != prompt.token_ids.size())
            fail(ErrorKind::invalid_input, "{} positions for {} tokens", axis.size(),
                 prompt.token_ids.size());
    const auto size = static_cast<int64_t>(prompt.token_ids.size());
    if (size + (params.max_tokens > 0 ? 1 : 0) > options_.max_model_len)
        fail(ErrorKind::invalid_input,
             "This model's maximum context length is {} tokens. However, your request has {} input tokens. "
             "Please "
             "reduce the length of the input.",
             options_.max_model_len, size);
    check_range("max_tokens", params.max_tokens, 0, INT32_MAX);
    params.max_tokens =
        static_cast<int32_t>(std::min<int64_t>(params.max_tokens, options_.max_model_len - size));
    check_range("temperature", params.temperature, 0, 100);
    check_range("top_p", params.top_p, 1e-9, 1);
    check_range("top_k", params.top_k, -1, INT32_MAX);
    check_range("min_p", params.min_p, 0, 1);
    check_range("presence_penalty", params.presence_penalty, -2, 2);
    check_range("frequency_penalty", params.frequency_penalty, -2, 2);
    check_range("repetition_penalty", params.repetition_penalty, 1e-3, 1e3);
    check_range("min_tokens", params.min_tokens, 0, INT32_MAX);
    check_range("logprobs", params.logprobs, -1, vocabulary_size());
    check_range("prompt_logprobs", params.prompt_logprobs, -1, vocabulary_size());
    check_ids(params);
}

std::unique_ptr<Request> EngineLoop::submit(Prompt prompt, SamplingParams params, UpdateSink sink) {
    check(prompt, params);
    auto sequence = std::make_unique<Sequence>();
    sequence->ticket = std::make_shared<Ticket>();
    sequence->ticket->sink = std::move(sink);
    sequence->tokens = std::move(prompt.token_ids);
    sequence->prompt_size = static_cast<int32_t>(sequence->tokens.size());
    sequence->prompt = std::move(prompt);
    sequence->params = std::move(params);
    sequence->submitted = Clock::now();
    auto ticket = sequence->ticket;
    {
        std::lock_guard lock(mutex_);
        if (!stats_.fault.empty())
            fail(ErrorKind::io, "no request can be answered any more: {}", stats_.fault);
        if (draining_ || stop_) return nullptr;
        if (static_cast<int32_t>(submitted_.size()) + stats_.waiting >=
            options_.max_waiting + options_.max_num_seqs)
            return nullptr;
        ticket->id = next_id_++;
        submitted_.push_back(std::move(sequence));
        busy_ = true;
    }
    wake_.notify_all();
    return std::make_unique<Handle>(std::move(ticket));
}

EngineStats EngineLoop::stats() const {
    std::lock_guard lock(mutex_);
    EngineStats stats = stats_;
    stats.waiting += static_cast<int32_t>(submitted_.size());
    if (busy_) stats.last_step_age_seconds = seconds_between(last_step_, Clock::now());
    return stats;
}

bool EngineLoop::drain(double timeout_seconds) {
    std::unique_lock lock(mutex_);
    draining_ = true;
    return idle_.wait_for(lock, std::chrono::duration<double>(timeout_seconds), [&] { return !busy_; });
}

void EngineLoop::publish_stats() {
    std::lock_guard lock(mutex_);
    stats_.running = static_cast<int32_t>(scheduler_->running().size());
    stats_.waiting = static_cast<int32_t>(scheduler_->waiting().size());
    stats_.blocks_total = pool_->blocks_total();
    stats_.blocks_used = pool_->blocks_total() - pool_->blocks_free();
    stats_.slots_total = pool_->slots_total();
    stats_.slots_used = pool_->slots_total() - pool_->slots_free();
    stats_.prompt_tokens = prompt_tokens_;
    stats_.generation_tokens = generation_tokens_;
    stats_.steps = steps_;
    stats_.preemptions = scheduler_->preemptions();
    last_step_ = Clock::now();
}

bool EngineLoop::take_submissions() {
    std::unique_lock lock(mutex_);
    const bool work = !scheduler_->running().empty() || !scheduler_->waiting().empty();
    if (!work && submitted_.empty()) {
        busy_ = false;
        idle_.notify_all();
        wake_.wait(lock, [&] { return stop_ || !submitted_.empty(); });
    }
    if (stop_) return false;
    while (!submitted_.empty()) {
        scheduler_->add(std::move(submitted_.front()));
        submitted_.pop_front();
    }
    if (!work) last_step_ = Clock::now();
    busy_ = true;
    return true;
}

void EngineLoop::drop_cancelled() {
    std::vector<Sequence*> gone;
    for (const auto& sequence : scheduler_->running())
        if (sequence->ticket->cancelled) gone.push_back(sequence.get());
    for (const auto& sequence : scheduler_->waiting())
        if (sequence->ticket->cancelled) gone.push_back(sequence.get());
    for (Sequence* sequence : gone) {
        forget(sequence);
        scheduler_->remove(sequence);
    }
}

void EngineLoop::loop() {
    while (take_submissions()) {
        drop_cancelled();
        if (must_wait()) complete_down_to(0);
        const std::vector<Slice> slices = scheduler_->plan();
        const bool ahead = !slices.empty() && launch(slices) && *options_.async_scheduling;
        complete_down_to(ahead ? 1 : 0);
        if (scheduler_->running().empty() && scheduler_->waiting().empty()) complete_down_to(0);
        publish_stats();
    }
    launched_.clear();
    std::vector<Sequence*> left;
    for (const auto& sequence : scheduler_->running()) left.push_back(sequence.get());
    for (const auto& sequence : scheduler_->waiting()) left.push_back(sequence.get());
    for (Sequence* sequence : left) finish(sequence, {}, FinishReason::abort);
    std::lock_guard lock(mutex_);
    for (const auto& sequence : submitted_) {
        RequestUpdate update;
        update.finish = FinishReason::abort;
        sequence->ticket->deliver(std::move(update));
    }
    submitted_.clear();
    busy_ = false;
    idle_.notify_all();
}

}  // namespace sheaf
