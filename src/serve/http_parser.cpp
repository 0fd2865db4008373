#include "serve/http_parser.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <random>

#include "base/error.h"

namespace sheaf {

namespace {

namespace http = boost::beast::http;

bool same_text(std::string_view a, std::string_view b) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    return std::ranges::equal(a, b, {}, lower, lower);
}

// What Beast would tolerate: folded lines, bare CR or LF, NUL, too many fields. `head` ends with an empty
// line.
void check_head(std::string_view head, const HttpLimits& limits) {
    size_t lines = 0;
    for (size_t begin = 0; begin + 2 <= head.size();) {
        const size_t end = head.find("\r\n", begin);
        const std::string_view line = head.substr(begin, end - begin);
        if (lines == 0 && line.size() > limits.request_line_bytes)
            throw HttpRefusal{
                414, fmt::format("the request line is longer than {} bytes", limits.request_line_bytes)};
        if (line.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos)
            throw HttpRefusal{400, "the request head has a stray CR, LF or NUL"};
        if (lines > 0 && !line.empty() && (line[0] == ' ' || line[0] == '\t'))
            throw HttpRefusal{400, "folded header lines are not accepted"};
        if (lines > 0 && !line.empty() && line.find(':') == std::string_view::npos)
            throw HttpRefusal{400, "a header line has no colon"};
        ++lines;
        begin = end + 2;
    }
    if (lines > limits.header_fields + 2)  // and the request line and the empty one
        throw HttpRefusal{431,
                          fmt::format("the request has more than {} header fields", limits.header_fields)};
}

// host[:port] and nothing else (a name, an IPv4 address, or an IPv6 address in brackets).
bool plain_host(std::string_view host) {
    if (host.size() > 262) return false;
    return std::ranges::all_of(host, [](unsigned char c) {
        return std::isalnum(c) || c == '.' || c == '-' || c == '_' || c == ':' || c == '[' || c == ']';
    });
}

std::string make_request_id() {
    thread_local std::mt19937_64 random{std::random_device{}()};
    return fmt::format("{:016x}{:016x}", random(), random());
}

std::string request_id(std::string_view given) {
    const bool usable =
        !given.empty() && given.size() <= 128 && std::ranges::all_of(given, [](unsigned char c) {
            return std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == ':';
        });
    return usable ? std::string(given) : make_request_id();
}

}  // namespace

class HttpParser::Beast {
  public:
    explicit Beast(const HttpLimits& limits) : extension_limit_(limits.chunk_extension_bytes) {
        parser.header_limit(static_cast<uint32_t>(limits.header_bytes));
        parser.body_limit(limits.body_bytes);
        parser.eager(true);
        check_chunk_ = [this](uint64_t, boost::beast::string_view extensions,
                              boost::beast::error_code& error) {
            if (extensions.size() > extension_limit_) error = http::error::bad_chunk_extension;
        };
        parser.on_chunk_header(check_chunk_);
    }

    http::request_parser<http::string_body> parser;

  private:
    size_t extension_limit_;
    std::function<void(uint64_t, boost::beast::string_view, boost::beast::error_code&)> check_chunk_;
};

HttpParser::HttpParser(const HttpLimits& limits) : limits_(limits), beast_(std::make_unique<Beast>(limits)) {}
HttpParser::~HttpParser() = default;

bool HttpParser::head_complete() const {
    return beast_->parser.is_header_done();
}
bool HttpParser::complete() const {
    return beast_->parser.is_done();
}
HttpRequest& HttpParser::request() {
    return request_;
}
size_t HttpParser::body_bytes() const {
    return beast_->parser.get().body().size();
}

bool HttpParser::expects_continue() const {
    return !complete() && same_text(request_.header("Expect"), "100-continue") && !request_.http_1_0;
}

void HttpParser::feed(std::string& input) {
    if (!head_complete()) feed_head(input);
    if (head_complete() && !complete()) feed_body(input);
    if (complete()) request_.body = std::move(beast_->parser.get().body());
}

