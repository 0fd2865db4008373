#include "serve/server_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <vector>

namespace sheaf {

namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;
using prometheus::Histogram;
using prometheus::Labels;
using Buckets = Histogram::BucketBoundaries;

// Bounds as in vLLM, so that its dashboards and alerts fit.
const Buckets first_token_buckets = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,  0.25,  0.5,   0.75,
                                     1.0,   2.5,   5.0,  7.5,  10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0};
const Buckets token_buckets = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,  0.3,  0.4, 0.5,
                               0.75, 1.0,   2.5,  5.0,   7.5, 10.0, 20.0, 40.0, 80.0};
const Buckets request_buckets = {0.3,  0.5,  0.8,  1.0,  1.5,   2.0,   2.5,   5.0,   10.0,   15.0,  20.0,
                                 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};
const Buckets choice_buckets = {1, 2, 5, 10, 20};

// 1, 2, 5, 10, 20, 50, ... up to `most`.
Buckets length_buckets(double most) {
    Buckets buckets;
    for (double decade = 1;; decade *= 10) {
        for (const double step : {1.0, 2.0, 5.0}) {
            if (decade * step > most) return buckets;
            buckets.push_back(decade * step);
        }
    }
}

double resident_bytes() {
    std::ifstream file("/proc/self/statm");
    double total = 0, resident = 0;
    file >> total >> resident;
    return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

double cpu_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double open_files() {
    std::error_code error;
    double count = 0;
    for (auto entry = std::filesystem::directory_iterator("/proc/self/fd", error);
         !error && entry != std::filesystem::directory_iterator(); entry.increment(error))
        ++count;
    return count;
}

// A total that the engine keeps and the registry can only add to.
struct Total {
    prometheus::Counter* counter;
    double seen = 0;

    void set(uint64_t value) {
        const auto now = static_cast<double>(value);
        if (now > seen) counter->Increment(now - seen);
        seen = std::max(seen, now);
    }
};

}  // namespace

struct ServerMetrics::Http {
    explicit Http(prometheus::Registry& registry)
        : requests(BuildCounter()
                       .Name("http_requests_total")
                       .Help("Requests by handler, method and status.")
                       .Register(registry)),
          durations(BuildHistogram()
                        .Name("http_request_duration_seconds")
                        .Help("Time to answer.")
                        .Register(registry)),
          sizes(BuildCounter().Name("http_response_size_bytes").Help("Bytes sent.").Register(registry)),
          resident(BuildGauge()
                       .Name("process_resident_memory_bytes")
                       .Help("Resident memory.")
                       .Register(registry)
                       .Add({})),
          cpu(BuildCounter().Name("process_cpu_seconds_total").Help("CPU time.").Register(registry).Add({})),
          files(BuildGauge()
                    .Name("process_open_fds")
                    .Help("Open file descriptors.")
                    .Register(registry)
                    .Add({})) {
        const double now =
            std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
        BuildGauge()
            .Name("process_start_time_seconds")
            .Help("When the process began.")
            .Register(registry)
            .Add({})
            .Set(now);
    }

    prometheus::Family<prometheus::Counter>& requests;
    prometheus::Family<Histogram>& durations;
    prometheus::Family<prometheus::Counter>& sizes;
    prometheus::Gauge& resident;
    prometheus::Counter& cpu;
    prometheus::Gauge& files;
};

struct ServerMetrics::Model {
    Model(prometheus::Registry& registry, const std::string& name, std::shared_ptr<Engine> the_engine)
        : engine(std::move(the_engine)), registry_(registry), labels_{{"engine", "0"}, {"model_name", name}} {
        const Buckets lengths = length_buckets(engine->options().max_model_len);
        running = gauge("num_requests_running", "Requests in the batch.");
        waiting = gauge("num_requests_waiting", "Requests in the queue.");
        cache_usage = gauge("kv_cache_usage_perc", "Used share of the KV cache, 0 to 1.");
        prompt_tokens = total("prompt_tokens_total", "Prompt tokens processed.");
        generation_tokens = total("generation_tokens_total", "Tokens generated.");
        preemptions = total("num_preemptions_total", "Sequences put back into the queue.");
        prefix_queries = total("prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.");
        prefix_hits = total("prefix_cache_hits_total", "Prompt tokens found in the prefix cache.");
        success =
            &BuildCounter().Name("vllm:request_success_total").Help("Finished requests.").Register(registry);
        for (const char* reason : {"stop", "length", "abort", "error"}) success_counter(reason);
        first_token = histogram("time_to_first_token_seconds", "Time to first token.", first_token_buckets);
        inter_token = histogram("inter_token_latency_seconds", "Time between tokens.", token_buckets);
        output_token =
            histogram("time_per_output_token_seconds", "Time between tokens (former name).", token_buckets);
        per_token = histogram("request_time_per_output_token_seconds", "Mean time per token of a request.",
                              token_buckets);
        latency =
            histogram("e2e_request_latency_seconds", "From arrival to the last token.", request_buckets);
        queue = histogram("request_queue_time_seconds", "Time in the queue.", request_buckets);
        inference = histogram("request_inference_time_seconds", "Time in the engine after the queue.",
                              request_buckets);
        prefill = histogram("request_prefill_time_seconds", "Time of the prompt.", request_buckets);
        decode = histogram("request_decode_time_seconds", "Time from the first to the last token.",
                           request_buckets);
        prompt_length = histogram("request_prompt_tokens", "Prompt tokens of a request.", lengths);
        generation_length = histogram("request_generation_tokens", "Generated tokens of a request.", lengths);
        longest =
            histogram("request_max_num_generation_tokens", "Tokens of a request's longest choice.", lengths);
        choices = histogram("request_params_n", "n of a request.", choice_buckets);
        max_tokens = histogram("request_params_max_tokens", "max_tokens of a request.", lengths);
        computed =
            histogram("request_prefill_kv_computed_tokens", "Prompt tokens not found in a cache.", lengths);
        const EngineOptions& options = engine->options();
        Labels info = labels_;
        info["block_size"] = std::to_string(options.block_size);
        info["num_gpu_blocks"] = std::to_string(engine->stats().blocks_total);
        BuildGauge().Name("vllm:cache_config_info").Help("The KV cache.").Register(registry).Add(info).Set(1);
    }

