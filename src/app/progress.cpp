#include "app/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "app/output.h"
#include "base/log.h"

namespace sheaf {

namespace {

constexpr double terminal_period = 0.1, log_period = 5;

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Progress::Progress(std::string what) : what_(std::move(what)), terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
    if (terminal_ && shown_) std::fputs("\r\033[K", stderr);
    log::info("{}: {} in {:.1f} s", what_, output::bytes_text(static_cast<double>(done_)),
              seconds_since(start_));
}

double Progress::eta_seconds() const {
    const double passed = seconds_since(start_);
    if (done_ == 0 || total_ < done_ || passed < 0.2) return -1;
    return passed * static_cast<double>(total_ - done_) / static_cast<double>(done_);
}

void Progress::update(uint64_t done, uint64_t total) {
    done_ = done;
    total_ = total;
    if (seconds_since(last_) < (terminal_ ? terminal_period : log_period)) return;
    last_ = Clock::now();
    const double share = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 0;
    const double eta = eta_seconds();
    show(fmt::format("{}: {:3.0f} % of {}{}", what_, 100 * share,
                     output::bytes_text(static_cast<double>(total)),
                     eta < 0 ? "" : fmt::format(", {:.0f} s left", eta)));
}

void Progress::show(const std::string& line) {
    if (!terminal_) return log::info("{}", line);
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    shown_ = true;
}

}  // namespace sheaf
