#include "backend/cuda/slab_memory.h"

#include <algorithm>

namespace sheaf::cuda {

Buffer SlabMemory::allocate(size_t bytes) {
    if (bytes > largest_small) return context_->device_memory(bytes);
    const size_t size = (std::max<size_t>(bytes, 1) + 255) / 256 * 256;
    std::lock_guard lock(mutex_);
    if (used_ + size > slab_bytes) {
        slab_ = context_->device_memory(slab_bytes);
        used_ = 0;
    }
    void* data = static_cast<char*>(slab_.data()) + used_;
    used_ += size;
    return Buffer(data, bytes, [keep = slab_](void*) {});
}

}  // namespace sheaf::cuda
