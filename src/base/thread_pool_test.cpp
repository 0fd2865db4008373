#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/error.h"

namespace sheaf {
namespace {

TEST(ThreadPool, RunsEveryTaskOnceForAnyNumberOfThreads) {
    for (const int threads : {1, 2, 3, 8}) {
        ThreadPool pool(threads);
        EXPECT_EQ(pool.thread_count(), threads);
        for (int round = 0; round < 300; ++round) {
            const int64_t count = round % 37;
            std::vector<std::atomic<int>> hits(static_cast<size_t>(count));
            pool.parallel_for(count, [&](int64_t i) { ++hits[i]; });
            for (const auto& hit : hits) ASSERT_EQ(hit, 1);
        }
    }
}

TEST(ThreadPool, ALateWorkerTakesNoTaskOfTheNextCall) {
    // Short calls of changing length: a worker that comes back from one call meets the start of the next.
    ThreadPool pool(3);
    for (int64_t round = 0; round < 200000; ++round) {
        const int64_t count = 2 + round * 7919 % 13;
        std::atomic<int64_t> sum{0};
        pool.parallel_for(count, [&](int64_t i) { sum += i + 1; });
        ASSERT_EQ(sum, count * (count + 1) / 2);
    }
}

TEST(ThreadPool, RethrowsAndGoesOn) {
    ThreadPool pool(3);
    EXPECT_THROW(pool.parallel_for(20,
                                   [](int64_t i) {
                                       if (i == 7) fail(ErrorKind::io, "task {}", i);
                                   }),
                 Error);
    std::atomic<int64_t> sum{0};
    pool.parallel_for(100, [&](int64_t i) { sum += i; });
    EXPECT_EQ(sum, 4950);
}

TEST(ThreadPool, NestedCallsRunInPlace) {
    ThreadPool pool(4);
    std::atomic<int> count{0};
    pool.parallel_for(8, [&](int64_t) { pool.parallel_for(8, [&](int64_t) { ++count; }); });
    EXPECT_EQ(count, 64);
}

TEST(ThreadPool, CallersQueueUp) {
    ThreadPool pool(2);
    std::atomic<int64_t> sum{0};
    std::vector<std::thread> callers;
    for (int c = 0; c < 4; ++c)
        callers.emplace_back([&] {
            for (int round = 0; round < 200; ++round) pool.parallel_for(5, [&](int64_t i) { sum += i; });
        });
    for (auto& caller : callers) caller.join();
    EXPECT_EQ(sum, 4 * 200 * 10);
}

TEST(ThreadPool, WakesAfterALongPause) {
    ThreadPool pool(3);
    for (int round = 0; round < 5; ++round) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        std::atomic<int> count{0};
        pool.parallel_for(50, [&](int64_t) { ++count; });
        EXPECT_EQ(count, 50);
    }
}

}  // namespace
}  // namespace sheaf
