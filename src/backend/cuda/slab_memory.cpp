#include "backend/cuda/slab_memory.h"

#include <algorithm>

namespace sheaf::cuda {

Buffer SlabMemory::wrap(Piece piece, size_t bytes, size_t size) {
    // The machine may go before its weights: then nobody is left to use the piece again.
    return Buffer(piece.data, bytes, [piece, size, weak = std::weak_ptr<State>(state_)](void*) {
        const auto state = weak.lock();
        if (!state) return;
        std::lock_guard lock(state->mutex);
        state->free.emplace(size, piece);
    });
}

Buffer SlabMemory::allocate(size_t bytes) {
    if (bytes > largest_small) return context_->device_memory(bytes);
    const size_t size = (std::max<size_t>(bytes, 1) + 255) / 256 * 256;
    std::lock_guard lock(state_->mutex);
    if (const auto found = state_->free.find(size); found != state_->free.end()) {
        const Piece piece = found->second;
        state_->free.erase(found);
        return wrap(piece, bytes, size);
    }
    if (state_->used + size > slab_bytes) {
        state_->slab = context_->device_memory(slab_bytes);
        state_->used = 0;
    }
    const Piece piece{static_cast<char*>(state_->slab.data()) + state_->used, state_->slab};
    state_->used += size;
    return wrap(piece, bytes, size);
}

}  // namespace sheaf::cuda
