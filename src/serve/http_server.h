// HttpServer: listens on TCP or a Unix socket, reads requests within limits, and sends answers with
// back-pressure; a client that goes away is noticed in every state. One network thread. Used by Server. Must
// not know routes, JSON or models.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "serve/http_types.h"
#include "serve/limits.h"

namespace sheaf {

struct HttpOutcome {
    int status = 0;  // 499: the client had gone before there was an answer
    size_t bytes = 0;
    double seconds = 0;
    bool handled = false;  // by handle(); else the request was answered or refused before
};

/// What the server asks of those above it. All calls come on the network thread and must be quick.
class HttpHandler {
  public:
    virtual ~HttpHandler() = default;
    /// The head is there, the body is not: an answer given here saves reading it.
    virtual std::optional<HttpResponse> before_body(const HttpRequest& request) = 0;
    virtual void handle(std::shared_ptr<Exchange> exchange) = 0;
    /// The body of an error that the server itself answers.
    virtual HttpResponse error(int status, const std::string& message) = 0;
    /// Adds headers that every answer has.
    virtual void decorate(const HttpRequest& request, HttpResponse& response) = 0;
    /// An answer is over.
    virtual void done(const HttpRequest& request, const HttpOutcome& outcome) = 0;
};

struct HttpServerOptions {
    std::string host;  // empty: all interfaces
    int port = 8000;   // 0: any free one
    std::string uds;   // a Unix socket instead
    HttpLimits limits;
};

class HttpServer {
  public:
    /// Binds at once. Errors: io, naming host and port, when that fails. `handler` must outlive this.
    HttpServer(const HttpServerOptions& options, HttpHandler& handler);
    ~HttpServer();

    /// Begins to accept and answer.
    void start();
    int port() const;
    /// "http://0.0.0.0:8000", or the Unix socket.
    std::string address() const;

    /// Calls `job` on the network thread every `period`, from start() on.
    void every(std::chrono::milliseconds period, std::function<void()> job);
    /// Runs `job` on the network thread soon.
    void post(std::function<void()> job);
    /// Closes connections that wait for a request, and every other one after its answer.
    void close_idle();
    size_t connections() const;
    /// Ends everything; answers that are not complete are cut off.
    void stop();

  private:
    class Implementation;
    std::unique_ptr<Implementation> implementation_;
};

}  // namespace sheaf
