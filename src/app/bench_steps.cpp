#include "app/bench_steps.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "app/bench_routing.h"
#include "app/interrupt.h"
#include "base/counter_random.h"
#include "engine/graph_runner.h"
#include "model/cache_pool.h"
#include "model/footprint.h"
#include "model/memory.h"
#include "model/model.h"
#include "ops/ops.h"

namespace sheaf {

namespace {

constexpr int64_t block_size = 64;
constexpr double shortest_row_seconds = 0.3;  // quick steps are repeated more often

/// Bytes and multiply-adds of the weights of a loaded model that one step of `batch` tokens uses.
class ResidentCost final : public WeightVisitor {
  public:
    ResidentCost(const TextConfig& text, int64_t batch, int64_t outputs)
        : text_(text), batch_(static_cast<double>(batch)), outputs_(static_cast<double>(outputs)) {}

    double bytes = 0, operations = 0;

    void linear(const std::string& module, Linear& slot, int64_t out, int64_t in) override {
        const bool head = module.find("lm_head") != std::string::npos;
        add(static_cast<double>(slot->bytes()), static_cast<double>(out * in), head ? outputs_ : batch_);
    }
    void tied_linear(const std::string&, Linear& slot, int64_t out, int64_t in) override {
        add(static_cast<double>(slot->bytes()), static_cast<double>(out * in), outputs_);
    }
    void vector(const std::string&, Tensor& slot, Shape, Shape) override {
        bytes += static_cast<double>(slot.bytes());
    }
    void table(const std::string&, Tensor& slot, int64_t rows, int64_t) override {
        bytes += batch_ * static_cast<double>(slot.bytes()) / static_cast<double>(rows);
    }
    void experts(const std::string&, Experts& slot, int64_t count, int64_t hidden,
                 int64_t intermediate) override {
        const double touched = touched_experts(text_, batch_);
        bytes += static_cast<double>(slot->bytes()) * touched / static_cast<double>(count);
        operations += 2 * batch_ * static_cast<double>(text_.num_experts_per_tok * 3 * hidden * intermediate);
    }
    void expert(const std::string&, Experts& slot, int64_t hidden, int64_t intermediate) override {
        add(static_cast<double>(slot->bytes()), static_cast<double>(3 * hidden * intermediate), batch_);
    }

  private:
    void add(double weight_bytes, double parameters, double tokens) {
        bytes += weight_bytes;
        operations += 2 * parameters * tokens;
    }
    const TextConfig& text_;
    double batch_, outputs_;
};

/// Sequences with `context` tokens of zeros in their caches, and one batch of `count` further tokens each.
class Workload {
  public:
    Workload(const std::shared_ptr<Model>& model, Machine& machine, const std::string& routing,
             int64_t sequences, int64_t most_tokens)
        : vocabulary_(model->config.text.vocab_size),
          pool_(model->config.text, machine, static_cast<int32_t>(sequences),
                static_cast<int32_t>(sequences * ((most_tokens + block_size - 1) / block_size)), block_size),
          model_(model),
          machine_(machine),
          routing_(routing),
          runner_(model, make_bench_ops(machine, routing, model->config.text), pool_.kv(), pool_.state()) {
        for (int64_t i = 0; i < sequences; ++i) {
            memory_.push_back(pool_.acquire());
            SHEAF_CHECK(memory_.back().reserve(most_tokens));
        }
    }

    /// Distinct experts that a step of one token each touches, mean of the layers.
    double touched_experts(int64_t context) {
        auto counter =
            std::make_unique<ExpertCounter>(make_bench_ops(machine_, routing_, model_->config.text));
        const ExpertCounter& count = *counter;
        GraphRunner runner(model_, std::move(counter), pool_.kv(), pool_.state(), {.replay = false});
        step(runner, context, 1, 0, true);
        return count.mean();
    }

    void step(int64_t context, int64_t tokens, uint64_t seed, bool logits) {
        step(runner_, context, tokens, seed, logits);
    }

