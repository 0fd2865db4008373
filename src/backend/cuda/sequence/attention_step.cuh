// The one-launch decode attention (attention_step.cu) up to its products: how keys are cut among blocks,
// shared memory, the stream of pages into it, and what becomes of this step's queries, key and value. Device
// code only.
#pragma once

#include "backend/cuda/sequence/attention_tiles.cuh"
#include "backend/cuda/sequence/cluster.cuh"
#include "backend/cuda/sequence/kernels.h"
#include "backend/cuda/sequence/launch.cuh"
#include "backend/cuda/sequence/page_storage.cuh"

namespace sheaf::cuda::attention_step {

constexpr int dim = 256, half_dim = dim / 2, tile_keys = 16, tile_rows = 16, most_frequencies = dim / 2;
constexpr int warps = 8, pairs = warps / 2, threads = 32 * warps, stages = 3;
constexpr int tile_bytes = tile_keys * dim * 2, row_floats = dim + 2;  // a row: output, maximum, sum

/// Shared memory (offsets and sizes in bytes). Ring of a pair of warps: stages of a key and a value tile as
/// stored, then, of e4m3, the tile in bf16. `alone`: clusters of one block.
template <class Stored, bool is_alone>
struct Layout {
    using Page = Stored;
    static constexpr bool alone = is_alone, wide = sizeof(Page) == 2;
    static constexpr int stored = tile_keys * dim * static_cast<int>(sizeof(Page)), stage = 2 * stored;
    static constexpr int ring = stages * stage + (wide ? 0 : 2 * tile_bytes);
    static constexpr int queries = pairs * ring;
    static constexpr int received = queries + tile_rows * dim * 2;  // rows from the cluster's blocks
    static constexpr int exchange = received + (alone ? 0 : tile_rows * row_floats * 4);  // of e4m3 alone
    static constexpr int statistics = exchange + (wide ? 0 : 2 * warps * 1024);
    static constexpr int angles = statistics + pairs * 2 * tile_rows * 4;
    static constexpr int newest = angles + 2 * most_frequencies * 4;  // key and value of this step
    static constexpr int prefix = newest + 2 * dim * 2;
    static constexpr int bytes(int sequences) { return prefix + (sequences + 1) * 4; }
    static_assert(ring >= tile_rows * dim * 4 && stage >= 6 * dim * 4);  // outputs at the end; heads at first
};

#if __CUDA_ARCH__ >= 900
/// How a sequence's keys are cut.
struct Cut {
    int span, clusters;
};
__device__ inline Cut cut_of(const AttentionStepWork& work, int length) {
    const int wanted = max(work.usual_parts, (length + work.longest_part - 1) / work.longest_part);
    const int parts = min(min(wanted, work.cluster * work.most_clusters),
                          (length + work.shortest_part - 1) / work.shortest_part);
    const int span = ((length + parts - 1) / parts + tile_keys - 1) / tile_keys * tile_keys;
    return {span, ((length + span - 1) / span + work.cluster - 1) / work.cluster};
}

/// What one block of a cluster works on.
struct Item {
    int sequence, row, kv_head, cluster, clusters;  // cluster: of this sequence and kv head
    int begin, end, last;                           // keys of the block; the newest key
    bool padding;
};
__device__ inline Item item_of(const AttentionStepWork& work, const int* prefix, int index, int rank) {
    const DeviceBatch& batch = work.attention.batch;
    Item item;
    item.sequence = find_sequence(prefix, batch.sequences, index);
    item.row = batch.begin[item.sequence], item.padding = batch.count[item.sequence] == 0;
    const int local = index - prefix[item.sequence], kv_heads = work.attention.pages.kv_heads;
    item.kv_head = local % kv_heads, item.cluster = local / kv_heads;
    item.last = batch.context[item.sequence];
    const Cut cut = cut_of(work, item.last + 1);
    item.clusters = cut.clusters;
    item.begin = min((item.cluster * work.cluster + rank) * cut.span, item.last + 1);
    item.end = min(item.begin + cut.span, item.last + 1);
    return item;
}

/// A warp's stream of its half of the pair's tiles: tiles pair, pair + pairs, ... of the item, without the
/// newest key.
template <class L>
struct Stream {
    using Page = typename L::Page;
    const Pages& pages;
    const int32_t* blocks;
    uint32_t ring;
    int begin, old_end, kv_head, tiles, next, stage = 0;
    int64_t offset;

