// Readings: results of a step on their way to the host while the stream goes on with the next step. Their
// page-locked memory is used again by later ones. Used by CudaOps. Must not know what is read.
#pragma once

#include <vector>

#include "backend/cuda/context.h"
#include "ops/ops.h"

namespace sheaf::cuda {

/// Page-locked places, each with the event that tells when it is filled. Used by one thread.
class ReadingMemory {
  public:
    struct Place {
        Buffer memory;
        cudaEvent_t filled = nullptr;
    };

    explicit ReadingMemory(std::shared_ptr<const CudaContext> context) : context_(std::move(context)) {}
    ~ReadingMemory();
    ReadingMemory(const ReadingMemory&) = delete;
    ReadingMemory& operator=(const ReadingMemory&) = delete;

    Place take(size_t bytes);
    void give_back(Place place) { free_.push_back(std::move(place)); }
    const CudaContext& context() const { return *context_; }

  private:
    std::shared_ptr<const CudaContext> context_;
    std::vector<Place> free_;
};

/// Copies a contiguous tensor in the order of the stream.
std::unique_ptr<Reading> start_reading(std::shared_ptr<ReadingMemory> memory, const Tensor& source);

}  // namespace sheaf::cuda
