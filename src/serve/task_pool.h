// TaskPool: a few threads that carry out small jobs in the order they come. Used for what must not run on the
// network's or the engine's thread: templates, tokenising, forming answers. Must not know what the jobs do.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace sheaf {

class TaskPool {
  public:
    /// `name` is for the log: an exception that leaves a job is logged there and goes no further.
    TaskPool(std::string name, int threads);
    /// Waits for the jobs that run; those that wait are dropped.
    ~TaskPool();
    TaskPool(const TaskPool&) = delete;
    TaskPool& operator=(const TaskPool&) = delete;

    void post(std::function<void()> job);

  private:
    void work();

    std::string name_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<void()>> jobs_;
    bool stop_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace sheaf
