#include "base/thread_pool.h"

#include "base/error.h"

#include <algorithm>
#include <utility>

namespace sheaf {
namespace {

// A decode step issues hundreds of short loops; waking a sleeping thread costs more than most of them, so
// workers look for new work for a while before they sleep.
constexpr int spins_before_sleep = 20000, spins_before_yield = 2000;
thread_local bool inside_task = false;

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
}

uint32_t generation_of(uint64_t next) {
    return static_cast<uint32_t>(next >> 32);
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
    if (threads <= 0) threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
}

ThreadPool::~ThreadPool() {
    {
        std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
}

void ThreadPool::drain(uint32_t generation) {
    inside_task = true;
    uint64_t next = next_.load(std::memory_order_acquire);
    while (generation_of(next) == generation) {
        const auto task = static_cast<int64_t>(next & 0xffffffffu);
        if (task >= count_.load()) break;
        if (!next_.compare_exchange_weak(next, next + 1)) continue;
        try {
            (*task_)(task);
        } catch (...) {
            std::lock_guard lock(error_mutex_);
            if (!error_) error_ = std::current_exception();
        }
        done_.fetch_add(1, std::memory_order_acq_rel);
        next = next_.load(std::memory_order_acquire);
    }
    inside_task = false;
}

void ThreadPool::work() {
    uint32_t seen = 0;
    auto news = [&] { return stop_ || generation_of(next_.load(std::memory_order_acquire)) != seen; };
    while (true) {
        for (int spin = 0; spin < spins_before_sleep && !news(); ++spin) pause();
        if (!news()) {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, news);
        }
        if (stop_) return;
        seen = generation_of(next_.load(std::memory_order_acquire));
        drain(seen);
    }
}

void ThreadPool::parallel_for(int64_t count, const std::function<void(int64_t)>& task) {
    if (count <= 0) return;
    if (inside_task || workers_.empty() || count == 1) {
        for (int64_t i = 0; i < count; ++i) task(i);
        return;
    }
    SHEAF_CHECK(count <= INT32_MAX, "{} tasks", count);
    std::lock_guard call(call_mutex_);
    // Closed first: a worker that still looks at the last call must not read this call's count beside the old
    // number.
    const uint32_t closed = generation_of(next_.load(std::memory_order_relaxed)) + 1, generation = closed + 1;
    next_.store((static_cast<uint64_t>(closed) << 32) | 0xffffffffu);
    task_ = &task;
    count_.store(count);
    done_.store(0);
    {
        std::lock_guard lock(mutex_);  // a worker about to sleep sees it or is woken
        next_.store(static_cast<uint64_t>(generation) << 32);
    }
    wake_.notify_all();
    drain(generation);
    for (int spin = 0; done_.load(std::memory_order_acquire) != count; ++spin) {
        if (spin < spins_before_yield) {
            pause();
        } else {
            std::this_thread::yield();  // the machine is busy: let the worker finish
        }
    }
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

}  // namespace sheaf