    __device__ Stream(const AttentionStepWork& work, const Item& item, uint32_t pair_ring)
        : pages(work.attention.pages),
          blocks(work.attention.batch.block_table +
                 static_cast<int64_t>(item.sequence) * work.attention.batch.block_stride),
          ring(pair_ring),
          begin(item.begin),
          old_end(min(item.end, item.last)),
          kv_head(item.kv_head),
          tiles((item.end - item.begin + tile_keys - 1) / tile_keys),
          next(threadIdx.x / 64),
          offset(offset_of(next)) {}
    /// Of the key that this lane looks up, this warp's half.
    __device__ int64_t offset_of(int tile) const {
        const int key = begin + tile * tile_keys + threadIdx.x % tile_keys;
        const int64_t at = key < old_end ? page_offset(pages, blocks, key) + kv_head * dim : 0;
        return at + threadIdx.x / 32 % 2 * half_dim;
    }
    __device__ inline void fetch() {
        if (next < tiles) {
            const int64_t now = offset;
            offset = offset_of(next + pairs);
            fetch_tile(ring + stage * L::stage, now, old_end - begin - next * tile_keys);
        }
        commit_copies();
        next += pairs, stage = stage + 1 == stages ? 0 : stage + 1;
    }
    __device__ inline void fetch_tile(uint32_t to, int64_t key_offset, int valid_keys) const {
        constexpr int wide = 16 / sizeof(Page), chunks = half_dim / wide;
        const int lane = threadIdx.x % 32, first = threadIdx.x / 32 % 2 * chunks;
        const Page *keys = static_cast<const Page*>(pages.keys),
                   *values = static_cast<const Page*>(pages.values);
#pragma unroll
        for (int i = 0; i < tile_keys * chunks / 32; ++i) {
            const int index = i * 32 + lane, row = index / chunks, chunk = index % chunks;
            const int64_t at = __shfl_sync(0xffffffffu, key_offset, row) + chunk * wide;
            const bool valid = row < valid_keys;
            const uint32_t place =
                L::wide ? tile_address<dim>(to, row, first + chunk) : to + row * dim + (first + chunk) * 16;
            copy16(place, valid ? keys + at : keys, valid);
            copy16(place + L::stored, valid ? values + at : values, valid);
        }
    }
};

/// This warp's half of a tile of keys and one of values from e4m3 to bf16, behind the ring.
__device__ inline void widen_tiles(const char* from, uint32_t to) {
    const int lane = threadIdx.x % 32, chunk = threadIdx.x / 32 % 2 * 16 + lane % 16;
#pragma unroll 4
    for (int row = lane / 16; row < 2 * tile_keys; row += 2)
        store_shared(tile_address<dim>(to + row / tile_keys * tile_bytes, row % tile_keys, chunk),
                     widen8(*reinterpret_cast<const uint2*>(from + row * dim + chunk * 8)));
    __syncwarp();
}

/// Lane l's elements 8 l to 8 l + 7 of a head, as activations: its own chunk of a row of a tile.
__device__ inline void store_chunk(uint32_t place, const float (&x)[8]) {
    store_shared(place, make_uint4(pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]), pack_bf16(x[4], x[5]),
                                   pack_bf16(x[6], x[7])));
}

/// Norm and rotation of heads that the warp holds, all at once; `memory` is the warp's own, count * dim
/// floats.
template <int count>
__device__ inline void prepare_heads(float (&x)[count][8], const float (&weight)[count][8],
                                     const float (&epsilon)[count], int frequencies, const float* angles,
                                     float* memory) {
    const int first = threadIdx.x % 32 * 8;
    float squares[count] = {};
#pragma unroll
    for (int r = 0; r < count; ++r)
#pragma unroll
        for (int i = 0; i < 8; ++i) squares[r] += x[r][i] * x[r][i];
#pragma unroll
    for (int step = 16; step > 0; step /= 2)
#pragma unroll
        for (int r = 0; r < count; ++r) squares[r] += __shfl_xor_sync(0xffffffffu, squares[r], step);
#pragma unroll
    for (int r = 0; r < count; ++r) {
        const float factor = 1.0f / sqrtf(squares[r] / static_cast<float>(dim) + epsilon[r]);
#pragma unroll
        for (int i = 0; i < 8; ++i) x[r][i] = x[r][i] * factor * (1.0f + weight[r][i]);
        store8(memory + r * dim + first, x[r]);
    }
    __syncwarp();
    if (first >= 2 * frequencies) return;
    const float *cosine = angles, *sine = angles + most_frequencies;
#pragma unroll
    for (int r = 0; r < count; ++r)
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const int d = first + i;
            const float* other = memory + r * dim;
            if (d < frequencies)
                x[r][i] = x[r][i] * cosine[d] - other[d + frequencies] * sine[d];
            else if (d < 2 * frequencies)
                x[r][i] = x[r][i] * cosine[d - frequencies] + other[d - frequencies] * sine[d - frequencies];
        }
}

