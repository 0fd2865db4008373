#include "serve/http_session.h"

#include <poll.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <ctime>
#include <optional>

#include "base/error.h"
#include "base/log.h"

namespace sheaf {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

bool would_block(const error_code& error) {
    return error == asio::error::would_block || error == asio::error::try_again ||
           error == asio::error::interrupted;
}

std::string http_date() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    gmtime_r(&now, &parts);
    char text[40];
    return {text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

}  // namespace

HttpSession::HttpSession(Socket socket, HttpHandler& handler, const HttpLimits& limits)
    : socket_(std::move(socket)),
      handler_(handler),
      limits_(limits),
      timer_(socket_.get_executor()),
      scratch_(32 << 10) {
    error_code ignored;
    socket_.non_blocking(true, ignored);
}

// Everything that can wake the connection goes through the timer: data, room to write, new output, the end.
void HttpSession::notify() {
    woken_ = true;
    timer_.cancel();
}

asio::awaitable<void> HttpSession::sleep_until(Clock::time_point deadline) {
    if (!woken_) {
        timer_.expires_at(deadline);
        error_code ignored;
        co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    woken_ = false;
}

void HttpSession::watch_read() {
    if (read_watched_ || closed_) return;
    read_watched_ = true;
    socket_.async_wait(Socket::wait_read, [self = shared_from_this()](const error_code&) {
        self->read_watched_ = false;
        self->read_ready_ = true;
        self->notify();
    });
}

void HttpSession::watch_write() {
    if (write_watched_ || closed_) return;
    write_watched_ = true;
    socket_.async_wait(Socket::wait_write, [self = shared_from_this()](const error_code&) {
        self->write_watched_ = false;
        self->notify();
    });
}

void HttpSession::close_when_idle() {
    closing_ = idle_unwanted_ = true;
    notify();
}

void HttpSession::close_now() {
    closing_ = closed_ = true;
    error_code ignored;
    socket_.close(ignored);
    notify();
}

// Has the client closed its side? Bytes it has sent ahead hide the end of the stream from a read.
bool HttpSession::peer_gone() {
    if (closed_) return true;
    if (pipelined_) {
        pollfd state{socket_.native_handle(), POLLRDHUP, 0};
        return ::poll(&state, 1, 0) > 0 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
    }
    if (read_ready_) {
        read_ready_ = false;
        char byte;
        const ssize_t got = ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) return true;
        pipelined_ = got > 0;
    }
    if (!pipelined_) watch_read();
    return false;
}

asio::awaitable<HttpSession::Read> HttpSession::fill(Clock::time_point deadline) {
    while (true) {
        if (closed_) co_return Read::closed;
        error_code error;
        const size_t got = socket_.read_some(asio::buffer(scratch_), error);
        if (got > 0) {
            in_.append(scratch_.data(), got);
            co_return Read::more;
        }
        if (!would_block(error)) co_return Read::closed;
        if (Clock::now() >= deadline) co_return Read::timeout;
        if (idle_unwanted_ && idle_) co_return Read::closed;
        read_ready_ = false;
        watch_read();
        co_await sleep_until(deadline);
    }
}

// False: the connection ended where it may. Throws HttpRefusal.
asio::awaitable<bool> HttpSession::read_head(HttpParser& parser) {
    Clock::time_point deadline = Clock::now() + (in_.empty() ? limits_.idle : limits_.header);
    while (true) {
        parser.feed(in_);
        if (parser.head_complete()) co_return true;
        const bool first = idle_ = in_.empty();
        const Read read = co_await fill(deadline);
        idle_ = false;
        if (read == Read::closed) co_return false;
        if (read == Read::timeout) {
            if (in_.empty()) co_return false;
            throw HttpRefusal{408, "the request head took too long"};
        }
        if (first) deadline = Clock::now() + limits_.header;
    }
}

asio::awaitable<void> HttpSession::read_body(HttpParser& parser) {
    const Clock::time_point begin = Clock::now();
    while (!parser.complete()) {
        const auto earned = std::chrono::milliseconds(parser.body_bytes() * 1000 / limits_.body_rate);
        const Read read = co_await fill(begin + limits_.body_grace + earned);
        if (read == Read::timeout) throw HttpRefusal{408, "the request body came too slowly"};
        if (read == Read::closed) throw HttpRefusal{0, "the client has gone"};
        parser.feed(in_);
    }
}

asio::awaitable<void> HttpSession::run() {
    const auto self = shared_from_this();
    try {
        co_await serve();
    } catch (const std::exception& error) {
        log::error("a connection failed: {}", error.what());
    }
    error_code ignored;
    socket_.close(ignored);
    closed_ = true;
}

asio::awaitable<void> HttpSession::serve() {
    bool usable = true;
    while (usable && !closed_) {
        HttpParser parser(limits_);
        std::optional<HttpRefusal> refusal;
        std::optional<HttpResponse> early;
        bool present = true;
        try {
            present = co_await read_head(parser);
            if (present) early = handler_.before_body(parser.request());
            if (present && !early && parser.expects_continue()) {
                out_ = "HTTP/1.1 100 Continue\r\n\r\n";
                out_sent_ = 0;
                write_some();
            }
            if (present && !early) co_await read_body(parser);
        } catch (const HttpRefusal& refused) {
            refusal = refused;
        }
        if (!present || (refusal && refusal->status == 0)) co_return;
        if (refusal) {
            co_await answer(parser.request(), handler_.error(refusal->status, refusal->message), false);
            co_await linger();
            co_return;
        }
        if (early) {
            usable = co_await answer(parser.request(), std::move(*early), parser.complete());
            if (!parser.complete()) co_await linger();
            continue;
        }
        auto exchange = std::make_shared<Exchange>(std::move(parser.request()));
        usable = co_await respond(exchange);
    }
}

asio::awaitable<bool> HttpSession::answer(const HttpRequest& request, HttpResponse response,
                                          bool keep_alive) {
    HttpRequest copy = request;
    copy.keep_alive = copy.keep_alive && keep_alive;
    auto exchange = std::make_shared<Exchange>(std::move(copy));
    exchange->reply(std::move(response));
    co_return co_await transmit(exchange, false);
}

asio::awaitable<bool> HttpSession::respond(std::shared_ptr<Exchange> exchange) {
    exchange->on_output([weak = weak_from_this(), executor = socket_.get_executor()] {
        const auto self = weak.lock();
        if (!self || self->wake_posted_.exchange(true)) return;
        asio::post(executor, [self] {
            self->wake_posted_ = false;
            self->notify();
        });
    });
    try {
        handler_.handle(exchange);
    } catch (const std::exception& error) {
        log::error("a handler failed: {}", error.what());
        exchange->reply(handler_.error(500, "internal error; the server's log has the details"));
    }
    co_return co_await transmit(exchange, true);
}

std::string HttpSession::head_of(const HttpRequest& request, HttpResponse& response, bool streaming) {
    handler_.decorate(request, response);
    status_ = response.status;
    keep_alive_ = request.keep_alive && !closing_ && !(streaming && request.http_1_0);
    std::string head = fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", response.status,
                                   status_text(response.status), http_date());
    if (!response.content_type.empty()) head += fmt::format("Content-Type: {}\r\n", response.content_type);
    for (const auto& [name, value] : response.headers) head += fmt::format("{}: {}\r\n", name, value);
    if (!streaming && response.status != 204)
        head += fmt::format("Content-Length: {}\r\n", response.body.size());
    else if (streaming && !request.http_1_0)
        head += "Transfer-Encoding: chunked\r\n";
    head += keep_alive_ ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
    return head;
}

