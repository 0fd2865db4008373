#include "backend/cuda/readings.h"

#include <algorithm>
#include <bit>

#include "backend/cuda/cuda_error.h"

namespace sheaf::cuda {
namespace {

class StreamReading final : public Reading {
  public:
    StreamReading(std::shared_ptr<ReadingMemory> memory, const Tensor& source)
        : memory_(std::move(memory)), place_(memory_->take(source.bytes())), bytes_(source.bytes()) {
        const cudaStream_t stream = memory_->context().stream();
        if (bytes_ > 0)
            check(cudaMemcpyAsync(place_.memory.data(), source.raw(), bytes_, cudaMemcpyDeviceToHost, stream),
                  "reading a result");
        check(cudaEventRecord(place_.filled, stream), "reading a result");
    }
    ~StreamReading() override {
        cudaEventSynchronize(place_.filled);  // the copy must not meet the place's next use
        memory_->give_back(std::move(place_));
    }
    std::span<const std::byte> wait() override {
        check(cudaEventSynchronize(place_.filled), "the work of a step");
        return {static_cast<const std::byte*>(place_.memory.data()), bytes_};
    }

  private:
    std::shared_ptr<ReadingMemory> memory_;
    ReadingMemory::Place place_;
    size_t bytes_;
};

}  // namespace

ReadingMemory::~ReadingMemory() {
    cudaSetDevice(context_->index);
    for (const Place& place : free_) cudaEventDestroy(place.filled);
}

ReadingMemory::Place ReadingMemory::take(size_t bytes) {
    constexpr size_t smallest = 4096;
    const auto fits = [&](const Place& place) { return place.memory.bytes() >= bytes; };
    if (const auto found = std::find_if(free_.begin(), free_.end(), fits); found != free_.end()) {
        Place place = std::move(*found);
        free_.erase(found);
        return place;
    }
    Place place{context_->pinned_memory(std::bit_ceil(std::max(bytes, smallest))), nullptr};
    check(cudaEventCreateWithFlags(&place.filled, cudaEventDisableTiming), "making an event");
    return place;
}

std::unique_ptr<Reading> start_reading(std::shared_ptr<ReadingMemory> memory, const Tensor& source) {
    return std::make_unique<StreamReading>(std::move(memory), source);
}

}  // namespace sheaf::cuda
