// HttpClient: a blunt HTTP client over a socket, for the server's tests: sends any bytes, reads answers whole
// or event by event. Must not be used outside of tests.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace sheaf::testing {

struct ClientResponse {
    int status = 0;                              // 0: the connection ended before an answer
    std::map<std::string, std::string> headers;  // names in lower case
    std::string body;

    nlohmann::json json() const { return nlohmann::json::parse(body, nullptr, false); }
};

class HttpClient {
  public:
    explicit HttpClient(int port, int receive_buffer = 0) {
        socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
        if (receive_buffer > 0)
            ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<uint16_t>(port));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        connected_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    }
    explicit HttpClient(const std::string& path) {
        socket_ = ::socket(AF_UNIX, SOCK_STREAM, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        connected_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    }
    ~HttpClient() { close(); }
    HttpClient(const HttpClient&) = delete;
    HttpClient& operator=(const HttpClient&) = delete;

    bool connected() const { return connected_; }
    int descriptor() const { return socket_; }

    void close() {
        if (socket_ >= 0) ::close(socket_);
        socket_ = -1;
    }

    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) return false;
            bytes.remove_prefix(static_cast<size_t>(sent));
        }
        return true;
    }

    static std::string request(const std::string& method, const std::string& path,
                               const std::string& body = {}, const std::string& headers = {}) {
        std::string text = method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers;
        if (!body.empty() || method == "POST")
            text +=
                "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
        return text + "\r\n" + body;
    }

    ClientResponse get(const std::string& path, const std::string& headers = {}) {
        send(request("GET", path, {}, headers));
        return read();
    }
    ClientResponse post(const std::string& path, const std::string& body, const std::string& headers = {}) {
        send(request("POST", path, body, headers));
        return read();
    }
    ClientResponse post(const std::string& path, const char* body) { return post(path, std::string(body)); }
    ClientResponse post(const std::string& path, const nlohmann::json& body,
                        const std::string& headers = {}) {
        return post(path, body.dump(), headers);
    }

    /// Status line and header fields.
    ClientResponse read_head() {
        ClientResponse response;
        while (buffer_.find("\r\n\r\n") == std::string::npos)
            if (!fill()) return response;
        size_t line = buffer_.find("\r\n");
        response.status = std::stoi(buffer_.substr(9, 3));
        const size_t end = buffer_.find("\r\n\r\n");
        while (line < end) {
            const size_t next = buffer_.find("\r\n", line + 2);
            const std::string field = buffer_.substr(line + 2, next - line - 2);
            const size_t colon = field.find(':');
            std::string name = field.substr(0, colon);
            std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
            response.headers[name] = field.substr(std::min(field.size(), colon + 2));
            line = next;
        }
        buffer_.erase(0, end + 4);
        chunked_ = response.headers.contains("transfer-encoding");
        return response;
    }

    ClientResponse read(bool has_body = true) {
        ClientResponse response = read_head();
        if (!has_body || response.status == 0 || response.status == 204) return response;
        if (chunked_) {
            while (auto chunk = read_chunk()) response.body += *chunk;
        } else if (response.headers.contains("content-length")) {
            const size_t size = std::stoul(response.headers["content-length"]);
            while (buffer_.size() < size && fill()) {
            }
            response.body = buffer_.substr(0, size);
            buffer_.erase(0, size);
        } else {
            while (fill()) {
            }
            response.body = std::move(buffer_);
        }
        return response;
    }

    /// None at the proper end of the body or at the end of the connection; see complete().
    std::optional<std::string> read_chunk() {
        size_t line;
        while ((line = buffer_.find("\r\n")) == std::string::npos)
            if (!fill()) return {};
        const size_t size = std::stoul(buffer_.substr(0, line), nullptr, 16);
        while (buffer_.size() < line + 2 + size + 2)
            if (!fill()) return {};
        std::string chunk = buffer_.substr(line + 2, size);
        buffer_.erase(0, line + 2 + size + 2);
        complete_ = size == 0;
        if (complete_) return {};
        return chunk;
    }
    bool complete() const { return complete_; }

    /// The data of the next server-sent event; none at the end of the stream.
    std::optional<std::string> read_event() {
        size_t end;
        while ((end = events_.find("\n\n")) == std::string::npos) {
            auto chunk = read_chunk();
            if (!chunk) return {};
            events_ += *chunk;
        }
        std::string event = events_.substr(0, end);
        events_.erase(0, end + 2);
        if (event.starts_with("data: ")) return event.substr(6);
        return event;
    }

    /// True once the server has closed the connection.
    bool at_end(int timeout_ms = 3000) {
        while (true) {
            pollfd state{socket_, POLLIN, 0};
            if (::poll(&state, 1, timeout_ms) <= 0) return false;
            if (!fill()) return true;
        }
    }

  private:
    bool fill() {
        pollfd state{socket_, POLLIN, 0};
        if (::poll(&state, 1, 20'000) <= 0) return false;
        char bytes[16384];
        const ssize_t got = ::recv(socket_, bytes, sizeof bytes, 0);
        if (got <= 0) return false;
        buffer_.append(bytes, static_cast<size_t>(got));
        return true;
    }

    int socket_ = -1;
    bool connected_ = false, chunked_ = false, complete_ = false;
    std::string buffer_, events_;
};

}  // namespace sheaf::testing
