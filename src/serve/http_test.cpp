// The HTTP layer against clients that are broken, slow, greedy or gone.
#include <gtest/gtest.h>

#include <thread>

#include "serve/testing/test_server.h"

namespace sheaf::testing {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;

int status_of(const TestServer& test, const std::string& bytes) {
    HttpClient client = test.client();
    client.send(bytes);
    const ClientResponse response = client.read();
    if (response.status >= 400) {
        EXPECT_TRUE(response.json()["error"]["message"].is_string()) << response.body;
        EXPECT_EQ(response.json()["error"]["code"], response.status);
    }
    return response.status;
}

std::string head(const std::string& fields, const std::string& line = "GET /health HTTP/1.1") {
    return line + "\r\nHost: a\r\n" + fields + "\r\n";
}

TEST(Http, RefusesMalformedHeads) {
    const TestServer test;
    EXPECT_EQ(status_of(test, head("")), 200);
    const std::pair<const char*, std::string> bad[] = {
        {"garbage", "\x16\x03\x01\x02\x01\r\n\r\n"},
        {"no version", "GET /health\r\nHost: a\r\n\r\n"},
        {"no host", "GET /health HTTP/1.1\r\n\r\n"},
        {"two hosts", head("Host: b\r\n")},
        {"odd host", "GET /health HTTP/1.1\r\nHost: a/b?c\r\n\r\n"},
        {"folded line", head("A: b\r\n c\r\n")},
        {"bare LF", head("A: b\nC: d\r\n")},
        {"bare CR", head("A: b\rC: d\r\n")},
        {"NUL", head(std::string("A: b\0c\r\n", 8))},
        {"no colon", head("nonsense\r\n")},
        {"blank before colon", head("A : b\r\n")},
        {"absolute target", head("", "GET http://a/health HTTP/1.1")},
        {"negative length", head("Content-Length: -1\r\n")},
        {"length list", head("Content-Length: 1, 1\r\n")},
        {"two lengths", head("Content-Length: 1\r\nContent-Length: 1\r\n")},
        {"length and chunked", head("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n")},
        {"huge length", head("Content-Length: 99999999999999999999999\r\n")},
    };
    for (const auto& [name, bytes] : bad) EXPECT_EQ(status_of(test, bytes), 400) << name;
    EXPECT_EQ(status_of(test, head("Transfer-Encoding: gzip, chunked\r\n")), 501);
    EXPECT_EQ(status_of(test, head("Content-Encoding: gzip\r\n")), 415);
    EXPECT_EQ(status_of(test, head("Expect: miracles\r\n")), 417);
    EXPECT_EQ(status_of(test, head("", "GET /health HTTP/3.7")), 505);
}

TEST(Http, LimitsTheHead) {
    const TestServer test;
    EXPECT_EQ(status_of(test, head("A: " + std::string(30'000, 'x') + "\r\n")), 200);
    EXPECT_EQ(status_of(test, head("A: " + std::string(40'000, 'x') + "\r\n")), 431);
    EXPECT_EQ(status_of(test, "GET /" + std::string(8'100, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n"), 404);
    EXPECT_EQ(status_of(test, "GET /" + std::string(9'000, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n"), 414);
    EXPECT_EQ(status_of(test, std::string(100'000, 'x')), 414);  // without any end
    std::string fields;
    for (int i = 0; i < 99; ++i) fields += "A" + std::to_string(i) + ": b\r\n";
    EXPECT_EQ(status_of(test, head(fields)), 200);
    EXPECT_EQ(status_of(test, head(fields + "X: y\r\n")), 431);
}

TEST(Http, LimitsTheBody) {
    ServerOptions options;
    options.limits.body_bytes = 1000;
    options.limits.body_grace = 500ms;
    const TestServer test(options);
    const auto post = [](const std::string& fields, const std::string& body) {
        return head(fields, "POST /tokenize HTTP/1.1") + body;
    };
    const std::string good = R"({"prompt":"a"})";
    EXPECT_EQ(status_of(test, post("Content-Length: 14\r\n", good)), 200);
    EXPECT_EQ(status_of(test, post("Content-Length: 1001\r\n", "")), 413);
    EXPECT_EQ(status_of(test, post("Transfer-Encoding: chunked\r\n", "e\r\n" + good + "\r\n0\r\n\r\n")), 200);
    EXPECT_EQ(
        status_of(test, post("Transfer-Encoding: chunked\r\n", "e;a=b\r\n" + good + "\r\n0\r\nT: x\r\n\r\n")),
        200);
    std::string chunks;
    for (int i = 0; i < 30; ++i) chunks += "64\r\n" + std::string(100, ' ') + "\r\n";
    EXPECT_EQ(status_of(test, post("Transfer-Encoding: chunked\r\n", chunks)), 413);
    for (const char* bad : {"-2\r\nxx\r\n", "x\r\n", "fffffffffffffffff\r\n", "0x5\r\nabcde\r\n\r\n",
                            "5\r\nabcdefgh\r\n", "\r\n"})
        EXPECT_EQ(status_of(test, post("Transfer-Encoding: chunked\r\n", bad)), 400) << bad;
    EXPECT_EQ(status_of(test, post("Transfer-Encoding: chunked\r\n",
                                   "5;" + std::string(300, 'x') + "\r\nabcde\r\n")),
              400);
    EXPECT_EQ(status_of(test, post("Transfer-Encoding: chunked\r\n", "5;" + std::string(60'000, 'x'))), 400);
}

TEST(Http, ManySmallChunksArriveWhole) {
    const TestServer test;
    const std::string body = R"({"prompt":")" + std::string(3000, 'a') + "\"}";
    std::string bytes = head("Transfer-Encoding: chunked\r\n", "POST /tokenize HTTP/1.1");
    for (const char byte : body) bytes += std::string("1\r\n") + byte + "\r\n";
    EXPECT_EQ(status_of(test, bytes + "0\r\n\r\n"), 200);
}

TEST(Http, ClosesWhoIsTooSlow) {
    ServerOptions options;
    options.limits.header = 100ms;
    options.limits.idle = 200ms;
    options.limits.body_grace = 100ms;
    const TestServer test(options);
    HttpClient silent = test.client();
    EXPECT_TRUE(silent.at_end());
    EXPECT_EQ(status_of(test, "GET /health HT"), 408);
    EXPECT_EQ(status_of(test, head("Content-Length: 100\r\n", "POST /tokenize HTTP/1.1") + "{"), 408);
}

TEST(Http, RoutesAndMethods) {
    const TestServer test;
    HttpClient client = test.client();
    EXPECT_EQ(client.get("/nothing").status, 404);
    EXPECT_EQ(client.get("/v1/chat/completions").status, 405);
    const ClientResponse wrong = test.client().get("/v1/completions");
    EXPECT_EQ(wrong.headers.at("allow"), "POST");
    EXPECT_EQ(client.post("/health", "").status, 405);
    HttpClient second = test.client();
    EXPECT_EQ(second.get("/v1/models/test?x=1").json()["id"], "test");
    EXPECT_EQ(second.get("/v1/models/owner/alias").json()["max_model_len"], 512);
    EXPECT_EQ(second.get("/v1/models/owner%2Falias").json()["id"], "owner/alias");
    EXPECT_EQ(second.get("/v1/models/other").status, 404);
    EXPECT_EQ(second.get("/v1/models").json()["data"].size(), 2u);
    EXPECT_EQ(second.get("/version").json()["version"], "0.1.0");
    EXPECT_EQ(second.get("/load").json()["server_load"], 0);
    EXPECT_NE(second.get("/").body.find("<h1>Sheaf"), std::string::npos);
    second.send(HttpClient::request("HEAD", "/health"));
    EXPECT_EQ(second.read(false).status, 200);
    EXPECT_EQ(second.get("/health").status, 200);  // the connection is still in step
    EXPECT_EQ(test.client().post("/v1/embeddings", "{}").status, 501);
}

TEST(Http, KeepsConnectionsOpen) {
    const TestServer test;
    HttpClient client = test.client();
    for (int i = 0; i < 20; ++i) {
        ASSERT_EQ(client.get("/health").status, 200) << i;
        ASSERT_EQ(client.post("/tokenize", Json({{"prompt", "a b"}})).status, 200) << i;
    }
    // Two requests at once are answered in order.
    client.send(HttpClient::request("GET", "/version") + HttpClient::request("GET", "/load"));
    EXPECT_TRUE(client.read().json().contains("version"));
    EXPECT_TRUE(client.read().json().contains("server_load"));
    client.send(head("Connection: close\r\n"));
    EXPECT_EQ(client.read().headers.at("connection"), "close");
    EXPECT_TRUE(client.at_end());
    HttpClient old = test.client();
    old.send("GET /health HTTP/1.0\r\n\r\n");
    EXPECT_EQ(old.read().status, 200);
    EXPECT_TRUE(old.at_end());
}

TEST(Http, AsksForTheBodyWhenExpected) {
    const TestServer test;
    HttpClient client = test.client();
    client.send(head("Content-Length: 14\r\nExpect: 100-continue\r\n", "POST /tokenize HTTP/1.1"));
    EXPECT_EQ(client.read_head().status, 100);
    client.send(R"({"prompt":"a"})");
    EXPECT_EQ(client.read().status, 200);
}

TEST(Http, AsksForAKey) {
    ServerOptions options;
    options.api_keys = {"first-key", "second-key"};
    const TestServer test(options);
    for (const char* path : {"/health", "/health/live", "/health/ready", "/ping", "/"})
        EXPECT_EQ(test.client().get(path).status, 200) << path;
    for (const char* path : {"/v1/models", "/metrics", "/version", "/load", "/nothing", "/v1/completions"}) {
        EXPECT_EQ(test.client().get(path).status, 401) << path;
        EXPECT_EQ(test.client().get(path, "Authorization: Bearer wrong\r\n").status, 401) << path;
    }
    for (const char* path : {"/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"})
        EXPECT_EQ(test.client().post(path, "{}").status, 401) << path;
    HttpClient client = test.client();
    for (const char* field : {"Authorization: Bearer first-key\r\n", "Authorization: bearer second-key\r\n",
                              "X-Api-Key: second-key\r\n"})
        EXPECT_EQ(client.get("/v1/models", field).status, 200) << field;
    for (const char* field : {"Authorization: first-key\r\n", "Authorization: Bearer first-ke\r\n",
                              "Authorization: Bearer \r\n", "X-Api-Key: first-keyx\r\n"})
        EXPECT_EQ(test.client().get("/v1/models", field).status, 401) << field;
}

TEST(Http, TellsBrowsersWhoMayAsk) {
    const TestServer open;
    const std::string origin = "Origin: http://page\r\n";
    EXPECT_EQ(open.client().get("/health", origin).headers.at("access-control-allow-origin"), "*");
    HttpClient client = open.client();
    client.send(HttpClient::request("OPTIONS", "/v1/chat/completions", {},
                                    origin + "Access-Control-Request-Headers: authorization, x-a\r\n"));
    const ClientResponse preflight = client.read();
    EXPECT_EQ(preflight.status, 204);
    EXPECT_EQ(preflight.headers.at("access-control-allow-headers"), "authorization, x-a");
    ServerOptions options;
    options.allowed_origins = {"http://page"};
    const TestServer closed(options);
    const ClientResponse friendly = closed.client().get("/health", origin);
    EXPECT_EQ(friendly.headers.at("access-control-allow-origin"), "http://page");
    EXPECT_EQ(friendly.headers.at("vary"), "Origin");
    EXPECT_EQ(closed.client().get("/health", "Origin: http://other\r\n").status, 403);
    EXPECT_EQ(closed.client().get("/health").status, 200);
}

TEST(Http, RequestIdsComeBack) {
    const TestServer test;
    EXPECT_EQ(test.client().get("/health", "X-Request-Id: abc-1\r\n").headers.at("x-request-id"), "abc-1");
    const std::string made =
        test.client().get("/health", "X-Request-Id: <script>\r\n").headers.at("x-request-id");
    EXPECT_EQ(made.size(), 32u);
    EXPECT_NE(made, test.client().get("/health").headers.at("x-request-id"));
}

TEST(Http, APortInUseIsNamed) {
    const TestServer test;
    ServerOptions options;
    options.host = "127.0.0.1";
    options.port = test.server.port();
    try {
        Server second(options);
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::io);
        EXPECT_NE(std::string(error.what()).find(std::to_string(options.port)), std::string::npos);
    }
    options.port = 0;
    options.host = "no.such.host.invalid";
    EXPECT_THROW(Server{options}, Error);
}

TEST(Http, UnixSockets) {
    const std::string path = ::testing::TempDir() + "sheaf-" + std::to_string(::getpid()) + ".sock";
    ServerOptions options;
    options.uds = path;
    {
        Server server(options);
        server.start();
        HttpClient client(path);
        EXPECT_EQ(client.get("/health/live").status, 200);
        EXPECT_THROW(Server{options}, Error);
    }
    EXPECT_NE(::access(path.c_str(), F_OK), 0);
    options.uds = std::string(200, 'x');
    EXPECT_THROW(Server{options}, Error);
}

}  // namespace
}  // namespace sheaf::testing
