#include "app/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <utility>

namespace sheaf {

namespace {

std::atomic<int> signal_that_came{0};
std::mutex handler_mutex;
std::function<bool(int)> handler;

constexpr time_t grace_seconds = 2;  // for work that looks at the flag

void wait_for_signals(sigset_t signals) {
    while (true) {
        int signal = 0;
        if (sigwait(&signals, &signal) != 0) continue;
        // Set before the handler runs: what the handler wakes up must see it.
        if (signal_that_came.exchange(signal) != 0) _exit(128 + signal);
        {
            std::lock_guard lock(handler_mutex);
            if (handler) {
                if (handler(signal)) signal_that_came = 0;
                continue;
            }
        }
        const timespec grace{grace_seconds, 0};
        const int second = sigtimedwait(&signals, nullptr, &grace);
        _exit(128 + (second > 0 ? second : signal));
    }
}

}  // namespace

void start_interrupt_thread() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::thread(wait_for_signals, signals).detach();
}

int interrupt_signal() {
    return signal_that_came.load();
}

void check_interrupted() {
    if (const int signal = interrupt_signal()) throw Interrupted(signal);
}

InterruptHandler::InterruptHandler(std::function<bool(int)> handle) {
    std::lock_guard lock(handler_mutex);
    handler = std::move(handle);
}

InterruptHandler::~InterruptHandler() {
    std::lock_guard lock(handler_mutex);
    handler = nullptr;
}

}  // namespace sheaf
