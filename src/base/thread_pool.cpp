#include "base/thread_pool.h"

#include <algorithm>
#include <utility>

namespace sheaf {
namespace {

// A decode step issues hundreds of short loops; waking a sleeping thread costs more than most of them, so
// workers look for new work for a while before they sleep.
constexpr int spins_before_sleep = 20000;
thread_local bool inside_task = false;

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
    if (threads <= 0) threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
    {
        std::lock_guard lock(mutex_);
        stop_ = true;
        generation_.fetch_add(1);
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
}

void ThreadPool::drain() {
    inside_task = true;
    while (true) {
        const int64_t i = next_.fetch_add(1, std::memory_order_relaxed);
        if (i >= count_) break;
        try {
            (*task_)(i);
        } catch (...) {
            std::lock_guard lock(error_mutex_);
            if (!error_) error_ = std::current_exception();
            next_.store(count_, std::memory_order_relaxed);
        }
    }
    inside_task = false;
}

void ThreadPool::work(int) {
    uint64_t seen = 0;
    while (true) {
        for (int spin = 0; spin < spins_before_sleep && generation_.load(std::memory_order_acquire) == seen;
             ++spin)
            pause();
        if (generation_.load(std::memory_order_acquire) == seen) {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
        }
        seen = generation_.load(std::memory_order_acquire);
        if (stop_) return;
        drain();
        busy_.fetch_sub(1, std::memory_order_acq_rel);
    }
}

void ThreadPool::parallel_for(int64_t count, const std::function<void(int64_t)>& task) {
    if (count <= 0) return;
    if (inside_task || workers_.empty() || count == 1) {
        for (int64_t i = 0; i < count; ++i) task(i);
        return;
    }
    std::lock_guard call(call_mutex_);
    task_ = &task;
    count_ = count;
    next_.store(0, std::memory_order_relaxed);
    busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    {
        std::lock_guard lock(mutex_);
        generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    drain();
    // Every worker passes through drain() once per generation, so none can touch this call's task afterwards.
    while (busy_.load(std::memory_order_acquire) != 0) pause();
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

}  // namespace sheaf