/// Cosines and sines of the row's angles; the whole block.
__device__ inline void find_angles(const Angles& angles, int row, float* to) {
    for (int i = threadIdx.x; i < angles.count; i += blockDim.x) {
        const auto position =
            static_cast<float>(__ldg(angles.positions + angles.axes[i] * angles.stride + row));
        float sine, cosine;
        sincosf(position * angles.frequencies[i], &sine, &cosine);
        to[i] = cosine * angles.scale, to[most_frequencies + i] = sine * angles.scale;
    }
}

__device__ inline void load_row(const Rows& rows, int64_t row, int column, float (&x)[8]) {
    const uint4 a = __ldg(reinterpret_cast<const uint4*>(static_cast<const bf16*>(rows.data) +
                                                         row * rows.stride + column + threadIdx.x % 32 * 8));
    x[0] = low_bf16(a.x), x[1] = high_bf16(a.x), x[2] = low_bf16(a.y), x[3] = high_bf16(a.y);
    x[4] = low_bf16(a.z), x[5] = high_bf16(a.z), x[6] = low_bf16(a.w), x[7] = high_bf16(a.w);
}

/// The 16 query rows of the kv head, prepared, to their tile, two a warp; rows past the group are zero. With
/// the newest key among the block's, also that (warp 0) and its value (warp 1): to the page and, as the page
/// has them, to shared memory.
template <class L>
__device__ inline void prepare_rows(const AttentionStepWork& work, const Item& item, const float (&weight)[8],
                                    char* memory, float* head) {
    using Page = typename L::Page;
    const int warp = threadIdx.x / 32, first = threadIdx.x % 32 * 8;
    const int group = work.attention.heads / work.attention.pages.kv_heads;
    const auto* angles = reinterpret_cast<const float*>(memory + L::angles);
    const bool newest = warp < 2 && item.end == item.last + 1;
    float x[3][8] = {}, weights[3][8], value[8];
#pragma unroll
    for (int i = 0; i < 2; ++i)
        if (const int row = warp + i * warps; row < group)
            load_row(work.query_and_gate, item.row, (item.kv_head * group + row) * 2 * dim, x[i]);
    if (newest) load_row(warp == 0 ? work.key : work.value, item.row, item.kv_head * dim, x[2]);
    load8(work.k_norm + first, weights[2]);
#pragma unroll
    for (int i = 0; i < 8; ++i) weights[0][i] = weights[1][i] = weight[i], value[i] = x[2][i];
    prepare_heads<3>(x, weights, {work.q_epsilon, work.q_epsilon, work.k_epsilon}, work.angles.count, angles,
                     head);
#pragma unroll
    for (int i = 0; i < 2; ++i)
        store_chunk(
            tile_address<dim>(shared_address(memory + L::queries), warp + i * warps, threadIdx.x % 32), x[i]);
    if (!newest) return;
    float y[8];
#pragma unroll
    for (int i = 0; i < 8; ++i)
        y[i] = to_float(from_float<Page>(to_float(from_float<bf16>(warp == 0 ? x[2][i] : value[i]))));
    const Pages& pages = work.attention.pages;
    const DeviceBatch& batch = work.attention.batch;
    const int32_t* blocks = batch.block_table + static_cast<int64_t>(item.sequence) * batch.block_stride;
    const int64_t offset = page_offset(pages, blocks, item.last) + item.kv_head * dim + first;
    store8(static_cast<Page*>(warp == 0 ? pages.keys : pages.values) + offset, y);
    store_chunk(shared_address(memory + L::newest) + warp * dim * 2 + first * 2, y);
}

#endif  // sm_90

}  // namespace sheaf::cuda::attention_step
