// A request that breaks a rule, with the field that does. Thrown by the request readers; the server turns it
// into an HTTP error, `sheaf generate` into the line's error. Must not know HTTP.
#pragma once

#include <string>
#include <utility>

#include "base/error.h"

namespace sheaf {

class RequestError : public Error {
  public:
    RequestError(ErrorKind kind, std::string param, std::string message)
        : Error(kind, std::move(message)), param_(std::move(param)) {}

    /// The field, as in "messages[2].content"; empty when it is none in particular.
    const std::string& param() const { return param_; }

  private:
    std::string param_;
};

/// Throws a RequestError about `param`.
template <class... Args>
[[noreturn]] void refuse(std::string param, fmt::format_string<Args...> format, Args&&... args) {
    throw RequestError(ErrorKind::invalid_input, std::move(param),
                       fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace sheaf
