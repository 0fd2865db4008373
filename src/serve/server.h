// Server: the HTTP API of one served model. Used by `sheaf serve`:
//
//     Server server(options);                 // binds; throws Error naming the port when it is in use
//     server.start();                         // answers from now on: /health says "loading"
//     server.set_loading({"weights", 1 << 30, 13 << 30, 12.5});      // as often as wanted, from any thread
//     server.set_ready(model);                // a ServedModel; requests are taken from now on
//     ... wait for SIGTERM ...
//     server.drain(60);                       // new requests get 503, running ones finish
//     server.stop();
//
// All members may be called from any thread. Signals, options and loading belong to the app. Must not know
// tensors or back ends.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "serve/limits.h"
#include "serve/served_model.h"

namespace sheaf {

struct ServerOptions {
    std::string host;                   // empty: all interfaces
    int port = 8000;                    // 0: any free one
    std::string uds;                    // a Unix socket instead
    std::vector<std::string> api_keys;  // none: everybody may
    std::vector<std::string> allowed_origins = {"*"};
    std::string version = "0.1.0";
    bool access_log = true;     // a line per request
    bool always_usage = false;  // usage in every stream (--enable-force-include-usage)
    double stats_seconds = 5;   // between lines of statistics while something runs; 0: none
    double stall_seconds = 60;  // an engine without a step for so long is not ready any more
    HttpLimits limits;
};

struct LoadingProgress {
    std::string phase;
    uint64_t bytes_done = 0, bytes_total = 0;
    double eta_seconds = -1;  // negative: unknown
};

class Server {
  public:
    /// Binds. Errors: io when the address cannot be bound.
    explicit Server(ServerOptions options);
    /// As stop().
    ~Server();

    void start();
    int port() const;
    /// For people: "http://0.0.0.0:8000".
    std::string address() const;

    void set_loading(LoadingProgress progress);
    void set_ready(ServedModel model);
    /// New requests are refused; waits until no request runs. After `timeout_seconds` the rest is ended with
    /// an error event. True: all of them finished by themselves.
    bool drain(double timeout_seconds);
    /// Closes all connections and the port.
    void stop();

  private:
    class Implementation;
    std::unique_ptr<Implementation> implementation_;
};

}  // namespace sheaf
