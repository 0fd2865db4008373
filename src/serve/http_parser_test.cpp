#include "serve/http_parser.h"

#include <gtest/gtest.h>

#include <random>
#include <sstream>

namespace sheaf {
namespace {

const std::string whole_requests[] = {
    "GET /health?a=b HTTP/1.1\r\nHost: a\r\nX-Y: z\r\n\r\n",
    "POST /v1/x HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhello",
    "POST /v1/x HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: "
    "chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nT: u\r\n\r\n",
    "HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
};

// What becomes of the bytes when they come in pieces of these sizes; the request's own id is left out.
template <class NextSize>
std::string outcome(std::string_view bytes, NextSize next_size) {
    const HttpLimits limits;
    HttpParser parser(limits);
    std::string pending;
    try {
        while (!bytes.empty() && !parser.complete()) {
            const size_t size = std::min(bytes.size(), next_size());
            pending += bytes.substr(0, size);
            bytes.remove_prefix(size);
            parser.feed(pending);
        }
    } catch (const HttpRefusal& refusal) {
        return "refused " + std::to_string(refusal.status);
    }
    if (!parser.complete()) return parser.head_complete() ? "head" : "nothing";
    HttpRequest& request = parser.request();
    std::ostringstream text;
    text << request.method << ' ' << request.path << '?' << request.query << ' ' << request.http_1_0
         << request.keep_alive << '\n';
    for (const auto& [name, value] : request.headers) text << name << ": " << value << '\n';
    text << request.body << '|' << pending << bytes;
    return text.str();
}

std::string at_once(std::string_view bytes) {
    return outcome(bytes, [&] { return bytes.size(); });
}

TEST(HttpParser, ReadsARequest) {
    EXPECT_EQ(at_once(whole_requests[0]), "GET /health?a=b 01\nHost: a\nX-Y: z\n|");
    EXPECT_TRUE(at_once(whole_requests[1]).ends_with("hello|"));
    EXPECT_TRUE(at_once(whole_requests[2]).ends_with("hello|")) << at_once(whole_requests[2]);
    EXPECT_EQ(at_once(whole_requests[3]), "HEAD /? 11\nConnection: keep-alive\n|");
    EXPECT_TRUE(at_once(whole_requests[1] + whole_requests[0]).ends_with("hello|" + whole_requests[0]));
}

TEST(HttpParser, EveryCutGivesTheSame) {
    for (const std::string& bytes : whole_requests) {
        EXPECT_EQ(outcome(bytes, [] { return size_t{1}; }), at_once(bytes));
        for (size_t first = 1; first < bytes.size(); ++first) {
            size_t calls = 0;
            EXPECT_EQ(outcome(bytes, [&] { return calls++ == 0 ? first : bytes.size(); }), at_once(bytes))
                << first;
        }
        for (size_t size = 0; size < bytes.size(); ++size) {
            const std::string cut = at_once(std::string_view(bytes).substr(0, size));
            EXPECT_TRUE(cut == "head" || cut == "nothing") << size << ' ' << cut;
        }
    }
}

// Damaged requests are read, refused or waited for, the same however the bytes come; never anything else.
TEST(HttpParser, DamagedRequestsAreReadOrRefused) {
    std::mt19937 random(7);
    const std::string_view splinters[] = {"\r\n",
                                          "\n",
                                          "\r",
                                          "\0",
                                          ":",
                                          " ",
                                          "0",
                                          "f",
                                          "\t",
                                          "\x80",
                                          "Content-Length: 3\r\n",
                                          "Transfer-Encoding: chunked\r\n",
                                          "\r\n\r\n",
                                          ";",
                                          "-",
                                          "HTTP/1.1",
                                          "/"};
    int refused = 0, complete = 0;
    for (int i = 0; i < 20'000; ++i) {
        std::string bytes = whole_requests[random() % std::size(whole_requests)];
        for (size_t damage = 1 + random() % 3; damage > 0; --damage) {
            const size_t at = random() % bytes.size();
            switch (random() % 3) {
                case 0:
                    bytes.insert(at, splinters[random() % std::size(splinters)]);
                    break;
                case 1:
                    bytes.erase(at, 1 + random() % 5);
                    break;
                default:
                    bytes[at] = static_cast<char>(random());
            }
            if (bytes.empty()) bytes = "x";
        }
        const std::string result = outcome(bytes, [&] { return 1 + random() % 20; });
        refused += result.starts_with("refused") ? 1 : 0;
        complete += result.find('|') != std::string::npos ? 1 : 0;
        EXPECT_EQ(result.starts_with("refused"), at_once(bytes).starts_with("refused")) << bytes;
    }
    EXPECT_GT(refused, 1000);
    EXPECT_GT(complete, 1000);
}

}  // namespace
}  // namespace sheaf
