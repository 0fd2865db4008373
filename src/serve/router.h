// Router: the one table of what the server answers: method, path, whether a key is needed, and who handles
// it. Authorisation, routing and metrics all use the table's entry. Must not know sockets or what handlers
// do.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "serve/http_types.h"

namespace sheaf {

enum class Access { open, key };

struct Route {
    const char* method;
    std::string path;  // ending in "/*": everything below
    Access access;
    std::function<void(const std::shared_ptr<Exchange>&)> handle;
};

class Router {
  public:
    void add(Route route) { routes_.push_back(std::move(route)); }

    struct Match {
        const Route* route = nullptr;
        std::string allowed;  // methods of this path when the method is not one of them
    };
    Match find(std::string_view method, std::string_view path) const;

    const std::vector<Route>& routes() const { return routes_; }

  private:
    std::vector<Route> routes_;
};

}  // namespace sheaf