    prometheus::Counter& success_counter(const std::string& reason) {
        Labels labels = labels_;
        labels["finished_reason"] = reason;
        return success->Add(labels);
    }

    void scrape() {
        const EngineStats stats = engine->stats();
        running->Set(stats.running);
        waiting->Set(stats.waiting);
        cache_usage->Set(stats.blocks_total > 0 ? static_cast<double>(stats.blocks_used) / stats.blocks_total
                                                : 0);
        prompt_tokens.set(stats.prompt_tokens);
        generation_tokens.set(stats.generation_tokens);
        preemptions.set(stats.preemptions);
        prefix_queries.set(stats.prefix_queries);
        prefix_hits.set(stats.prefix_hits);
    }

    std::shared_ptr<Engine> engine;
    prometheus::Gauge *running, *waiting, *cache_usage;
    Total prompt_tokens, generation_tokens, preemptions, prefix_queries, prefix_hits;
    prometheus::Family<prometheus::Counter>* success;
    Histogram *first_token, *inter_token, *output_token, *per_token, *latency, *queue, *inference, *prefill,
        *decode, *prompt_length, *generation_length, *longest, *choices, *max_tokens, *computed;

  private:
    prometheus::Gauge* gauge(const char* name, const char* help) {
        return &BuildGauge().Name(std::string("vllm:") + name).Help(help).Register(registry_).Add(labels_);
    }
    Total total(const char* name, const char* help) {
        return {
            &BuildCounter().Name(std::string("vllm:") + name).Help(help).Register(registry_).Add(labels_)};
    }
    Histogram* histogram(const char* name, const char* help, const Buckets& buckets) {
        return &BuildHistogram()
                    .Name(std::string("vllm:") + name)
                    .Help(help)
                    .Register(registry_)
                    .Add(labels_, buckets);
    }

    prometheus::Registry& registry_;
    Labels labels_;
};

struct ServerMetrics::Parts {
    prometheus::Registry registry;
    Http http{registry};
    std::unique_ptr<Model> model;
    std::atomic<Model*> ready{nullptr};
    std::mutex scraping;
};

ServerMetrics::ServerMetrics() : parts_(std::make_unique<Parts>()) {}
ServerMetrics::~ServerMetrics() = default;

void ServerMetrics::set_model(const std::string& name, std::shared_ptr<Engine> engine) {
    parts_->model = std::make_unique<Model>(parts_->registry, name, std::move(engine));
    parts_->ready = parts_->model.get();
}

void ServerMetrics::first_token(double seconds) {
    if (Model* model = parts_->ready) model->first_token->Observe(seconds);
}

void ServerMetrics::next_tokens(double seconds, int32_t count) {
    Model* model = parts_->ready;
    for (int32_t i = 0; model && i < count; ++i) {
        model->inter_token->Observe(seconds / count);
        model->output_token->Observe(seconds / count);
    }
}

void ServerMetrics::finished(const RequestRecord& record) {
    Model* model = parts_->ready;
    if (!model) return;
    // vLLM counts an answer that ends in tool calls as stopped.
    model->success_counter(record.finish_reason == "tool_calls" ? "stop" : record.finish_reason).Increment();
    model->latency->Observe(record.total);
    model->prompt_length->Observe(static_cast<double>(record.usage.prompt_tokens));
    model->generation_length->Observe(static_cast<double>(record.usage.completion_tokens));
    model->longest->Observe(static_cast<double>(record.longest_choice));
    model->computed->Observe(static_cast<double>(record.usage.prompt_tokens - record.usage.cached_tokens));
    model->choices->Observe(record.n);
    if (record.max_tokens) model->max_tokens->Observe(*record.max_tokens);
    if (!record.first_token) return;
    model->queue->Observe(record.queue);
    model->prefill->Observe(record.prefill);
    model->decode->Observe(record.decode);
    model->inference->Observe(record.prefill + record.decode);
    if (record.longest_choice > 1)
        model->per_token->Observe(record.decode / static_cast<double>(record.longest_choice - 1));
}

void ServerMetrics::http_request(const std::string& handler, const std::string& method, int status,
                                 double seconds, size_t response_bytes) {
    Http& http = parts_->http;
    const std::string group = std::to_string(status / 100) + "xx";
    http.requests.Add({{"handler", handler}, {"method", method}, {"status", group}}).Increment();
    http.durations.Add({{"handler", handler}, {"method", method}}, Buckets{0.1, 0.5, 1}).Observe(seconds);
    http.sizes.Add({{"handler", handler}}).Increment(static_cast<double>(response_bytes));
}

std::string ServerMetrics::text() {
    std::lock_guard lock(parts_->scraping);
    Http& http = parts_->http;
    http.resident.Set(resident_bytes());
    http.files.Set(open_files());
    if (const double cpu = cpu_seconds(); cpu > http.cpu.Value()) http.cpu.Increment(cpu - http.cpu.Value());
    if (Model* model = parts_->ready) model->scrape();
    return prometheus::TextSerializer().Serialize(parts_->registry.Collect());
}

}  // namespace sheaf
