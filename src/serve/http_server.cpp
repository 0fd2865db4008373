#include "serve/http_server.h"

#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <filesystem>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "serve/http_session.h"

namespace sheaf {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using Local = asio::local::stream_protocol;

class HttpServer::Implementation {
  public:
    Implementation(const HttpServerOptions& options, HttpHandler& handler)
        : options_(options), handler_(handler) {
        if (options_.uds.empty())
            bind_tcp();
        else
            bind_local();
    }

    ~Implementation() {
        stop();
        if (!options_.uds.empty()) ::unlink(options_.uds.c_str());
    }

    void start() {
        for (tcp::acceptor& acceptor : tcp_) asio::co_spawn(io_, accept(acceptor), asio::detached);
        if (local_) asio::co_spawn(io_, accept(*local_), asio::detached);
        thread_ = std::thread([this] { run(); });
    }

    void stop() {
        if (!thread_.joinable()) return;
        asio::post(io_, [this] {
            error_code ignored;
            for (tcp::acceptor& acceptor : tcp_) acceptor.close(ignored);
            if (local_) local_->close(ignored);
            timers_.clear();
            for (const auto& session : live()) session->close_now();
            stopping_ = true;
        });
        work_.reset();
        thread_.join();
    }

    void every(std::chrono::milliseconds period, std::function<void()> job) {
        asio::post(io_, [this, period, job = std::move(job)]() mutable {
            if (stopping_) return;
            timers_.push_back(std::make_unique<asio::steady_timer>(io_));
            tick(*timers_.back(), period, std::make_shared<std::function<void()>>(std::move(job)));
        });
    }

    void close_idle() {
        asio::post(io_, [this] {
            draining_ = true;
            for (const auto& session : live()) session->close_when_idle();
        });
    }

    asio::io_context& io() { return io_; }
    int port() const { return port_; }
    size_t connections() const { return connections_; }

    std::string address() const {
        if (!options_.uds.empty()) return "unix:" + options_.uds;
        const bool v6 = options_.host.find(':') != std::string::npos;
        const std::string host = options_.host.empty() ? "0.0.0.0" : options_.host;
        return fmt::format("http://{}:{}", v6 ? "[" + host + "]" : host, port_);
    }

  private:
    void run() {
        while (true) {
            try {
                io_.run();
                return;
            } catch (const std::exception& error) {
                log::error("network thread: {}", error.what());
            }
        }
    }

    void bind_tcp() {
        tcp::resolver resolver(io_);
        error_code error;
        std::vector<tcp::endpoint> endpoints;
        if (options_.host.empty()) {
            endpoints.emplace_back(tcp::v6(), static_cast<uint16_t>(options_.port));
        } else {
            for (const auto& entry : resolver.resolve(options_.host, std::to_string(options_.port),
                                                      tcp::resolver::passive, error))
                endpoints.push_back(entry.endpoint());
            if (error) fail(ErrorKind::io, "cannot listen on {}: unknown host", options_.host);
        }
        port_ = options_.port;
        for (tcp::endpoint endpoint : endpoints) {
            endpoint.port(static_cast<uint16_t>(port_));
            error = listen(endpoint);
            if (error && options_.host.empty())  // no IPv6 on this machine
                error = listen(tcp::endpoint(tcp::v4(), static_cast<uint16_t>(port_)));
            if (error == asio::error::address_family_not_supported && tcp_.size() + 1 < endpoints.size())
                continue;
            if (error == asio::error::address_in_use)
                fail(ErrorKind::io,
                     "port {} is in use already; stop the other server or choose another --port", port_);
            if (error)
                fail(ErrorKind::io, "cannot listen on {}:{}: {}", endpoint.address().to_string(), port_,
                     error.message());
            port_ = tcp_.back().local_endpoint().port();
        }
        if (tcp_.empty()) fail(ErrorKind::io, "cannot listen on {}: no usable address", options_.host);
    }

    error_code listen(const tcp::endpoint& endpoint) {
        error_code error;
        tcp::acceptor acceptor(io_);
        if (acceptor.open(endpoint.protocol(), error)) return error;
        acceptor.set_option(tcp::acceptor::reuse_address(true), error);
        if (endpoint.protocol() == tcp::v6())
            acceptor.set_option(asio::ip::v6_only(!options_.host.empty()), error);
        if (acceptor.bind(endpoint, error)) return error;
        if (acceptor.listen(asio::socket_base::max_listen_connections, error)) return error;
        tcp_.push_back(std::move(acceptor));
        return {};
    }

