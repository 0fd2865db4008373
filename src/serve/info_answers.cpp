// Endpoints that tell about the server: health, models, the start page.
#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "engine/engine.h"
#include "serve/answer_json.h"
#include "serve/json_reader.h"
#include "serve/server_state.h"

namespace sheaf {

using Json = nlohmann::ordered_json;

HttpResponse json_response(const Json& body, int status) {
    return {.status = status, .body = dump_json(body)};
}

HttpResponse error_response(int status, const std::string& message, const std::string& param) {
    return json_response(answer::error(status, message, param), status);
}

namespace {

Json loading_json(const LoadingProgress& progress) {
    Json body = {{"status", "loading"},
                 {"phase", progress.phase},
                 {"bytes_done", progress.bytes_done},
                 {"bytes_total", progress.bytes_total},
                 {"eta_s", nullptr}};
    if (progress.eta_seconds >= 0) body["eta_s"] = progress.eta_seconds;
    return body;
}

Json model_json(const ServerState& state, const GenerationService& service, const std::string& name) {
    return {{"id", name},
            {"object", "model"},
            {"created", state.created},
            {"owned_by", "sheaf"},
            {"root", service.model().root.empty() ? name : service.model().root},
            {"parent", nullptr},
            {"max_model_len", service.max_model_len()},
            {"permission", Json::array()}};
}

// "owner%2Fname" is how some clients send a name with a slash; what is no such code stays.
std::string percent_decoded(const std::string& text) {
    std::string result;
    for (size_t i = 0; i < text.size(); ++i) {
        unsigned code = 0;
        const char* begin = text.data() + i + 1;
        if (text[i] == '%' && i + 2 < text.size() &&
            std::from_chars(begin, begin + 2, code, 16).ptr == begin + 2) {
            result += static_cast<char>(code);
            i += 2;
        } else {
            result += text[i];
        }
    }
    return result;
}

}  // namespace

HttpResponse answer_health(const ServerState& state) {
    switch (state.phase.load()) {
        case ServerPhase::loading:
            return json_response(loading_json(state.progress()), 503);
        case ServerPhase::draining:
            return json_response({{"status", "draining"}, {"running", state.generating.load()}}, 503);
        case ServerPhase::ready:
            break;
    }
    if (const auto service = state.service())
        if (const EngineStats stats = service->model().engine->stats(); !stats.fault.empty())
            return json_response({{"status", "broken"}, {"fault", stats.fault}}, 503);
    return json_response({{"status", "ok"}});
}

HttpResponse answer_ready(const ServerState& state) {
    const auto service = state.service();
    if (state.phase != ServerPhase::ready || !service) return answer_health(state);
    const EngineStats stats = service->model().engine->stats();
    if (!stats.fault.empty()) return answer_health(state);
    if (stats.running > 0 && stats.last_step_age_seconds > state.options.stall_seconds)
        return json_response({{"status", "stalled"}, {"seconds", stats.last_step_age_seconds}}, 503);
    if (stats.waiting >= service->model().engine->options().max_waiting)
        return json_response({{"status", "queue full"}, {"waiting", stats.waiting}}, 503);
    return json_response({{"status", "ok"}});
}

HttpResponse answer_not_ready(const ServerState& state) {
    if (state.phase == ServerPhase::draining) return error_response(503, "the server is shutting down");
    const LoadingProgress progress = state.progress();
    std::string message = "the model is still loading";
    if (progress.bytes_total > 0)
        message += fmt::format(" ({} %)", 100 * progress.bytes_done / progress.bytes_total);
    HttpResponse response = error_response(503, message);
    response.headers.emplace_back("Retry-After", "5");
    return response;
}

HttpResponse answer_models(const ServerState& state) {
    const auto service = state.service();
    if (!service) return answer_not_ready(state);
    Json list = Json::array();
    for (const std::string& name : service->model().names) list.push_back(model_json(state, *service, name));
    return json_response({{"object", "list"}, {"data", std::move(list)}});
}

HttpResponse answer_model(const ServerState& state, const std::string& encoded_name) {
    const auto service = state.service();
    if (!service) return answer_not_ready(state);
    const std::string name = percent_decoded(encoded_name);
    if (std::ranges::find(service->model().names, name) == service->model().names.end())
        return error_response(404, fmt::format("The model `{}` does not exist.", name.substr(0, 64)),
                              "model");
    return json_response(model_json(state, *service, name));
}

HttpResponse answer_index(const ServerState& state) {
    constexpr const char* page = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sheaf</title>
<style>body{{font:16px/1.5 sans-serif;max-width:44em;margin:3em auto;padding:0 1em}}code{{background:#eee;padding:0 .3em}}</style></head>
<body><h1>Sheaf {}</h1><p>An OpenAI-compatible server. Point a client's base URL at <code>/v1</code> of this address.</p>
<ul><li><code>POST /v1/chat/completions</code>, <code>POST /v1/completions</code></li>
<li><a href="/v1/models"><code>GET /v1/models</code></a></li>
<li><code>POST /tokenize</code>, <code>POST /detokenize</code></li>
<li><a href="/health"><code>GET /health</code></a>, <a href="/metrics"><code>GET /metrics</code></a>, <a href="/version"><code>GET /version</code></a></li></ul>
</body></html>
)";
    HttpResponse response;
    response.body = fmt::format(fmt::runtime(page), state.options.version);
    response.content_type = "text/html; charset=utf-8";
    return response;
}

}  // namespace sheaf
