// HttpSession: one connection: requests in, answers out, one after the other. Internal to HttpServer; only it
// and http_session.cpp include this. Must not know routes.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "serve/http_parser.h"
#include "serve/http_server.h"

namespace sheaf {

class HttpSession : public std::enable_shared_from_this<HttpSession> {
  public:
    using Socket = boost::asio::generic::stream_protocol::socket;

    HttpSession(Socket socket, HttpHandler& handler, const HttpLimits& limits);

    boost::asio::awaitable<void> run();
    /// On the network thread: close when idle, or after the present answer; a new connection gets one answer.
    void close_when_idle();
    void close_after_answer() { closing_ = true; }
    /// On the network thread: close now.
    void close_now();

  private:
    using Clock = std::chrono::steady_clock;
    enum class Read { more, closed, timeout };

    boost::asio::awaitable<void> serve();
    boost::asio::awaitable<bool> read_head(HttpParser& parser);
    boost::asio::awaitable<void> read_body(HttpParser& parser);
    boost::asio::awaitable<Read> fill(Clock::time_point deadline);
    /// Sends the exchange's answer; true when the connection can be used again.
    boost::asio::awaitable<bool> respond(std::shared_ptr<Exchange> exchange);
    boost::asio::awaitable<bool> transmit(std::shared_ptr<Exchange> exchange, bool handled);
    boost::asio::awaitable<bool> answer(const HttpRequest& request, HttpResponse response, bool keep_alive);
    boost::asio::awaitable<void> linger();
    boost::asio::awaitable<void> sleep_until(Clock::time_point deadline);

    void notify();
    void watch_read();
    void watch_write();
    bool peer_gone();
    void queue_output(Exchange& exchange, Exchange::Output output);
    void queue_data(const HttpRequest& request, std::string_view data);
    bool write_some();
    std::string head_of(const HttpRequest& request, HttpResponse& response, bool streaming);

    Socket socket_;
    HttpHandler& handler_;
    const HttpLimits& limits_;
    boost::asio::steady_timer timer_;
    bool woken_ = false;
    bool read_watched_ = false, read_ready_ = false, write_watched_ = false;
    bool pipelined_ = false;  // bytes behind the request: only polling can tell whether the client is there
    bool idle_ = false;       // between requests
    bool closing_ = false, closed_ = false, idle_unwanted_ = false;
    std::atomic<bool> wake_posted_{false};
    std::vector<char> scratch_;
    std::string in_;

    // The answer on its way.
    std::string out_;
    size_t out_sent_ = 0, total_sent_ = 0;
    bool begun_ = false, streaming_ = false, ended_ = false, keep_alive_ = false;
    int status_ = 0;
    std::string ping_;
    Clock::time_point last_progress_, last_data_;
};

}  // namespace sheaf
