// What an HTTP handler sees: a request, a response, and the Exchange that carries the answer, from any
// thread, at once or piece by piece. Used by the server's endpoints. Must not know sockets, framing or JSON.
#pragma once

#include <any>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sheaf {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
    std::string method;
    std::string path;   // up to '?', as it came; percent-encoding is left alone
    std::string query;  // behind '?'
    HttpHeaders headers;
    std::string body;
    std::string id;  // X-Request-Id, or one of our own
    bool keep_alive = true;
    bool http_1_0 = false;
    std::chrono::steady_clock::time_point arrival = std::chrono::steady_clock::now();

    /// The first field of this name, any case; empty when absent.
    std::string_view header(std::string_view name) const;
};

struct HttpResponse {
    int status = 200;
    std::string body;
    std::string content_type = "application/json";
    HttpHeaders headers = {};
};

const char* status_text(int status);

/// One request and its answer. The handler calls reply() once, or begin_stream(), write() ..., end(). All of
/// these may be called from any thread, also after the client has gone (then they do nothing).
class Exchange {
  public:
    explicit Exchange(HttpRequest request) : request_(std::move(request)) {}

    const HttpRequest& request() const { return request_; }
    /// The handler may take the body out.
    std::string take_body() { return std::move(request_.body); }

    void reply(HttpResponse response);
    /// `ping` is written whenever nothing else was for a while.
    void begin_stream(HttpResponse head, std::string ping);
    void write(std::string_view data);
    void end();

    /// False once more bytes wait for the client than `limit`, or the client has gone.
    bool writable(size_t limit) const;
    /// Called on the network thread whenever bytes have been sent, and once when the client has gone.
    void on_progress(std::function<void()> callback);
    /// Kept until the answer is sent or the client has gone, then destroyed on the network thread. Call from
    /// the handler, before it returns.
    void hold(std::any guard) { guard_ = std::move(guard); }

    // The rest is for the connection.
    struct Output {
        bool begun = false, streaming = false, ended = false;
        HttpResponse response;  // valid once begun; a stream's has no body
        std::string ping;
        std::string data;  // of a stream, not yet taken
    };
    void on_output(std::function<void()> wake);
    /// Moves out what is new; begun, streaming and ended stay.
    Output take_output();
    void sent(size_t unsent_bytes);
    void close();

  private:
    void wake();

    HttpRequest request_;
    std::any guard_;
    mutable std::mutex mutex_;
    Output output_;
    size_t unsent_ = 0;  // taken by the connection and not yet sent
    bool closed_ = false;
    std::function<void()> wake_, progress_;
};

}  // namespace sheaf
