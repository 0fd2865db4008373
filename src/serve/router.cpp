#include "serve/router.h"

namespace sheaf {

namespace {

bool covers(const Route& route, std::string_view path) {
    const std::string_view pattern = route.path;
    if (!pattern.ends_with("/*")) return pattern == path;
    const std::string_view stem = pattern.substr(0, pattern.size() - 1);
    return path.starts_with(stem) && path.size() > stem.size();
}

}  // namespace

Router::Match Router::find(std::string_view method, std::string_view path) const {
    Match match;
    for (const Route& route : routes_) {
        if (!covers(route, path)) continue;
        const bool head = method == "HEAD" && std::string_view(route.method) == "GET";
        if (method == route.method || head) {
            match.route = &route;
            return match;
        }
        if (!match.allowed.empty()) match.allowed += ", ";
        match.allowed += route.method;
        if (std::string_view(route.method) == "GET") match.allowed += ", HEAD";
    }
    return match;
}

}  // namespace sheaf