    void bind_local() {
        if (options_.uds.size() >= sizeof(sockaddr_un::sun_path))
            fail(ErrorKind::invalid_input, "--uds {}: the path is too long for a Unix socket", options_.uds);
        const Local::endpoint endpoint(options_.uds);
        error_code error;
        if (std::filesystem::is_socket(options_.uds)) {
            Local::socket probe(io_);
            probe.connect(endpoint, error);
            if (!error) fail(ErrorKind::io, "the Unix socket {} is in use already", options_.uds);
            ::unlink(options_.uds.c_str());  // left behind by a server that is gone
        }
        local_.emplace(io_);
        local_->open(endpoint.protocol(), error);
        if (!error) local_->bind(endpoint, error);
        if (!error) local_->listen(asio::socket_base::max_listen_connections, error);
        if (error)
            fail(ErrorKind::io, "cannot listen on the Unix socket {}: {}", options_.uds, error.message());
    }

    template <class Acceptor>
    asio::awaitable<void> accept(Acceptor& acceptor) {
        while (acceptor.is_open()) {
            error_code error;
            typename Acceptor::protocol_type::socket socket(io_);
            co_await acceptor.async_accept(socket, asio::redirect_error(asio::use_awaitable, error));
            if (error == asio::error::operation_aborted || !acceptor.is_open()) co_return;
            if (error) {  // most likely out of descriptors: wait for some to come back
                log::warn("cannot accept a connection: {}", error.message());
                asio::steady_timer pause(io_, std::chrono::milliseconds(100));
                co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
                continue;
            }
            if constexpr (std::is_same_v<Acceptor, tcp::acceptor>)
                socket.set_option(tcp::no_delay(true), error);
            if (connections_ >= options_.limits.connections) continue;  // closes it
            adopt(HttpSession::Socket(std::move(socket)));
        }
    }

    void adopt(HttpSession::Socket socket) {
        auto session = std::make_shared<HttpSession>(std::move(socket), handler_, options_.limits);
        sessions_.push_back(session);
        if (draining_) session->close_after_answer();
        ++connections_;
        asio::co_spawn(io_, session->run(), [this](const std::exception_ptr&) {
            --connections_;
            if (sessions_.size() > 2 * connections_ + 64)
                std::erase_if(sessions_, [](const auto& weak) { return weak.expired(); });
        });
    }

    std::vector<std::shared_ptr<HttpSession>> live() {
        std::vector<std::shared_ptr<HttpSession>> sessions;
        for (const auto& weak : sessions_)
            if (auto session = weak.lock()) sessions.push_back(std::move(session));
        return sessions;
    }

    void tick(asio::steady_timer& timer, std::chrono::milliseconds period,
              std::shared_ptr<std::function<void()>> job) {
        timer.expires_after(period);
        timer.async_wait([this, &timer, period, job](const error_code& error) {
            if (error || stopping_) return;
            (*job)();
            tick(timer, period, job);
        });
    }

    const HttpServerOptions options_;
    HttpHandler& handler_;
    asio::io_context io_{1};
    std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work_{
        asio::make_work_guard(io_)};
    std::vector<tcp::acceptor> tcp_;
    std::optional<Local::acceptor> local_;
    std::vector<std::unique_ptr<asio::steady_timer>> timers_;
    std::vector<std::weak_ptr<HttpSession>> sessions_;
    std::atomic<size_t> connections_{0};
    bool draining_ = false, stopping_ = false;
    int port_ = 0;
    std::thread thread_;
};

HttpServer::HttpServer(const HttpServerOptions& options, HttpHandler& handler)
    : implementation_(std::make_unique<Implementation>(options, handler)) {}
HttpServer::~HttpServer() = default;
void HttpServer::start() {
    implementation_->start();
}
int HttpServer::port() const {
    return implementation_->port();
}
std::string HttpServer::address() const {
    return implementation_->address();
}
size_t HttpServer::connections() const {
    return implementation_->connections();
}
void HttpServer::close_idle() {
    implementation_->close_idle();
}
void HttpServer::stop() {
    implementation_->stop();
}
void HttpServer::post(std::function<void()> job) {
    asio::post(implementation_->io(), std::move(job));
}
void HttpServer::every(std::chrono::milliseconds period, std::function<void()> job) {
    implementation_->every(period, std::move(job));
}

}  // namespace sheaf