  private:
    /// One step; only the last token of each sequence gets logits, and only with `logits`.
    void step(GraphRunner& runner, int64_t context, int64_t count, uint64_t seed, bool logits) {
        const auto sequences = static_cast<int64_t>(memory_.size()), tokens = sequences * count;
        StepInput input;
        for (int64_t i = 0; i < tokens; ++i)
            input.token_ids.push_back(static_cast<int32_t>(
                counter_random_bits(seed, static_cast<uint64_t>(i)) % static_cast<uint64_t>(vocabulary_)));
        for (int64_t i = 0; i < 3 * tokens; ++i)
            input.positions.push_back(static_cast<int32_t>(context + i % count));
        for (int64_t i = 0; i < sequences; ++i) {
            input.sequences.push_back({.begin = static_cast<int32_t>(i * count),
                                       .count = static_cast<int32_t>(count),
                                       .context = static_cast<int32_t>(context),
                                       .slot = memory_[i].slot(),
                                       .blocks = memory_[i].blocks()});
            if (logits) input.output_rows.push_back(static_cast<int32_t>((i + 1) * count - 1));
        }
        // A step ends when the tokens that it chose can be read.
        input.sampling.rows.resize(input.output_rows.size());
        const StepResult result = runner.run(input);
        const Tensor read = logits ? result.sampled.rows : result.logits.rows(0, 1);
        host_.resize(read.bytes());
        runner.ops().download(read, host_.data());
    }

    static std::unique_ptr<Ops> make_bench_ops(Machine& machine, const std::string& routing,
                                               const TextConfig& text) {
        if (routing == "natural") return machine.make_ops();
        return make_routed_ops(machine, routing, text.num_hidden_layers, text.num_experts,
                               text.num_experts_per_tok);
    }

    int64_t vocabulary_;
    CachePool pool_;
    std::shared_ptr<Model> model_;
    Machine& machine_;
    std::string routing_;
    GraphRunner runner_;
    std::vector<SequenceMemory> memory_;
    std::vector<std::byte> host_;
};

double median_seconds(int repeat, const std::function<void(uint64_t)>& step) {
    step(0);  // first touch of memory
    std::vector<double> times;
    double total = 0;
    for (int i = 0; i < repeat || (total < shortest_row_seconds && i < 100 * repeat); ++i) {
        check_interrupted();
        const auto start = std::chrono::steady_clock::now();
        step(static_cast<uint64_t>(i) + 1);
        times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        total += times.back();
    }
    std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2),
                     times.end());
    return times[times.size() / 2];
}

}  // namespace

StepBench::StepBench(std::shared_ptr<Model> model, Machine& machine, int repeat, std::string routing)
    : model_(std::move(model)), machine_(machine), repeat_(repeat), routing_(std::move(routing)) {}

StepTime StepBench::decode(int64_t batch, int64_t context) {
    const TextConfig& text = model_->config.text;
    Workload workload(model_, machine_, routing_, batch, context + 1);
    StepTime result;
    result.tokens = batch;
    result.seconds = median_seconds(repeat_, [&](uint64_t seed) { workload.step(context, 1, seed, true); });
    if (text.num_experts > 0) result.experts = workload.touched_experts(context);
    ResidentCost cost(text, batch, batch);
    model_->text.for_each_weight(model_->config, cost);
    const double sequences = static_cast<double>(batch), tokens = static_cast<double>(context + 1);
    const CacheTypes types{machine_.compute_type() == ComputeType::f32 ? 4 : 2, 4};
    result.bytes = cost.bytes + sequences * (2 * static_cast<double>(state_bytes_per_sequence(text, types)) +
                                             tokens * static_cast<double>(kv_bytes_per_token(text, types)));
    result.operations =
        cost.operations + sequences * (recurrence_flops(text) + attention_flops(text, tokens));
    return result;
}

StepTime StepBench::prefill(int64_t prompts, int64_t tokens) {
    const int64_t most_rows = machine_.dedicated_memory() ? 8192 : 2048,
                  largest_chunk = std::max<int64_t>(1, most_rows / prompts);
    const TextConfig& text = model_->config.text;
    Workload workload(model_, machine_, routing_, prompts, tokens);
    StepTime result;
    result.tokens = prompts * tokens;
    result.seconds = median_seconds(repeat_, [&](uint64_t seed) {
        for (int64_t first = 0; first < tokens; first += largest_chunk) {
            const int64_t count = std::min(largest_chunk, tokens - first);
            workload.step(first, count, seed, first + count == tokens);
        }
    });
    for (int64_t first = 0; first < tokens; first += largest_chunk) {
        const int64_t count = std::min(largest_chunk, tokens - first);
        ResidentCost cost(text, prompts * count, first + count == tokens ? prompts : 0);
        model_->text.for_each_weight(model_->config, cost);
        result.bytes += cost.bytes;
        result.operations += cost.operations;
    }
    result.operations += static_cast<double>(prompts * tokens) *
                         (recurrence_flops(text) + attention_flops(text, static_cast<double>(tokens) / 2));
    return result;
}

}  // namespace sheaf
