// Batch: the tokens of one step, from one or many sequences, each a run of rows, and where their caches lie.
// Built by the engine's model runner (or by score), read by the model and the operators. Must not know
// requests or text.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace sheaf {

/// Keys and values of one full-attention layer, in pages ("blocks"): each (blocks, block_size, kv_heads,
/// head_dim), of activations or f8_e4m3. Keys are stored normalized and rotated, values as projected.
struct KvLayer {
    Tensor keys, values;
};

/// State of one Gated DeltaNet layer by sequence slot. `conv`: (slots, kernel - 1, channels) f32, the last
/// inputs of the convolution, oldest first. `recurrent`: (slots, value_heads, key_dim, value_dim) f32 or
/// bf16 (sums are fp32 all the same).
struct StateLayer {
    Tensor conv, recurrent;
};

/// Rows [begin, begin + count) of the batch are tokens [context, context + count) of one sequence. With count
/// 0 it is padding: row `begin` belongs to nobody, and whatever comes out of it is not looked at.
struct SequenceSpan {
    int32_t begin = 0, count = 0;
    int32_t context = 0;                // tokens already in the caches; 0 starts from zero state
    int32_t slot = 0;                   // in every StateLayer; not used when count is 0
    std::span<const int32_t> blocks{};  // pages of tokens [0, context + count), in order
};

struct Batch {
    Tensor token_ids;                         // i32 (tokens)
    Tensor positions;                         // i32 (3, tokens): temporal, height, width; equal for text
    Tensor output_rows;                       // i32 (outputs): rows whose logits are wanted
    std::span<const SequenceSpan> sequences;  // cover all rows, in order
    int32_t length_bound = 0;           // no context + count exceeds it, here or in a replay; 0: what is here
    std::span<const KvLayer> kv;        // one per full-attention layer, in layer order
    std::span<const StateLayer> state;  // one per linear-attention layer, in layer order

    int64_t tokens() const { return token_ids.size(0); }
};

}  // namespace sheaf
