// Progress of long work on standard error: a bar that redraws itself on a terminal, a log line every few
// seconds elsewhere. Used by the commands. Must not know what the work is.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace sheaf {

class Progress {
  public:
    /// `what`: "loading models/demo".
    explicit Progress(std::string what);
    /// Leaves a finished line behind.
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// `done` of `total` bytes. Cheap: shows something only now and then.
    void update(uint64_t done, uint64_t total);
    /// Seconds that the rest will take at the pace so far; negative when that cannot be said.
    double eta_seconds() const;

  private:
    using Clock = std::chrono::steady_clock;
    void show(const std::string& line);

    std::string what_;
    bool terminal_, shown_ = false;
    Clock::time_point start_ = Clock::now(), last_ = start_;
    uint64_t done_ = 0, total_ = 0;
};

}  // namespace sheaf
