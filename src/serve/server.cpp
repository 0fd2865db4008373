#include "serve/server.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "base/log.h"
#include "engine/engine.h"
#include "serve/answer_sink.h"
#include "serve/api_keys.h"
#include "serve/http_server.h"
#include "serve/router.h"
#include "serve/server_state.h"

namespace sheaf {

using namespace std::chrono_literals;

class Server::Implementation : public HttpHandler {
  public:
    explicit Implementation(ServerOptions options)
        : state_(std::move(options)),
          keys_(state_.options.api_keys),
          http_({state_.options.host, state_.options.port, state_.options.uds, state_.options.limits},
                *this) {
        state_.created = std::chrono::duration_cast<std::chrono::seconds>(
                             std::chrono::system_clock::now().time_since_epoch())
                             .count();
        add_routes();
    }

    ~Implementation() override { stop(); }

    void start() {
        http_.start();
        if (state_.options.stats_seconds > 0)
            http_.every(std::chrono::milliseconds(static_cast<int64_t>(1000 * state_.options.stats_seconds)),
                        [this] { log_statistics(); });
    }

    void set_ready(ServedModel model) {
        auto shared = std::make_shared<const ServedModel>(std::move(model));
        auto service = std::make_shared<GenerationService>(shared, &state_.metrics);
        state_.metrics.set_model(shared->names.front(), shared->engine);
        state_.set_service(std::move(service));
        ServerPhase loading = ServerPhase::loading;
        state_.phase.compare_exchange_strong(loading, ServerPhase::ready);
    }

    bool drain(double timeout_seconds);

    void stop() {
        state_.phase = ServerPhase::draining;
        http_.stop();
        state_.set_service(nullptr);
    }

    std::optional<HttpResponse> before_body(const HttpRequest& request) override;
    void handle(std::shared_ptr<Exchange> exchange) override;
    HttpResponse error(int status, const std::string& message) override {
        return error_response(status, message);
    }
    void decorate(const HttpRequest& request, HttpResponse& response) override;
    void done(const HttpRequest& request, const HttpOutcome& outcome) override;

    ServerState state_;
    ApiKeys keys_;
    Router router_;

  private:
    using Answer = std::shared_ptr<Generation> (*)(GenerationService&, std::shared_ptr<Exchange>,
                                                   const AnswerOptions&);

    void add_routes();
    void add_info(const char* path, Access access, std::function<HttpResponse(const HttpRequest&)> answer);
    void add_generation(const char* path, Answer answer);
    void add_token_route(const char* path, void (*answer)(GenerationService&, std::shared_ptr<Exchange>));
    HttpResponse preflight(const HttpRequest& request) const;
    bool origin_allowed(std::string_view origin) const;
    void log_statistics();
    void abort_running();
    bool wait_idle(std::chrono::steady_clock::time_point deadline) const;

    std::mutex running_mutex_;
    std::vector<std::weak_ptr<Generation>> running_;
    EngineStats last_stats_;
    bool was_active_ = false;

