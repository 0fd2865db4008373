#include "backend/cuda/peaks.h"

#include <algorithm>
#include <functional>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/peak_kernels.h"

namespace sheaf::cuda {
namespace {

/// The shortest of a few times, in seconds.
double best_seconds(cudaStream_t stream, const std::function<void()>& work) {
    cudaEvent_t begin = nullptr, end = nullptr;
    check(cudaEventCreate(&begin), "making an event");
    check(cudaEventCreate(&end), "making an event");
    float best = 1e9f;
    for (int i = 0; i < 6; ++i) {
        check(cudaEventRecord(begin, stream), "timing");
        work();
        check(cudaEventRecord(end, stream), "timing");
        check(cudaEventSynchronize(end), "a measurement of the GPU");
        float milliseconds = 0;
        check(cudaEventElapsedTime(&milliseconds, begin, end), "timing");
        best = std::min(best, milliseconds);
    }
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    return static_cast<double>(best) / 1e3;
}

}  // namespace

MachinePeaks measure_peaks(const CudaContext& context) {
    constexpr size_t largest = size_t{512} << 20, smallest = size_t{64} << 20;
    context.enter();
    const cudaStream_t stream = context.stream();
    MachinePeaks peaks;
    const size_t bytes = std::min(largest, context.free_memory() / 4);
    if (bytes < smallest) return peaks;
    const Buffer from = context.device_memory(bytes), to = context.device_memory(bytes);
    const double copy = best_seconds(stream, [&] {
        check(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice, stream), "a copy");
    });
    peaks.read_bytes_per_second = 2.0 * static_cast<double>(bytes) / copy;
    double operations = 0;
    const double products = best_seconds(stream, [&] {
        operations = run_products(context.info.processors, static_cast<float*>(to.data()), stream);
    });
    peaks.flops_per_second = operations / products;
    return peaks;
}

}  // namespace sheaf::cuda
