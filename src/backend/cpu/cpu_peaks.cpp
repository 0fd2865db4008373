#include "backend/cpu/cpu_peaks.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "backend/cpu/memory_info.h"
#include "tensor/buffer.h"

namespace sheaf::cpu {
namespace {

constexpr int runs = 5;
constexpr int64_t largest_buffer = int64_t{1} << 30, chunk = int64_t{4} << 20;

double seconds_of(const std::function<void()>& work) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

MachinePeaks measure_peaks(const Kernels& kernels, ThreadPool& pool) {
    std::atomic<float> sink{0};  // keeps the work alive
    const auto quarter = static_cast<int64_t>(available_memory_bytes() / 4);
    const int64_t chunks = std::max<int64_t>(1, std::min(largest_buffer, quarter) / chunk);
    const Buffer buffer = Buffer::host(static_cast<size_t>(chunks * chunk));
    auto* bytes = static_cast<char*>(buffer.data());
    pool.parallel_for(chunks, [&](int64_t i) { std::memset(bytes + i * chunk, 1, chunk); });

    double read = 1e9, compute = 1e9;
    const int64_t rounds = 2'000'000, threads = pool.thread_count();
    for (int run = 0; run < runs; ++run) {
        read = std::min(read, seconds_of([&] {
                            pool.parallel_for(chunks, [&](int64_t i) {
                                sink = sink + kernels.read_all(bytes + i * chunk, chunk);
                            });
                        }));
        compute =
            std::min(compute, seconds_of([&] {
                         pool.parallel_for(threads, [&](int64_t) { sink = sink + kernels.burn(rounds); });
                     }));
    }
    MachinePeaks peaks;
    peaks.read_bytes_per_second = static_cast<double>(chunks * chunk) / read;
    peaks.flops_per_second = static_cast<double>(threads * rounds * kernels.flops_per_round) / compute;
    return peaks;
}

}  // namespace sheaf::cpu
