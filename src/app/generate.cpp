#include <unistd.h>

#include <chrono>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "app/commands.h"
#include "app/input_lines.h"
#include "app/interrupt.h"
#include "app/loaded_model.h"
#include "app/output.h"
#include "app/sampling_options.h"
#include "app/text_side.h"
#include "base/error.h"
#include "processor/tokenizer.h"
#include "serve/generation_result.h"
#include "serve/generation_service.h"

namespace sheaf {

namespace {

using Json = nlohmann::ordered_json;

constexpr int32_t queue_room = 1 << 16;

/// Prints the answer as it comes, and collects it.
class StreamedAnswer : public ResultCollector {
  public:
    void delta(Delta delta, const Usage& so_far) override {
        if (!delta.parsed.content.empty()) {
            output::write_now(delta.parsed.content);
            ends_line_ = delta.parsed.content.back() == '\n';
        } else if (!delta.parsed.reasoning.empty() && shows_reasoning_) {
            std::fprintf(stderr, "\033[2m%s\033[0m", delta.parsed.reasoning.c_str());
        }
        ResultCollector::delta(std::move(delta), so_far);
    }
    bool ends_line() const { return ends_line_; }

  private:
    // Reasoning is not the answer; a person at a terminal may watch it.
    bool shows_reasoning_ = isatty(STDERR_FILENO) == 1;
    bool ends_line_ = false;
};

/// A line on its way through the engine, or one that never gets there.
struct Running {
    InputLine line;
    std::shared_ptr<ResultCollector> collector;
    std::unique_ptr<Generation> generation;
};

/// All lines through the service, several at a time, results in input order.
class Batch {
  public:
    Batch(GenerationService& service, InputLines& lines, const Options& options)
        : service_(service),
          lines_(lines),
          options_(options),
          most_(static_cast<size_t>(2 * std::max(service.model().engine->options().max_num_seqs, 1))),
          handler_([this](int) {
              std::lock_guard lock(mutex_);
              abort_all();
              return false;
          }) {}

    void run(const std::shared_ptr<ResultCollector>& only) {
        while (true) {
            while (running_.size() < most_ && start_next(only)) {
            }
            if (running_.empty()) return;
            Running& first = running_.front();
            if (first.collector) first.collector->wait();
            check_interrupted();
            if (!only) report(first);
            std::lock_guard lock(mutex_);
            running_.pop_front();
        }
    }

  private:
    /// Needs the mutex.
    void abort_all() {
        for (Running& one : running_)
            if (one.generation) one.generation->abort({Failure::Kind::shutting_down, "interrupted", {}});
    }

    bool start_next(const std::shared_ptr<ResultCollector>& only) {
        auto line = lines_.next();
        if (!line) return false;
        Running one{std::move(*line), nullptr, nullptr};
        if (one.line.error.empty()) {
            one.collector = only ? only : std::make_shared<ResultCollector>();
            Json content = with_sampling_options(std::move(one.line.content), options_, count_++);
            one.generation = service_.start(
                [this, content = std::move(content)] {
                    return read_line_request(content, service_.context());
                },
                one.collector);
        }
        std::lock_guard lock(mutex_);
        running_.push_back(std::move(one));
        if (interrupt_signal() != 0) abort_all();  // the handler may have run just before
        return true;
    }

    void report(const Running& one) const {
        output::write_line(one.collector
                               ? line_result(one.line.id, *one.collector, *service_.model().tokenizer)
                               : error_line(one.line, one.line.error));
    }

    GenerationService& service_;
    InputLines& lines_;
    const Options& options_;
    size_t most_;
    uint64_t count_ = 0;
    std::mutex mutex_;
    std::deque<Running> running_;
    InterruptHandler handler_;  // last: it looks at the others
};

}  // namespace

int run_generate(const Options& options) {
    InputLines lines(options);
    auto model = load_text_side(options);
    LoadedModel loaded = load_wanted_model(options.model(), make_wanted_machine(options), options);
    model->engine = make_wanted_engine(loaded, options, queue_room, model->tokenizer->vocabulary_size());
    loaded = {};
    GenerationService service(model);
    auto answer = lines.single() && !options.flag("json") ? std::make_shared<StreamedAnswer>() : nullptr;
    Batch(service, lines, options).run(answer);
    if (!answer) return exit_done;
    if (answer->failure) fail(ErrorKind::invalid_input, "{}", answer->failure->message);
    if (!answer->ends_line()) output::write("\n");
    return exit_done;
}

}  // namespace sheaf