void HttpParser::feed_head(std::string& input) {
    // One or two empty lines before a request are tolerated, as RFC 9112 asks.
    for (int i = 0; i < 2 && input.starts_with("\r\n"); ++i) input.erase(0, 2);
    const size_t end = input.find("\r\n\r\n");
    if (end == std::string::npos) {
        const size_t first_line = std::min(input.find("\r\n"), input.size());
        if (first_line > limits_.request_line_bytes)
            throw HttpRefusal{
                414, fmt::format("the request line is longer than {} bytes", limits_.request_line_bytes)};
    }
    if (std::min(end, input.size()) > limits_.header_bytes)
        throw HttpRefusal{431, fmt::format("the request head is longer than {} bytes", limits_.header_bytes)};
    if (end == std::string::npos) return;
    const std::string head = input.substr(0, end + 4);
    input.erase(0, end + 4);
    check_head(head, limits_);
    boost::beast::error_code error;
    beast_->parser.put(boost::asio::buffer(head), error);
    if (error == http::error::body_limit)
        throw HttpRefusal{413, fmt::format("the body is larger than {} bytes", limits_.body_bytes)};
    if (error == http::error::bad_version)
        throw HttpRefusal{505, "only HTTP/1.0 and HTTP/1.1 are spoken here"};
    if (error && error != http::error::need_more) throw HttpRefusal{400, "malformed HTTP request"};
    if (!head_complete()) throw HttpRefusal{400, "malformed HTTP request"};
    take_head();
}

void HttpParser::take_head() {
    const auto& message = beast_->parser.get();
    request_.method = std::string(message.method_string());
    const std::string target(message.target());
    if (target.empty() || (target[0] != '/' && target != "*"))
        throw HttpRefusal{400, "the request target must be a path"};
    const size_t question = target.find('?');
    request_.path = target.substr(0, question);
    if (question != std::string::npos) request_.query = target.substr(question + 1);
    request_.http_1_0 = message.version() == 10;
    request_.keep_alive = beast_->parser.keep_alive();
    for (const auto& field : message)
        request_.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
    request_.id = request_id(request_.header("X-Request-Id"));
    check_framing();
}

void HttpParser::check_framing() const {
    const auto count = [&](std::string_view name) {
        return std::ranges::count_if(request_.headers,
                                     [&](const auto& f) { return same_text(f.first, name); });
    };
    for (const char* name : {"Content-Length", "Transfer-Encoding", "Host", "Content-Encoding", "Expect"})
        if (count(name) > 1) throw HttpRefusal{400, fmt::format("{} is given more than once", name)};
    if (!request_.http_1_0 && count("Host") == 0) throw HttpRefusal{400, "the Host header is missing"};
    if (!plain_host(request_.header("Host"))) throw HttpRefusal{400, "the Host header is not host[:port]"};
    const std::string_view length = request_.header("Content-Length");
    if (length.find(',') != std::string_view::npos) throw HttpRefusal{400, "malformed Content-Length"};
    if (count("Transfer-Encoding") > 0) {
        if (!same_text(request_.header("Transfer-Encoding"), "chunked") || request_.http_1_0)
            throw HttpRefusal{501, "only the transfer encoding chunked is understood"};
    }
    const std::string_view encoding = request_.header("Content-Encoding");
    if (!encoding.empty() && !same_text(encoding, "identity"))
        throw HttpRefusal{415, "request bodies must not be compressed"};
    const std::string_view expect = request_.header("Expect");
    if (!expect.empty() && !same_text(expect, "100-continue"))
        throw HttpRefusal{417, "only the expectation 100-continue is understood"};
}

void HttpParser::feed_body(std::string& input) {
    size_t used = 0;
    boost::beast::error_code error;
    while (used < input.size() && !complete() && !error) {
        const size_t taken =
            beast_->parser.put(boost::asio::buffer(input.data() + used, input.size() - used), error);
        used += taken;
        if (taken == 0) break;
    }
    input.erase(0, used);
    if (error == http::error::body_limit)
        throw HttpRefusal{413, fmt::format("the body is larger than {} bytes", limits_.body_bytes)};
    if (error && error != http::error::need_more) throw HttpRefusal{400, "malformed HTTP body"};
    // What the parser will not take yet is a chunk header or trailer; neither may grow without end.
    if (!complete() && input.size() > limits_.header_bytes)
        throw HttpRefusal{400, "a chunk header or the trailer is too long"};
}

}  // namespace sheaf
