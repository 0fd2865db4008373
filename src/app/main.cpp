#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <new>

#include "app/commands.h"
#include "app/interrupt.h"
#include "app/output.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace sheaf {

namespace {

struct Command {
    std::string_view name;
    int (*run)(const Options&);
};

constexpr Command commands[] = {
    {"serve", run_serve},       {"chat", run_chat},
    {"generate", run_generate}, {"score", run_score},
    {"compare", run_compare},   {"prompt", run_prompt},
    {"inspect", run_inspect},   {"plan", run_plan},
    {"bench", run_bench},       {"healthcheck", run_healthcheck},
    {"version", run_version},   {"help", run_help},
};

int complain(const char* message, int status) {
    std::fprintf(stderr, "sheaf: error: %s\n", message);
    return status;
}

const CommandSpec& command_named(const std::string& name) {
    if (const CommandSpec* command = find_command(name)) return *command;
    std::vector<std::string_view> names;
    for (const CommandSpec& command : command_specs()) names.push_back(command.name);
    const std::string near = nearest_word(name, names);
    throw UsageError(fmt::format("unknown command {}{}; see sheaf --help", name,
                                 near.empty() ? "" : fmt::format(" (did you mean {}?)", near)));
}

int run(std::vector<std::string> words) {
    if (words.empty()) throw UsageError("a command is missing; see sheaf --help");
    if (words[0] == "--help" || words[0] == "-h") words[0] = "help";
    if (words[0] == "--version" || words[0] == "-V") words[0] = "version";
    const CommandSpec& spec = command_named(words[0]);
    words.erase(words.begin());
    for (const std::string& word : words) {
        if (word == "--") break;
        if (word == "--help" || word == "-h") {
            output::write(command_help(spec));
            return exit_done;
        }
    }
    const Options options = parse_options(spec, words, process_environment());
    if (spec.name != "help") log::initialize(options.text("log-level"));
    for (const std::string& line : options.acknowledged()) log::info("{}", line);
    for (const Command& command : commands)
        if (command.name == spec.name) return command.run(options);
    return complain("a command without a function", exit_failed);
}

int run_guarded(const std::vector<std::string>& words) {
    try {
        install_sigbus_handler();
        start_interrupt_thread();
        const int status = run(words);
        output::finish();
        return status;
    } catch (const UsageError& e) {
        return complain(e.what(), exit_usage);
    } catch (const Interrupted& e) {
        return 128 + e.signal();
    } catch (const std::bad_alloc&) {
        return complain(
            "out of memory; a smaller --max-model-len, --max-num-seqs or --kv-cache-memory-bytes needs less",
            exit_failed);
    } catch (const std::exception& e) {
        return complain(e.what(), exit_failed);
    }
}

}  // namespace

}  // namespace sheaf

int main(int argc, char** argv) {
    return sheaf::run_guarded(sheaf::command_line(argc, argv));
}
