#include <editline/readline.h>
#include <fmt/format.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>

#include "app/commands.h"
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

constexpr const char* inner_help =
    "/think on|off   reasoning before the answer\n"
    "/system TEXT    the system message (nothing: none); begins anew\n"
    "/clear          begins anew\n"
    "/quit           ends (as Ctrl-D does); Ctrl-C stops an answer\n";

/// Lines from a person (with editing and history) or from a pipe.
class LineReader {
  public:
    LineReader() {
        if (terminal_) tcgetattr(STDIN_FILENO, &as_it_was_);
    }

    std::optional<std::string> read(const char* prompt) {
        std::string line;
        if (!terminal_) return std::getline(std::cin, line) ? std::optional(line) : std::nullopt;
        char* typed = readline(prompt);
        if (!typed) return std::nullopt;
        line = typed;
        if (!line.empty()) add_history(typed);
        std::free(typed);
        return line;
    }

    /// Before the process ends while a line is being read.
    void restore_terminal() const {
        if (terminal_) tcsetattr(STDIN_FILENO, TCSANOW, &as_it_was_);
    }
    bool terminal() const { return terminal_; }

  private:
    bool terminal_ = isatty(STDIN_FILENO) == 1;
    termios as_it_was_{};
};

/// Shows an answer as it comes: reasoning dimmed on a terminal, then the content.
class ShownAnswer : public ResultCollector {
  public:
    explicit ShownAnswer(bool terminal) : terminal_(terminal) {}

    void delta(Delta delta, const Usage& so_far) override {
        if (!delta.parsed.reasoning.empty() && terminal_)
            output::write_now("\033[2m" + delta.parsed.reasoning + "\033[0m");
        if (!delta.parsed.content.empty()) {
            if (terminal_ && !answered_ && !choices[0].reasoning.empty()) output::write("\n\n");
            output::write_now(delta.parsed.content);
            answered_ = true;
        }
        ResultCollector::delta(std::move(delta), so_far);
    }

  private:
    bool terminal_, answered_ = false;
};

class Conversation {
  public:
    Conversation(GenerationService& service, const Options& options)
        : service_(service), options_(options), system_(options.text("system")) {
        if (options.given("think")) switches_["enable_thinking"] = options.flag("think");
        begin();
    }

    void run() {
        const InterruptHandler handler([this](int signal) { return interrupt(signal); });
        if (reader_.terminal()) output::write_now("Talk; /help lists the commands.\n");
        while (const auto line = reader_.read("> ")) {
            check_interrupted();
            if (line->empty()) continue;
            if (line->front() != '/')
                answer(*line);
            else if (!command(*line))
                return;
        }
    }

  private:
    void begin() {
        messages_ = Json::array();
        if (!system_.empty()) messages_.push_back({{"role", "system"}, {"content", system_}});
    }

    /// False: it was the last line.
    bool command(const std::string& line) {
        const size_t space = std::min(line.find(' '), line.size());
        const std::string word = line.substr(1, space - 1),
                          rest = line.substr(std::min(space + 1, line.size()));
        if (word == "quit" || word == "exit") return false;
        if (word == "clear") {
            begin();
        } else if (word == "system") {
            system_ = rest;
            begin();
        } else if (word == "think" && (rest == "on" || rest == "off")) {
            switches_["enable_thinking"] = rest == "on";
        } else if (word == "image" || word == "video") {
            output::write_now("this version reads text only\n");
        } else {
            output::write_now(inner_help);
        }
        return true;
    }

    void answer(const std::string& question) {
        messages_.push_back({{"role", "user"}, {"content", question}});
        Json request = {{"messages", messages_}};
        if (!switches_.empty()) request["chat_template_kwargs"] = switches_;
        request = with_sampling_options(std::move(request), options_, count_++);
        auto shown = std::make_shared<ShownAnswer>(reader_.terminal());
        {
            std::lock_guard lock(mutex_);
            generation_ = service_.start(
                [this, request] { return read_line_request(request, service_.context()); }, shown);
        }
        shown->wait();
        {
            std::lock_guard lock(mutex_);
            generation_.reset();
        }
        finish(*shown);
    }

    void finish(const ShownAnswer& shown) {
        output::write_now("\n");
        if (shown.choices.empty()) {
            messages_.erase(messages_.size() - 1);
            output::write_now(fmt::format("({})\n", shown.failure ? shown.failure->message : "no answer"));
            return;
        }
        const ChoiceResult& choice = shown.choices[0];
        if (shown.failure) output::write_now(fmt::format("({})\n", shown.failure->message));
        if (choice.finish_reason == "length") output::write_now("(the answer was cut off: no more room)\n");
        Json message = {{"role", "assistant"}, {"content", choice.content}};
        if (!choice.reasoning.empty()) message["reasoning_content"] = choice.reasoning;
        messages_.push_back(std::move(message));
    }

    /// Ctrl-C stops the answer; while a line is typed it says how to end, and SIGTERM ends.
    bool interrupt(int signal) {
        std::lock_guard lock(mutex_);
        if (generation_ && signal == SIGINT) {
            generation_->abort({Failure::Kind::shutting_down, "stopped", {}});
            return true;
        }
        if (signal == SIGINT && reader_.terminal()) {
            output::write_now("\n(/quit or Ctrl-D ends)\n> ");
            return true;
        }
        reader_.restore_terminal();
        _exit(128 + signal);
    }

    GenerationService& service_;
    const Options& options_;
    LineReader reader_;
    std::string system_;
    Json messages_, switches_ = Json::object();
    uint64_t count_ = 0;
    std::mutex mutex_;
    std::unique_ptr<Generation> generation_;
};

}  // namespace

int run_chat(const Options& options) {
    auto model = load_text_side(options);
    LoadedModel loaded = load_wanted_model(options.model(), make_wanted_machine(options), options);
    model->engine = make_wanted_engine(loaded, options, 16, model->tokenizer->vocabulary_size());
    loaded = {};
    GenerationService service(model);
    Conversation(service, options).run();
    return exit_done;
}

}  // namespace sheaf
