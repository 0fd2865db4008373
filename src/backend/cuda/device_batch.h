// DeviceBatch: the spans of a batch (ops/batch.h) in device memory, one upload per step. Made by CudaOps,
// read by the kernels that work on sequences. Pointers stay the same from step to step, so that a recorded
// step can be replayed; contents change. Plain data: must not know who owns the memory.
#pragma once

#include <cstdint>

namespace sheaf::cuda {

/// A kernel may depend on no host value but sequences, tokens, max_count and max_length: a recorded step
/// stays valid while sequences grow. count 0 is legal (padding).
struct DeviceBatch {
    int32_t sequences = 0, tokens = 0;  // as launched: padding rows belong to sequences of their own
    const int32_t *begin = nullptr, *count = nullptr, *context = nullptr, *slot = nullptr;  // (sequences)
    const int32_t* row_sequence = nullptr;  // (tokens) which sequence a row belongs to
    const int32_t* block_table = nullptr;   // (sequences, block_stride): pages in order
    int32_t block_stride = 0;
    int32_t max_count = 0;   // largest count; 1 = pure decode
    int32_t max_length = 0;  // an upper bound of context + count (in a recorded step: of all its replays)
};

}  // namespace sheaf::cuda