  public:
    HttpServer http_;  // last: its thread uses all of the above
};

void Server::Implementation::add_info(const char* path, Access access,
                                      std::function<HttpResponse(const HttpRequest&)> answer) {
    router_.add(
        {"GET", path, access, [answer = std::move(answer)](const std::shared_ptr<Exchange>& exchange) {
             exchange->reply(answer(exchange->request()));
         }});
}

void Server::Implementation::add_generation(const char* path, Answer answer) {
    router_.add({"POST", path, Access::key, [this, answer](const std::shared_ptr<Exchange>& exchange) {
                     const auto service = state_.service();
                     if (!service) return exchange->reply(answer_not_ready(state_));
                     const auto generation =
                         answer(*service, exchange,
                                {state_.options.limits.stream_bytes, "sheaf-" + state_.options.version,
                                 state_.options.always_usage});
                     std::lock_guard lock(running_mutex_);
                     std::erase_if(running_, [](const auto& weak) { return weak.expired(); });
                     running_.push_back(generation);
                 }});
}

void Server::Implementation::add_token_route(const char* path,
                                             void (*answer)(GenerationService&, std::shared_ptr<Exchange>)) {
    router_.add({"POST", path, Access::key, [this, answer](const std::shared_ptr<Exchange>& exchange) {
                     const auto service = state_.service();
                     if (!service) return exchange->reply(answer_not_ready(state_));
                     answer(*service, exchange);
                 }});
}

void Server::Implementation::add_routes() {
    add_generation("/v1/chat/completions", answer_chat);
    add_generation("/v1/completions", answer_completion);
    for (const char* path : {"/tokenize", "/v1/tokenize"}) add_token_route(path, answer_tokenize);
    for (const char* path : {"/detokenize", "/v1/detokenize"}) add_token_route(path, answer_detokenize);
    add_info("/v1/models", Access::key, [this](const HttpRequest&) { return answer_models(state_); });
    add_info("/v1/models/*", Access::key, [this](const HttpRequest& request) {
        return answer_model(state_, request.path.substr(std::string_view("/v1/models/").size()));
    });
    add_info("/health", Access::open, [this](const HttpRequest&) { return answer_health(state_); });
    add_info("/ping", Access::open, [this](const HttpRequest&) { return answer_health(state_); });
    add_info("/health/live", Access::open, [](const HttpRequest&) {
        return json_response({{"status", "ok"}});
    });
    add_info("/health/ready", Access::open, [this](const HttpRequest&) { return answer_ready(state_); });
    add_info("/metrics", Access::key, [this](const HttpRequest&) {
        HttpResponse response;
        response.body = state_.metrics.text();
        response.content_type = "text/plain; version=0.0.4; charset=utf-8";
        return response;
    });
    add_info("/version", Access::key, [this](const HttpRequest&) {
        return json_response({{"version", state_.options.version}});
    });
    add_info("/load", Access::key, [this](const HttpRequest&) {
        return json_response({{"server_load", state_.generating.load()}});
    });
    add_info("/", Access::open, [this](const HttpRequest&) { return answer_index(state_); });
    for (const char* path : {"/v1/embeddings", "/v1/score", "/v1/rerank", "/v1/audio/*", "/v1/images/*"}) {
        router_.add({"POST", path, Access::key, [](const std::shared_ptr<Exchange>& exchange) {
                         exchange->reply(
                             error_response(501, "this server generates text; it offers no such model"));
                     }});
    }
}

bool Server::Implementation::origin_allowed(std::string_view origin) const {
    const auto& allowed = state_.options.allowed_origins;
    return std::ranges::find(allowed, "*") != allowed.end() ||
           std::ranges::find(allowed, origin) != allowed.end();
}

HttpResponse Server::Implementation::preflight(const HttpRequest& request) const {
    HttpResponse response{.status = 204, .body = {}, .content_type = {}};
    const std::string_view wanted = request.header("Access-Control-Request-Headers");
    response.headers = {{"Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS"},
                        {"Access-Control-Allow-Headers", wanted.empty() ? "*" : std::string(wanted)},
                        {"Access-Control-Max-Age", "600"}};
    return response;
}

std::optional<HttpResponse> Server::Implementation::before_body(const HttpRequest& request) {
    const std::string_view origin = request.header("Origin");
    if (!origin.empty() && !origin_allowed(origin))
        return error_response(403, "this origin is not allowed; see --allowed-origins");
    if (request.method == "OPTIONS") return preflight(request);
    const Router::Match match = router_.find(request.method, request.path);
    const bool known = match.route || !match.allowed.empty();
    // What exists is told only to those with a key.
    const bool open = match.route && match.route->access == Access::open;
    if (!open && !keys_.allow(request)) {
        HttpResponse response = error_response(401, "the API key is missing or wrong");
        response.headers.emplace_back("WWW-Authenticate", "Bearer");
        return response;
    }
    if (!known) return error_response(404, "there is no such endpoint");
    if (!match.route) {
        HttpResponse response = error_response(405, "this endpoint does not take that method");
        response.headers.emplace_back("Allow", match.allowed);
        return response;
    }
    const bool needs_model = std::string_view(match.route->method) == "POST";
    if (needs_model && state_.phase != ServerPhase::ready) return answer_not_ready(state_);
    return {};
}

void Server::Implementation::handle(std::shared_ptr<Exchange> exchange) {
    ++state_.in_flight;
    if (exchange->request().method == "POST") ++state_.generating;
    const Router::Match match = router_.find(exchange->request().method, exchange->request().path);
    match.route->handle(exchange);
}

void Server::Implementation::decorate(const HttpRequest& request, HttpResponse& response) {
    if (!request.id.empty()) response.headers.emplace_back("X-Request-Id", request.id);
    const std::string_view origin = request.header("Origin");
    if (origin.empty() || !origin_allowed(origin)) return;
    const auto& allowed = state_.options.allowed_origins;
    const bool anyone = std::ranges::find(allowed, "*") != allowed.end();
    response.headers.emplace_back("Access-Control-Allow-Origin", anyone ? "*" : std::string(origin));
    if (!anyone) response.headers.emplace_back("Vary", "Origin");
    response.headers.emplace_back("Access-Control-Expose-Headers", "X-Request-Id");
}

void Server::Implementation::done(const HttpRequest& request, const HttpOutcome& outcome) {
    if (outcome.handled) {
        --state_.in_flight;
        if (request.method == "POST") --state_.generating;
    }
    const Router::Match match = router_.find(request.method, request.path);
    const std::string handler = match.route ? match.route->path : "none";
    const std::string method = match.route ? request.method : "other";
    state_.metrics.http_request(handler, method, outcome.status, outcome.seconds, outcome.bytes);
    if (!state_.options.access_log || request.method.empty()) return;
    const auto line =
        fmt::format("{} {} {} {:.3f}s {}", request.method, handler == "none" ? "?" : request.path,
                    outcome.status, outcome.seconds, request.id);
    if (request.method == "POST" || outcome.status >= 400)
        log::info("{}", line);
    else
        log::debug("{}", line);
}

void Server::Implementation::log_statistics() {
    const auto service = state_.service();
    if (!service) return;
    const EngineStats now = service->model().engine->stats();
    const bool active = now.running > 0 || now.waiting > 0 ||
                        now.generation_tokens != last_stats_.generation_tokens ||
                        now.prompt_tokens != last_stats_.prompt_tokens;
    if (active || was_active_) {
        const double seconds = state_.options.stats_seconds;
        const auto share = [](uint64_t part, uint64_t whole) {
            return whole > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0.0;
        };
        log::info(
            "Avg prompt throughput: {:.1f} tokens/s, Avg generation throughput: {:.1f} tokens/s, Running: {} "
            "reqs, "
            "Waiting: {} reqs, KV cache usage: {:.1f}%, Prefix cache hit rate: {:.1f}%",
            static_cast<double>(now.prompt_tokens - last_stats_.prompt_tokens) / seconds,
            static_cast<double>(now.generation_tokens - last_stats_.generation_tokens) / seconds, now.running,
            now.waiting,
            share(static_cast<uint64_t>(now.blocks_used), static_cast<uint64_t>(now.blocks_total)),
            share(now.prefix_hits, now.prefix_queries));
    }
    was_active_ = active;
    last_stats_ = now;
}

bool Server::Implementation::wait_idle(std::chrono::steady_clock::time_point deadline) const {
    while (state_.in_flight > 0) {
        if (std::chrono::steady_clock::now() >= deadline) return false;
        std::this_thread::sleep_for(10ms);
    }
    return true;
}

void Server::Implementation::abort_running() {
    std::vector<std::weak_ptr<Generation>> running;
    {
        std::lock_guard lock(running_mutex_);
        running.swap(running_);
    }
    for (const auto& weak : running)
        if (const auto generation = weak.lock())
            generation->abort({Failure::Kind::shutting_down, "the server is shutting down", {}});
}

bool Server::Implementation::drain(double timeout_seconds) {
    state_.phase = ServerPhase::draining;
    http_.close_idle();
    const auto now = std::chrono::steady_clock::now();
    const auto allowed = std::chrono::duration_cast<std::chrono::steady_clock::duration>(
        std::chrono::duration<double>(std::clamp(timeout_seconds, 0.0, 1e6)));
    if (wait_idle(now + allowed)) return true;
    abort_running();
    wait_idle(std::chrono::steady_clock::now() + 1500ms);
    return false;
}

Server::Server(ServerOptions options)
    : implementation_(std::make_unique<Implementation>(std::move(options))) {}
Server::~Server() = default;
void Server::start() {
    implementation_->start();
}
int Server::port() const {
    return implementation_->http_.port();
}
std::string Server::address() const {
    return implementation_->http_.address();
}
void Server::set_loading(LoadingProgress progress) {
    implementation_->state_.set_progress(std::move(progress));
}
void Server::set_ready(ServedModel model) {
    implementation_->set_ready(std::move(model));
}
bool Server::drain(double timeout_seconds) {
    return implementation_->drain(timeout_seconds);
}
void Server::stop() {
    implementation_->stop();
}

}  // namespace sheaf
