// SlabMemory: many weights in few allocations: the driver gives memory in pieces of 2 MiB, which would cost a
// model of a thousand small weights a gigabyte. Used by the CUDA machine. Must not know what weights are.
#pragma once

#include <memory>
#include <mutex>

#include "backend/cuda/context.h"

namespace sheaf::cuda {

class SlabMemory {
  public:
    explicit SlabMemory(std::shared_ptr<const CudaContext> context) : context_(std::move(context)) {}

    /// Uninitialized, 256-byte aligned. Small pieces share a slab, which goes when the last of them does.
    /// Safe to call from several threads. Errors: out_of_memory.
    Buffer allocate(size_t bytes);

  private:
    static constexpr size_t slab_bytes = size_t{64} << 20, largest_small = size_t{8} << 20;
    std::shared_ptr<const CudaContext> context_;
    std::mutex mutex_;
    Buffer slab_;
    size_t used_ = slab_bytes;
};

}  // namespace sheaf::cuda
