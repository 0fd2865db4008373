// One pool of worker threads for everything that computes. parallel_for hands out task numbers; which thread
// runs a task is not determined, so tasks must write to places of their own, and then results do not depend
// on the number of threads. Used by the CPU back end and the loader. Must not know what the tasks do.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace sheaf {

class ThreadPool {
  public:
    /// `threads` counts the calling thread; 0 means the machine's hardware threads.
    explicit ThreadPool(int threads = 0);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int thread_count() const { return static_cast<int>(workers_.size()) + 1; }

    /// Runs task(0) ... task(count - 1), the caller taking part, and returns when all are done. The first
    /// exception is rethrown. One call at a time (callers queue up); a call from inside a task runs serially.
    void parallel_for(int64_t count, const std::function<void(int64_t)>& task);

  private:
    void work();
    void drain(uint32_t generation);

    std::vector<std::thread> workers_;
    std::mutex call_mutex_;  // one parallel_for at a time
    std::mutex mutex_;
    std::condition_variable wake_;
    // The current call's number in the upper half, the next task's in the lower: a worker that comes late
    // takes no task of another call, so a call ends with its last task and waits for nobody who has not begun
    // one.
    std::atomic<uint64_t> next_{0};
    std::atomic<int64_t> count_{0}, done_{0};
    std::atomic<bool> stop_{false};
    const std::function<void(int64_t)>* task_ = nullptr;
    std::mutex error_mutex_;
    std::exception_ptr error_;
};

}  // namespace sheaf
