// Ctrl-C and SIGTERM, handled by a thread of their own so that ordinary code runs in response. Used by main
// and the commands. By default a signal sets a flag that long work looks at (check_interrupted), and ends the
// process soon after if nothing did; a second one ends it at once. Must not know any command.
#pragma once

#include <exception>
#include <functional>

namespace sheaf {

/// Thrown by check_interrupted(); main turns it into exit status 128 + signal.
class Interrupted : public std::exception {
  public:
    explicit Interrupted(int signal) : signal_(signal) {}
    int signal() const { return signal_; }
    const char* what() const noexcept override { return "interrupted"; }

  private:
    int signal_;
};

/// Call once, before any other thread exists.
void start_interrupt_thread();

/// The signal that came, or 0.
int interrupt_signal();

/// Throws Interrupted when a signal came.
void check_interrupted();

/// Replaces the default answer while it lives: `handle` runs on the signal thread and must return quickly.
/// True: the signal is dealt with and forgotten (chat: stop the answer); false: it counts, but the process is
/// not ended by force (serve: drain) unless another one comes.
class InterruptHandler {
  public:
    explicit InterruptHandler(std::function<bool(int signal)> handle);
    ~InterruptHandler();
    InterruptHandler(const InterruptHandler&) = delete;
    InterruptHandler& operator=(const InterruptHandler&) = delete;
};

}  // namespace sheaf
