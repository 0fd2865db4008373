// HttpParser: bytes of one connection to one request, strictly: what is ambiguous or oversized is refused
// rather than interpreted. Used by the connection. Must not know sockets, routes or JSON.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "serve/http_types.h"
#include "serve/limits.h"

namespace sheaf {

/// A request that is not answered but refused; afterwards the connection cannot be used any more.
struct HttpRefusal {
    int status;
    std::string message;
};

class HttpParser {
  public:
    explicit HttpParser(const HttpLimits& limits);
    ~HttpParser();

    /// Takes what it can from the front of `input` and erases it. Throws HttpRefusal.
    void feed(std::string& input);

    bool head_complete() const;
    bool complete() const;
    /// Valid once the head is complete; the body once all is.
    HttpRequest& request();
    /// The client waits for "100 Continue" before it sends the body.
    bool expects_continue() const;
    /// Bytes of the body so far.
    size_t body_bytes() const;

  private:
    class Beast;

    void feed_head(std::string& input);
    void feed_body(std::string& input);
    void take_head();
    void check_framing() const;

    const HttpLimits& limits_;
    std::unique_ptr<Beast> beast_;
    HttpRequest request_;
};

}  // namespace sheaf
