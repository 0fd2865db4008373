// SlabMemory: many weights in few allocations: the driver gives memory in pieces of 2 MiB, which would cost a
// model of a thousand small weights a gigabyte. Used by the CUDA machine. Must not know what weights are.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "backend/cuda/context.h"

namespace sheaf::cuda {

class SlabMemory {
  public:
    explicit SlabMemory(std::shared_ptr<const CudaContext> context)
        : context_(std::move(context)), state_(std::make_shared<State>()) {}

    /// Uninitialized, 256-byte aligned. Small pieces share a slab, which goes when the last of them does; a
    /// piece given back serves the next one of its size. Safe to call from several threads. Errors:
    /// out_of_memory.
    Buffer allocate(size_t bytes);

  private:
    static constexpr size_t slab_bytes = size_t{64} << 20, largest_small = size_t{8} << 20;

    struct Piece {
        void* data;
        Buffer slab;
    };
    struct State {
        std::mutex mutex;
        Buffer slab;
        size_t used = slab_bytes;
        std::multimap<size_t, Piece> free;  // by size
    };
    Buffer wrap(Piece piece, size_t bytes, size_t size);

    std::shared_ptr<const CudaContext> context_;
    std::shared_ptr<State> state_;
};

}  // namespace sheaf::cuda
