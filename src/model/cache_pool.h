// CachePool: the memory of all running sequences: pages ("blocks") of keys and values and slots of recurrent
// state, over all layers. A sequence holds its share through SequenceMemory, which gives it back when it
// goes. Used by the scheduler; the model runner reads the tensors. Not thread-safe: the engine's thread owns
// it. Must not know requests.
#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/memory.h"
#include "ops/batch.h"
#include "ops/machine.h"

namespace sheaf {

class CachePool;

/// A slot and the blocks of one sequence. Move-only; the destructor returns them to the pool.
class SequenceMemory {
  public:
    SequenceMemory(SequenceMemory&& other) noexcept;
    SequenceMemory& operator=(SequenceMemory&& other) noexcept;
    ~SequenceMemory();

    int32_t slot() const { return slot_; }
    const std::vector<int32_t>& blocks() const { return blocks_; }
    /// Makes room for `tokens` tokens in all; false (and nothing changed) when the pool has too few blocks.
    bool reserve(int64_t tokens);

  private:
    friend class CachePool;
    SequenceMemory(CachePool& pool, int32_t slot) : pool_(&pool), slot_(slot) {}
    void release();

    CachePool* pool_;
    int32_t slot_;
    std::vector<int32_t> blocks_;
};

class CachePool {
  public:
    CachePool(const TextConfig& config, Machine& machine, int32_t slots, int32_t blocks, int32_t block_size,
              const CacheDTypes& dtypes = {});
    CachePool(const CachePool&) = delete;
    CachePool& operator=(const CachePool&) = delete;

    bool has_slot() const { return !free_slots_.empty(); }
    /// Needs has_slot().
    SequenceMemory acquire();

    int32_t block_size() const { return block_size_; }
    int32_t blocks_total() const { return blocks_total_; }
    int32_t blocks_free() const { return static_cast<int32_t>(free_blocks_.size()); }
    int32_t slots_total() const { return slots_total_; }
    int32_t slots_free() const { return static_cast<int32_t>(free_slots_.size()); }
    int64_t blocks_for(int64_t tokens) const { return (tokens + block_size_ - 1) / block_size_; }

    const std::vector<KvLayer>& kv() const { return kv_; }
    const std::vector<StateLayer>& state() const { return state_; }

  private:
    friend class SequenceMemory;

    int32_t block_size_, blocks_total_, slots_total_;
    std::vector<Buffer> storage_;
    std::vector<KvLayer> kv_;
    std::vector<StateLayer> state_;
    std::vector<int32_t> free_blocks_, free_slots_;
};

}  // namespace sheaf
