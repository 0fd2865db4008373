#include <fmt/format.h>

#include <boost/asio/connect.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>

#include "app/commands.h"
#include "app/options_values.h"
#include "app/output.h"
#include "base/error.h"

namespace sheaf {

namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using tcp = boost::asio::ip::tcp;

struct Address {
    std::string host, port, path;
};

/// http://host[:port][/path]; without a path, /health.
Address read_url(const std::string& url) {
    static constexpr std::string_view scheme = "http://";
    if (url.rfind("https://", 0) == 0)
        throw UsageError("--url: https is not spoken here; ask the server behind the proxy");
    std::string rest = url.rfind(scheme, 0) == 0 ? url.substr(scheme.size()) : url;
    Address address;
    const size_t slash = rest.find('/');
    address.path = slash == std::string::npos || slash + 1 == rest.size() ? "/health" : rest.substr(slash);
    rest = rest.substr(0, slash);
    const size_t bracket = rest.rfind(']'), colon = rest.rfind(':');
    const bool has_port = colon != std::string::npos && (bracket == std::string::npos || colon > bracket);
    address.port = has_port ? rest.substr(colon + 1) : "80";
    address.host = rest.substr(0, has_port ? colon : std::string::npos);
    if (bracket != std::string::npos && address.host.size() > 2)
        address.host = address.host.substr(1, address.host.size() - 2);
    if (address.host.empty() || !option_values::read_integer(address.port))
        throw UsageError(fmt::format("--url {}: http://HOST:PORT is due", url));
    return address;
}

/// GET, with one deadline for everything. Errors: io.
http::response<http::string_body> get(const Address& address, double timeout_seconds) {
    boost::asio::io_context context;
    tcp::resolver resolver(context);
    beast::tcp_stream stream(context);
    beast::flat_buffer buffer;
    http::request<http::empty_body> request{http::verb::get, address.path, 11};
    request.set(http::field::host, address.host);
    request.set(http::field::connection, "close");
    http::response_parser<http::string_body> parser;
    parser.body_limit(1 << 20);
    beast::error_code failure = boost::asio::error::timed_out;
    auto note = [&](beast::error_code code) { failure = code; };
    resolver.async_resolve(
        address.host, address.port, [&](beast::error_code code, const tcp::resolver::results_type& found) {
            if (code) return note(code);
            stream.async_connect(found, [&](beast::error_code connected, const tcp::endpoint&) {
                if (connected) return note(connected);
                http::async_write(stream, request, [&](beast::error_code written, size_t) {
                    if (written) return note(written);
                    http::async_read(stream, buffer, parser,
                                     [&](beast::error_code read, size_t) { note(read); });
                });
            });
        });
    context.run_for(std::chrono::microseconds(static_cast<int64_t>(timeout_seconds * 1e6)));
    if (failure) fail(ErrorKind::io, "http://{}:{}: {}", address.host, address.port, failure.message());
    return parser.release();
}

}  // namespace

int run_healthcheck(const Options& options) {
    const Address address = read_url(options.text("url"));
    const auto response = get(address, options.number("timeout"));
    const int status = static_cast<int>(response.result_int());
    if (status != 200)
        fail(ErrorKind::io, "http://{}:{}{} answers {}: {}", address.host, address.port, address.path, status,
             response.body().substr(0, 200));
    output::write("ready\n");
    return exit_done;
}

}  // namespace sheaf
