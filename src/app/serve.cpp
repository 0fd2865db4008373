#include <fmt/format.h>

#include <signal.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "app/build_info.h"
#include "app/commands.h"
#include "app/interrupt.h"
#include "app/loaded_model.h"
#include "app/text_side.h"
#include "backend/registry.h"
#include "base/log.h"
#include "engine/engine.h"
#include "processor/tokenizer.h"
#include "serve/server.h"

namespace sheaf {

namespace {

/// vLLM takes a JSON list here; words do as well.
std::vector<std::string> words_or_list(const std::vector<std::string>& words) {
    std::vector<std::string> result;
    for (const std::string& word : words) {
        const auto list = nlohmann::json::parse(word, nullptr, false);
        if (!list.is_array()) {
            result.push_back(word);
            continue;
        }
        for (const auto& item : list) {
            if (!item.is_string()) throw UsageError("--allowed-origins: a list of origins is due");
            result.push_back(item.get<std::string>());
        }
    }
    return result;
}

ServerOptions server_options(const Options& options) {
    ServerOptions server;
    server.host = options.text("host");
    server.port = static_cast<int>(options.integer("port"));
    server.uds = options.text("uds");
    server.api_keys = options.texts("api-key");
    if (options.given("allowed-origins"))
        server.allowed_origins = words_or_list(options.texts("allowed-origins"));
    server.version = build_info::version;
    server.access_log = !options.flag("disable-uvicorn-access-log");
    server.always_usage = options.flag("enable-force-include-usage");
    if (options.flag("disable-log-stats")) server.stats_seconds = 0;
    return server;
}

void load_into(Server& server, const Options& options, std::function<void(const std::string&)> on_fault) {
    auto text = load_text_side(options);
    LoadedModel loaded = load_wanted_model(options.model(), make_wanted_machine(options), options,
                                           [&](uint64_t done, uint64_t total, double eta) {
                                               server.set_loading({"weights", done, total, eta});
                                           });
    server.set_loading({"caches", 0, 0, -1});
    text->engine = make_wanted_engine(loaded, options, static_cast<int32_t>(options.integer("max-waiting")),
                                      text->tokenizer->vocabulary_size(), std::move(on_fault));
    const EngineOptions& engine = text->engine->options();
    const EngineStats stats = text->engine->stats();
    log::info("ready at {}: {} tokens of cache in {} blocks, {} sequences at once, context of {} tokens",
              server.address(), static_cast<int64_t>(stats.blocks_total) * engine.block_size,
              stats.blocks_total, engine.max_num_seqs, engine.max_model_len);
    server.set_ready(std::move(*text));
}

}  // namespace

int run_serve(const Options& options) {
    constexpr int broken = -1;  // no signal's number
    std::atomic<int> signal{0};
    const InterruptHandler handler([&](int number) {
        signal = number;
        signal.notify_all();
        return false;
    });
    Server server(server_options(options));
    server.start();
    log::info("listening at {}; /health says when the model is ready", server.address());
    load_into(server, options, [&](const std::string&) {
        int none = 0;
        signal.compare_exchange_strong(none, broken);
        signal.notify_all();
    });
    signal.wait(0);
    if (signal == broken) {  // the requests have their errors; a supervisor starts the program again
        server.drain(1);
        server.stop();
        return exit_failed;
    }
    const double timeout = options.number("drain-timeout");
    log::info("{}: running answers may finish, for at most {:.0f} s",
              signal == SIGTERM ? "SIGTERM" : "Ctrl-C", timeout);
    const bool complete = server.drain(timeout);
    server.stop();
    log::info("{}", complete ? "all answers were finished" : "some answers were cut off");
    // Asking a server to end is how it is meant to end; a person's Ctrl-C counts as an interruption.
    return signal == SIGTERM && complete ? static_cast<int>(exit_done) : 128 + signal;
}

}  // namespace sheaf
