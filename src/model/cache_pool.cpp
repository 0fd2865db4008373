#include "model/cache_pool.h"

#include <utility>

namespace sheaf {

SequenceMemory::SequenceMemory(SequenceMemory&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)), slot_(other.slot_), blocks_(std::move(other.blocks_)) {}

SequenceMemory& SequenceMemory::operator=(SequenceMemory&& other) noexcept {
    if (this != &other) {
        release();
        pool_ = std::exchange(other.pool_, nullptr);
        slot_ = other.slot_;
        blocks_ = std::move(other.blocks_);
    }
    return *this;
}

SequenceMemory::~SequenceMemory() {
    release();
}

void SequenceMemory::release() {
    if (!pool_) return;
    pool_->free_slots_.push_back(slot_);
    // Handed out again in the order they were held: pages of a sequence stay near each other.
    pool_->free_blocks_.insert(pool_->free_blocks_.end(), blocks_.rbegin(), blocks_.rend());
    pool_ = nullptr;
}

bool SequenceMemory::reserve(int64_t tokens) {
    const int64_t needed = pool_->blocks_for(tokens) - static_cast<int64_t>(blocks_.size());
    if (needed > pool_->blocks_free()) return false;
    for (int64_t i = 0; i < needed; ++i) {
        blocks_.push_back(pool_->free_blocks_.back());
        pool_->free_blocks_.pop_back();
    }
    return true;
}

CachePool::CachePool(const TextConfig& config, Machine& machine, int32_t slots, int32_t blocks,
                     int32_t block_size, const CacheDTypes& dtypes)
    : block_size_(block_size), blocks_total_(blocks), slots_total_(slots) {
    const DType kv_dtype = keys_values_dtype(dtypes, machine.compute_type());
    const Shape pages{blocks, block_size, config.num_key_value_heads, config.head_dim};
    const Shape conv{slots, config.linear_conv_kernel_dim - 1, config.conv_channels()};
    const Shape recurrent{slots, config.linear_num_value_heads, config.linear_key_head_dim,
                          config.linear_value_head_dim};
    auto make = [&](DType dtype, const Shape& shape) {
        storage_.push_back(machine.allocate(static_cast<size_t>(shape.elements()) * dtype_size(dtype)));
        return storage_.back().tensor(dtype, shape);
    };
    for (const LayerKind kind : config.layer_types) {
        if (kind == LayerKind::full_attention) {
            kv_.push_back({make(kv_dtype, pages), make(kv_dtype, pages)});
        } else {
            state_.push_back({make(DType::f32, conv), make(recurrent_dtype(dtypes), recurrent)});
        }
    }
    for (int32_t i = blocks; i-- > 0;) free_blocks_.push_back(i);
    for (int32_t i = slots; i-- > 0;) free_slots_.push_back(i);
}

SequenceMemory CachePool::acquire() {
    SHEAF_CHECK(has_slot());
    SequenceMemory memory(*this, free_slots_.back());
    free_slots_.pop_back();
    return memory;
}

}  // namespace sheaf
