// ServerMetrics: the numbers of /metrics, under the names that vLLM's dashboards know, with their bucket
// bounds. Fed by GenerationService (as its monitor), by the HTTP layer and, at each scrape, by the engine's
// statistics. Must not know sockets or JSON.
#pragma once

#include <memory>
#include <string>

#include "serve/generation_service.h"

namespace sheaf {

class ServerMetrics : public GenerationMonitor {
  public:
    ServerMetrics();
    ~ServerMetrics() override;

    /// From here on there is a model to report on.
    void set_model(const std::string& name, std::shared_ptr<Engine> engine);

    void first_token(double seconds_since_arrival) override;
    void next_tokens(double seconds_since_last, int32_t count) override;
    void finished(const RequestRecord& record) override;
    void http_request(const std::string& handler, const std::string& method, int status, double seconds,
                      size_t response_bytes);

    /// Prometheus text, format 0.0.4.
    std::string text();

  private:
    struct Http;
    struct Model;
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

}  // namespace sheaf
