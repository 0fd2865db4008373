// Buffer: owned memory of a host or a device, released when the last holder goes. Arena: the activations of a
// step, handed out front to back from a few large buffers. Used by the back ends and loaders. Must not know
// operators.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "tensor/tensor.h"

namespace sheaf {

/// Owned bytes, aligned to 64. Errors: out_of_memory.
class Buffer {
  public:
    Buffer() = default;
    /// Zeroed host memory; large buffers ask for huge pages.
    static Buffer host(size_t bytes);
    /// Memory from elsewhere: `release` is called once at the end.
    Buffer(void* data, size_t bytes, std::function<void(void*)> release);

    void* data() const { return data_.get(); }
    size_t bytes() const { return bytes_; }
    Tensor tensor(DType dtype, Shape shape, size_t offset = 0) const;

  private:
    std::shared_ptr<void> data_;
    size_t bytes_ = 0;
};

/// Allocates the tensors of a step. What is made after reset() lives for the whole step; from the first
/// flip() on, memory comes in two halves: flip() starts handing out the other one, whose tensors become
/// invalid. A layer's results therefore stay valid through the layer after it, and peak memory is that of two
/// layers. Not thread-safe.
class Arena {
  public:
    using Allocate = std::function<Buffer(size_t bytes)>;
    explicit Arena(Allocate allocate = Buffer::host) : allocate_(std::move(allocate)) {}

    /// Uninitialized memory.
    Tensor make(DType dtype, Shape shape);
    void flip();
    /// A new step: forgets all tensors, keeps the memory.
    void reset();
    size_t bytes_reserved() const;

  private:
    static constexpr int whole_step = 2;
    struct Area {
        std::vector<Buffer> blocks;
        size_t block = 0, offset = 0;
    };
    Allocate allocate_;
    Area areas_[3];  // the two halves, then the step's own
    int current_ = whole_step;
};

}  // namespace sheaf
