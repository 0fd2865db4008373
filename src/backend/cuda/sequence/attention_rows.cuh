// What the prefill kernels share: which query rows a block has, where keys lie, how rows are written. Rows
// are (token, head of the kv head's group), numbered through the sequence. Device code only.
#pragma once

#include "backend/cuda/sequence/attention_tiles.cuh"
#include "backend/cuda/sequence/kernels.h"

namespace sheaf::cuda {

/// What a block works on.
struct RowBlock {
    int sequence, kv_head, first, rows;  // rows [first, rows) of the sequence's count * group
    int begin, context, group;
    __device__ int token(int row) const { return min(first + row, rows - 1) / group; }
    __device__ int head(int row) const { return kv_head * group + min(first + row, rows - 1) % group; }
};

/// The block's rows (x: tile of block_rows rows over all sequences, y: kv head); false: none.
__device__ inline bool find_block(const PrefillWork& work, int* prefix, int block_rows, RowBlock& block) {
    const AttentionWork& attention = work.attention;
    const DeviceBatch& batch = attention.batch;
    block.group = attention.heads / attention.pages.kv_heads;
    count_items(prefix, batch.sequences, [&](int sequence) {
        const int count = batch.count[sequence];
        return count <= work.longest_decode ? 0 : (count * block.group + block_rows - 1) / block_rows;
    });
    const int item = prefix[batch.sequences] - 1 - static_cast<int>(blockIdx.x);  // the longest walks first
    if (item < 0) return false;
    block.sequence = find_sequence(prefix, batch.sequences, item);
    block.kv_head = blockIdx.y;
    block.first = (item - prefix[block.sequence]) * block_rows;
    block.rows = batch.count[block.sequence] * block.group;
    block.begin = batch.begin[block.sequence], block.context = batch.context[block.sequence];
    return true;
}

/// Where key `key` of the sequence lies, or -1.
__device__ inline int64_t offset_of(const AttentionWork& work, const RowBlock& block, int key, int keys) {
    if (key >= keys) return -1;
    const int32_t* blocks =
        work.batch.block_table + static_cast<int64_t>(block.sequence) * work.batch.block_stride;
    return page_offset(work.pages, blocks, key) + block.kv_head * work.pages.head_dim;
}

template <int dim>
__device__ inline void write_rows(const AttentionWork& work, const RowBlock& block, QueryRows<dim>& rows) {
    const int lane = threadIdx.x % 32, head_dim = work.pages.head_dim;
    rows.finish();
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const int row = threadIdx.x / 32 * 16 + lane / 4 + 8 * r;
        if (block.first + row >= block.rows) continue;
        const int64_t token = block.begin + block.token(row);
        const int head = block.head(row);
        const float factor = 1.0f / rows.sum[r];
        bf16* result = static_cast<bf16*>(work.result.data) + token * work.result.stride + head * head_dim;
        const bf16* gate =
            static_cast<const bf16*>(work.gate.data) + token * work.gate.stride + head * work.gate_step;
#pragma unroll
        for (int part = 0; part < dim / 8; part += 8) {
            uint32_t gates[8] = {};  // all on their way before the first is needed
#pragma unroll
            for (int i = 0; i < 8; ++i)
                if (const int d = 8 * (part + i) + lane % 4 * 2; work.gate.data && d < head_dim)
                    gates[i] = __ldg(reinterpret_cast<const uint32_t*>(gate + d));
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                const int d = 8 * (part + i) + lane % 4 * 2;
                if (d >= head_dim) break;
                float x = rows.output[part + i][2 * r] * factor,
                      y = rows.output[part + i][2 * r + 1] * factor;
                if (work.gate.data) x *= sigmoid(low_bf16(gates[i])), y *= sigmoid(high_bf16(gates[i]));
                *reinterpret_cast<uint32_t*>(result + d) = pack_bf16(x, y);
            }
        }
    }
}

}  // namespace sheaf::cuda