void HttpSession::queue_data(const HttpRequest& request, std::string_view data) {
    if (data.empty()) return;  // an empty chunk would end the stream
    if (request.http_1_0) {
        out_ += data;
        return;
    }
    fmt::format_to(std::back_inserter(out_), "{:x}\r\n", data.size());
    out_.append(data).append("\r\n");
}

void HttpSession::queue_output(Exchange& exchange, Exchange::Output output) {
    const HttpRequest& request = exchange.request();
    if (output.begun && !begun_) {
        begun_ = true;
        streaming_ = output.streaming;
        ping_ = std::move(output.ping);
        out_ += head_of(request, output.response, streaming_);
        if (request.method != "HEAD") out_ += output.response.body;
    }
    if (streaming_) {
        queue_data(request, output.data);
        if (output.ended && !request.http_1_0) out_ += "0\r\n\r\n";
    }
    ended_ = output.ended;
}

// Sends what the socket takes. False: the client has gone.
bool HttpSession::write_some() {
    while (out_sent_ < out_.size()) {
        error_code error;
        const size_t sent =
            socket_.write_some(asio::buffer(out_.data() + out_sent_, out_.size() - out_sent_), error);
        if (sent > 0) {
            out_sent_ += sent;
            total_sent_ += sent;
            last_progress_ = last_data_ = Clock::now();
        } else if (would_block(error)) {
            return true;
        } else {
            return false;
        }
    }
    out_.clear();
    out_sent_ = 0;
    return true;
}

asio::awaitable<bool> HttpSession::transmit(std::shared_ptr<Exchange> exchange, bool handled) {
    begun_ = streaming_ = ended_ = keep_alive_ = pipelined_ = false;
    status_ = 499;
    total_sent_ = 0;
    last_progress_ = last_data_ = Clock::now();
    pipelined_ = !in_.empty();
    bool gone = false;
    while (true) {
        if (out_.empty()) {
            if (ended_) break;
            last_progress_ = Clock::now();
            queue_output(*exchange, exchange->take_output());
        }
        const size_t before = total_sent_;
        gone = !write_some() || peer_gone();
        if (gone) break;
        if (total_sent_ != before) exchange->sent(out_.size() - out_sent_);
        if (out_.empty() && total_sent_ != before) continue;  // more may have come meanwhile
        const auto now = Clock::now();
        Clock::time_point deadline = now + std::chrono::milliseconds(pipelined_ ? 200 : 60'000);
        if (!out_.empty()) {
            if (now - last_progress_ > limits_.write_progress) {
                gone = true;
                break;
            }
            deadline = std::min(deadline, last_progress_ + limits_.write_progress);
            watch_write();
        } else if (streaming_ && !ping_.empty()) {
            if (now - last_data_ >= limits_.ping) {
                queue_data(exchange->request(), ping_);
                continue;
            }
            deadline = std::min(deadline, last_data_ + limits_.ping);
        }
        co_await sleep_until(deadline);
    }
    exchange->close();
    const HttpRequest& request = exchange->request();
    const double seconds = std::chrono::duration<double>(Clock::now() - request.arrival).count();
    handler_.done(request, {status_, total_sent_, seconds, handled});
    co_return !gone && keep_alive_;
}

// Lets a client that is still sending read the answer before the connection goes.
asio::awaitable<void> HttpSession::linger() {
    error_code ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
    const Clock::time_point deadline = Clock::now() + limits_.linger;
    for (size_t total = 0; total < (4u << 20);) {
        in_.clear();
        const Read read = co_await fill(deadline);
        if (read != Read::more) break;
        total += in_.size();
    }
    closed_ = true;
}

}  // namespace sheaf
