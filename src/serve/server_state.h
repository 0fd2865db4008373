// ServerState: what the endpoints of the server share: its phase, its model's service and its numbers.
// Internal to serve. Must not know sockets.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "serve/generation_service.h"
#include "serve/http_types.h"
#include "serve/server.h"
#include "serve/server_metrics.h"

namespace sheaf {

enum class ServerPhase { loading, ready, draining };

class ServerState {
  public:
    explicit ServerState(ServerOptions the_options) : options(std::move(the_options)) {}

    const ServerOptions options;
    ServerMetrics metrics;
    std::atomic<ServerPhase> phase{ServerPhase::loading};
    std::atomic<int64_t> in_flight{0};   // requests for which an answer is owed
    std::atomic<int64_t> generating{0};  // of them, those that generate
    int64_t created = 0;                 // seconds since 1970

    /// Null until the model is ready.
    std::shared_ptr<GenerationService> service() const {
        std::lock_guard lock(mutex_);
        return service_;
    }
    void set_service(std::shared_ptr<GenerationService> service) {
        std::lock_guard lock(mutex_);
        service_ = std::move(service);
    }
    LoadingProgress progress() const {
        std::lock_guard lock(mutex_);
        return progress_;
    }
    void set_progress(LoadingProgress progress) {
        std::lock_guard lock(mutex_);
        progress_ = std::move(progress);
    }

  private:
    mutable std::mutex mutex_;
    std::shared_ptr<GenerationService> service_;
    LoadingProgress progress_;
};

HttpResponse json_response(const nlohmann::ordered_json& body, int status = 200);
HttpResponse error_response(int status, const std::string& message, const std::string& param = {});

/// Loading, draining, ready, stalled.
HttpResponse answer_health(const ServerState& state);
HttpResponse answer_ready(const ServerState& state);
HttpResponse answer_models(const ServerState& state);
HttpResponse answer_model(const ServerState& state, const std::string& encoded_name);
HttpResponse answer_index(const ServerState& state);
/// A request that needs the model came while there is none to ask.
HttpResponse answer_not_ready(const ServerState& state);

/// POST /tokenize and /detokenize; they answer from the service's threads.
void answer_tokenize(GenerationService& service, std::shared_ptr<Exchange> exchange);
void answer_detokenize(GenerationService& service, std::shared_ptr<Exchange> exchange);

}  // namespace sheaf
