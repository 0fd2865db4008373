// Errors of the world and of the programmer.
//
// sheaf::Error is thrown when the world is at fault (a file, a request, too little memory). It says what,
// where and what to do in one line and gathers context on its way up. It is caught in three places only: a
// command's main, a request handler, the engine (for one sequence). SHEAF_CHECK is for a programmer's
// mistake; it throws InternalError, which the same three places turn into one failed command, request or
// sequence. This header knows no file formats.
#pragma once

#include <fmt/format.h>

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

namespace sheaf {

enum class ErrorKind {
    invalid_input,  // a request, option or prompt that breaks a rule
    not_found,      // a file, tensor or model that does not exist
    corrupt_file,   // a file that contradicts itself
    unsupported,    // well-formed, but nothing we run
    out_of_memory,  // refused before, or failed during, an allocation
    io,             // the operating system said no
};

class Error : public std::exception {
  public:
    Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}

    ErrorKind kind() const { return kind_; }
    const char* what() const noexcept override { return message_.c_str(); }

    /// Puts "where: " in front of the message; returns itself so that a catch block can write `throw
    /// e.at("layer 3")`.
    Error& at(std::string_view where) {
        message_.insert(0, fmt::format("{}: ", where));
        return *this;
    }

  private:
    ErrorKind kind_;
    std::string message_;
};

/// A broken invariant of the program itself.
class InternalError : public std::logic_error {
  public:
    using std::logic_error::logic_error;
};

template <class... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
    throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

namespace detail {
[[noreturn]] void check_failed(const char* condition, const char* file, int line, const std::string& message);
}

}  // namespace sheaf

/// SHEAF_CHECK(condition, "format", args...): an invariant that also holds in release builds.
#define SHEAF_CHECK(condition, ...)                                                                       \
    do {                                                                                                  \
        if (!(condition)) [[unlikely]]                                                                    \
            ::sheaf::detail::check_failed(#condition, __FILE__, __LINE__, ::fmt::format("" __VA_ARGS__)); \
    } while (0)
