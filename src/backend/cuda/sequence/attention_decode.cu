// Attention of sequences with few rows, on tensor cores: memory-bound, so everything serves the stream of
// pages. The keys of a sequence are cut into parts; blocks take (sequence, tile of 16 query rows, kv head,
// part) in turn. Query rows are (token, head of the kv head's group), so that pages are read once for the
// whole group. Each of a block's warps has its own ring of key and value tiles (16 keys each) and its
// own running softmax: no block barrier stands in the stream. Warps' results are merged in order at the end,
// parts by a second kernel.
#include "backend/cuda/sequence/attention_tiles.cuh"
#include "backend/cuda/sequence/kernels.h"
#include "backend/cuda/sequence/launch.cuh"
#include "backend/cuda/sequence/page_storage.cuh"

namespace sheaf::cuda {
namespace {

constexpr int tile_keys = 16, tile_rows = 16;

/// Shared memory (offsets and sizes in bytes): the warps' rings, the queries, the warps' maxima and sums, and
/// the sequences' items. A ring: stages of a key and a value tile as stored, then, of e4m3, the tile in bf16.
template <class Stored, int head_dim, int block_warps, int ring_stages>
struct Layout {
    using Page = Stored;
    static constexpr int dim = head_dim, warps = block_warps, threads = 32 * warps, stages = ring_stages;
    static constexpr bool wide = sizeof(Page) == 2;
    static constexpr int tile = tile_keys * dim * 2;
    static constexpr int stored = tile_keys * dim * static_cast<int>(sizeof(Page)), stage = 2 * stored;
    static constexpr int ring = stages * stage + (wide ? 0 : 2 * tile);  // of a warp
    static constexpr int queries = warps * ring;
    static constexpr int statistics = queries + tile_rows * dim * 2;
    static constexpr int prefix = statistics + warps * 2 * tile_rows * 4;
    static constexpr int bytes(int sequences) { return prefix + (sequences + 1) * 4; }
    static_assert(ring >= tile_rows * dim * 4);  // a warp's output goes there at the end
};

/// What one block works on.
struct Item {
    int sequence, tile, kv_head, part, parts;
    int begin, end;  // keys
    int rows;        // of the sequence: count * group
    int slot;        // of the part's result
};

struct Parts {
    int count, span;
};
__device__ inline Parts parts_of(const DecodeWork& work, int sequence) {
    const int length = work.attention.batch.context[sequence] + work.attention.batch.count[sequence];
    const int span =
        max(work.shortest_part, ((length + work.most_parts - 1) / work.most_parts + 63) / 64 * 64);
    return {(length + span - 1) / span, span};
}
__device__ inline int group_of(const AttentionWork& work) {
    return work.heads / work.pages.kv_heads;
}
__device__ inline int tiles_of(const DecodeWork& work, int sequence) {
    const int count = work.attention.batch.count[sequence];
    return count > work.longest ? 0 : (count * group_of(work.attention) + tile_rows - 1) / tile_rows;
}

__device__ inline Item item_of(const DecodeWork& work, const int* prefix, int index) {
    const DeviceBatch& batch = work.attention.batch;
    Item item;
    item.sequence = find_sequence(prefix, batch.sequences, index);
    const Parts parts = parts_of(work, item.sequence);
    const int local = index - prefix[item.sequence], kv_heads = work.attention.pages.kv_heads;
    item.part = local % parts.count, item.parts = parts.count;
    item.kv_head = local / parts.count % kv_heads;
    item.tile = local / parts.count / kv_heads;
    item.begin = item.part * parts.span;
    item.rows = batch.count[item.sequence] * group_of(work.attention);
    item.end = min(item.begin + parts.span, batch.context[item.sequence] + batch.count[item.sequence]);
    item.slot = ((item.sequence * work.most_tiles + item.tile) * kv_heads + item.kv_head) * work.most_parts +
                item.part;
    return item;
}

/// One tile of 16 keys and values of the item to a stage of the warp's ring; `offset`: lane r's key r in the
/// pages.
template <class L>
__device__ inline void fetch_tile(const Pages& pages, uint32_t stage, int64_t offset, int valid_keys) {
    using Page = typename L::Page;
    constexpr int wide = 16 / static_cast<int>(sizeof(Page)), chunks = L::dim / wide;
    const int lane = threadIdx.x % 32, real_chunks = pages.head_dim / wide;
    const Page *keys = static_cast<const Page*>(pages.keys), *values = static_cast<const Page*>(pages.values);
#pragma unroll
    for (int i = 0; i < tile_keys * chunks / 32; ++i) {
        const int index = i * 32 + lane, row = index / chunks, chunk = index % chunks;
        const int64_t at = __shfl_sync(0xffffffffu, offset, row) + chunk * wide;
        const bool valid = row < valid_keys && chunk < real_chunks;
        const uint32_t to = L::wide ? tile_address<L::dim>(stage, row, chunk) : stage + index * 16;
        copy16(to, valid ? keys + at : keys, valid);
        copy16(to + L::stored, valid ? values + at : values, valid);
    }
}

/// A tile of keys and one of values from e4m3 to bf16.
template <class L>
__device__ inline void widen_tiles(const char* from, uint32_t to) {
    constexpr int chunks = L::dim / 8;
#pragma unroll 4
    for (int index = threadIdx.x % 32; index < 2 * tile_keys * chunks; index += 32) {
        const int row = index / chunks;
        store_shared(tile_address<L::dim>(to + row / tile_keys * L::tile, row % tile_keys, index % chunks),
                     widen8(*reinterpret_cast<const uint2*>(from + index * 8)));
    }
    __syncwarp();
}

template <class L>
__device__ inline void fetch_queries(const AttentionWork& work, const Item& item, uint32_t to) {
    constexpr int chunks = L::dim / 8;
    const int group = group_of(work), real_chunks = work.pages.head_dim / 8;
    for (int index = threadIdx.x; index < tile_rows * chunks; index += L::threads) {
        const int row = index / chunks, chunk = index % chunks, number = item.tile * tile_rows + row;
        const bool valid = number < item.rows && chunk < real_chunks;
        const int token = work.batch.begin[item.sequence] + (valid ? number / group : 0);
        const int head = item.kv_head * group + (valid ? number % group : 0);
        const bf16* from = static_cast<const bf16*>(work.query.data) + token * work.query.stride +
                           head * work.pages.head_dim + (valid ? chunk * 8 : 0);
        copy16(tile_address<L::dim>(to, row, chunk), from, valid);
    }
}

/// The warp's share of the item's keys: tiles warp, warp + 4, ...
template <class L>
__device__ void stream_keys(const DecodeWork& work, const Item& item, char* warp_ring, uint32_t queries,
                            QueryRows<L::dim>& rows) {
    const AttentionWork& attention = work.attention;
    const Pages& pages = attention.pages;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const uint32_t ring = shared_address(warp_ring);
    const int32_t* blocks =
        attention.batch.block_table + static_cast<int64_t>(item.sequence) * attention.batch.block_stride;
    const int count = (item.end - item.begin + tile_keys - 1) / tile_keys;
    auto offset_of = [&](int tile) -> int64_t {
        const int key = item.begin + tile * tile_keys + lane % tile_keys;
        return key < item.end ? page_offset(pages, blocks, key) + item.kv_head * pages.head_dim : 0;
    };
    int64_t offset = offset_of(warp);
    int next = warp, stage_in = 0;
    auto fetch = [&] {
        if (next < count) {
            const int64_t now = offset;
            offset = offset_of(next + L::warps);
            fetch_tile<L>(pages, ring + stage_in * L::stage, now, item.end - item.begin - next * tile_keys);
        }
        commit_copies();
        next += L::warps, stage_in = stage_in + 1 == L::stages ? 0 : stage_in + 1;
    };
    fetch_queries<L>(attention, item, queries);
    commit_copies();
    for (int i = 0; i < L::stages - 1; ++i) fetch();
    wait_copies<L::stages - 1>();
    __syncthreads();
    const int first = item.tile * tile_rows + lane / 4, group = group_of(attention);
    const int context = attention.batch.context[item.sequence];
    const int last[2] = {context + first / group, context + (first + 8) / group};
    int stage = 0;
    for (int tile = warp; tile < count; tile += L::warps) {
        wait_copies<L::stages - 2>();
        __syncwarp();
        fetch();
        uint32_t at = ring + stage * L::stage;
        if constexpr (!L::wide) {
            at = ring + L::stages * L::stage;
            widen_tiles<L>(warp_ring + stage * L::stage, at);
        }
        attend_tile<L::dim, tile_keys>(rows, queries, at, at + L::tile, item.begin + tile * tile_keys, last,
                                       attention.factor);
        stage = stage + 1 == L::stages ? 0 : stage + 1;
        __syncwarp();
    }
    wait_copies<0>();
}

/// The warps' rows to shared memory: output by rows in each warp's ring, maxima and sums beside.
template <class L>
__device__ void leave_rows(QueryRows<L::dim>& rows, char* memory) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    rows.finish();
    auto* output = reinterpret_cast<float*>(memory + warp * L::ring);
    auto* statistics = reinterpret_cast<float*>(memory + L::statistics) + warp * 2 * tile_rows;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const int row = lane / 4 + 8 * r;
#pragma unroll
        for (int i = 0; i < L::dim / 8; ++i)
            *reinterpret_cast<float2*>(output + row * L::dim + ((8 * i + lane % 4 * 2) ^ (row % 4 * 8))) =
                make_float2(rows.output[i][2 * r], rows.output[i][2 * r + 1]);
        if (lane % 4 == 0) statistics[row] = rows.maximum[r], statistics[tile_rows + row] = rows.sum[r];
    }
}

/// Eight neighbours times the sigmoid of their gates.
__device__ inline void open_gates(const AttentionWork& work, const uint4& gates, float (&x)[8]) {
    if (!work.gate.data) return;
    const uint32_t pairs[4] = {gates.x, gates.y, gates.z, gates.w};
#pragma unroll
    for (int i = 0; i < 4; ++i)
        x[2 * i] *= sigmoid(low_bf16(pairs[i])), x[2 * i + 1] *= sigmoid(high_bf16(pairs[i]));
}
__device__ inline uint4 gates_of(const AttentionWork& work, int64_t row, int head, int d) {
    if (!work.gate.data || d >= work.pages.head_dim) return {};
    return __ldg(reinterpret_cast<const uint4*>(static_cast<const bf16*>(work.gate.data) +
                                                row * work.gate.stride + head * work.gate_step + d));
}

template <class L>
__device__ void merge_warps(const DecodeWork& work, const Item& item, const char* memory) {
    constexpr int rows_each = tile_rows / L::warps;
    const AttentionWork& attention = work.attention;
    const auto* statistics = reinterpret_cast<const float*>(memory + L::statistics);
    const int group = group_of(attention), head_dim = attention.pages.head_dim, d = threadIdx.x % 32 * 8;
    float* slot = work.parts + static_cast<int64_t>(item.slot) * tile_rows * (head_dim + 2);
    const int begin = attention.batch.begin[item.sequence];
    uint4 gates[rows_each] = {};  // all on their way before the first is needed
    if (item.parts == 1)
#pragma unroll
        for (int i = 0; i < rows_each; ++i)
            if (const int number = item.tile * tile_rows + threadIdx.x / 32 + i * L::warps;
                number < item.rows)
                gates[i] =
                    gates_of(attention, begin + number / group, item.kv_head * group + number % group, d);
#pragma unroll
    for (int i = 0; i < rows_each; ++i) {
        const int row = threadIdx.x / 32 + i * L::warps, number = item.tile * tile_rows + row;
        if (number >= item.rows) break;
        float maximum = -INFINITY, sum = 0, x[8] = {};
#pragma unroll
        for (int w = 0; w < L::warps; ++w) maximum = fmaxf(maximum, statistics[w * 2 * tile_rows + row]);
        const float origin = maximum == -INFINITY ? 0.0f : maximum;
#pragma unroll
        for (int w = 0; w < L::warps; ++w) {
            const float factor = exp2f(statistics[w * 2 * tile_rows + row] - origin);
            sum += factor * statistics[(w * 2 + 1) * tile_rows + row];
            if (d >= head_dim) continue;
            float part[8];
            load8(reinterpret_cast<const float*>(memory + w * L::ring) + row * L::dim + (d ^ (row % 4 * 8)),
                  part);
#pragma unroll
            for (int j = 0; j < 8; ++j) x[j] = fmaf(factor, part[j], x[j]);
        }
        if (item.parts > 1 && d == 0)
            slot[tile_rows * head_dim + row] = maximum, slot[tile_rows * (head_dim + 1) + row] = sum;
        if (d >= head_dim) continue;
        if (item.parts > 1) {
            store8(slot + row * head_dim + d, x);
            continue;
        }
#pragma unroll
        for (int j = 0; j < 8; ++j) x[j] /= sum;
        open_gates(attention, gates[i], x);
        store8(static_cast<bf16*>(attention.result.data) +
                   (begin + number / group) * attention.result.stride +
                   (item.kv_head * group + number % group) * head_dim + d,
               x);
    }
}

template <class L>
__global__ void __launch_bounds__(L::threads) decode_kernel(DecodeWork work) {
    extern __shared__ __align__(128) char memory[];
    int* prefix = reinterpret_cast<int*>(memory + L::prefix);
    const DeviceBatch& batch = work.attention.batch;
    const int kv_heads = work.attention.pages.kv_heads;
    count_items(prefix, batch.sequences, [&](int sequence) {
        return tiles_of(work, sequence) * kv_heads * parts_of(work, sequence).count;
    });
    allow_next_kernel();
    wait_for_previous_kernel();
    const uint32_t base = shared_address(memory);
    for (int index = blockIdx.x; index < prefix[batch.sequences]; index += gridDim.x) {
        const Item item = item_of(work, prefix, index);
        QueryRows<L::dim> rows;
        rows.clear();
        stream_keys<L>(work, item, memory + threadIdx.x / 32 * L::ring, base + L::queries, rows);
        leave_rows<L>(rows, memory);
        __syncthreads();
        merge_warps<L>(work, item, memory);
        __syncthreads();
    }
}

/// One block per row and head: the parts' outputs, weighted by their maxima. Warp w sums parts w, w + 4, ...,
/// a lane eight columns; the warps' sums are added in order.
__global__ void __launch_bounds__(128) merge_kernel(DecodeWork work) {
    constexpr int most = 64, warps = 4;
    __shared__ float factors[most], total;
    __shared__ __align__(16) float sums[warps][256];
    const AttentionWork& attention = work.attention;
    const int row = blockIdx.x, head = blockIdx.y, head_dim = attention.pages.head_dim,
              group = group_of(attention);
    const BatchRow place = batch_row(attention.batch, row);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, d = 8 * lane;
    const Parts parts = place.active ? parts_of(work, place.sequence) : Parts{1, 0};
    const bool mine =
        place.active && attention.batch.count[place.sequence] <= work.longest && parts.count > 1;
    allow_next_kernel();
    wait_for_previous_kernel();
    if (!mine) return;
    const int kv_head = head / group, number = place.index * group + head % group, line = number % tile_rows;
    const int64_t size = static_cast<int64_t>(tile_rows) * (head_dim + 2);
    const float* slots =
        work.parts + ((static_cast<int64_t>(place.sequence) * work.most_tiles + number / tile_rows) *
                          attention.pages.kv_heads +
                      kv_head) *
                         work.most_parts * size;
    const uint4 gates = gates_of(attention, row, head, d);
    if (warp == 0) {
        float maxima[2], part_sums[2];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int p = lane + 32 * i;
            maxima[i] = p < parts.count ? slots[p * size + tile_rows * head_dim + line] : -INFINITY;
            part_sums[i] = p < parts.count ? slots[p * size + tile_rows * (head_dim + 1) + line] : 0.0f;
        }
        float maximum = fmaxf(maxima[0], maxima[1]);
        for (int step = 16; step > 0; step /= 2)
            maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, step));
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            factors[lane + 32 * i] = exp2f(maxima[i] - maximum);
            part_sums[i] *= exp2f(maxima[i] - maximum);
        }
        const float sum = warp_sum(part_sums[0] + part_sums[1]);
        if (lane == 0) total = sum;
    }
    __syncthreads();
    float x[8] = {};
    if (d < head_dim)
#pragma unroll 8
        for (int p = warp; p < parts.count; p += warps) {
            float part[8];
            load8(slots + p * size + line * head_dim + d, part);
#pragma unroll
            for (int j = 0; j < 8; ++j) x[j] = fmaf(factors[p], part[j], x[j]);
        }
    if (d < head_dim) store8(&sums[warp][d], x);
    __syncthreads();
    if (warp > 0 || d >= head_dim) return;
#pragma unroll
    for (int w = 1; w < warps; ++w)
#pragma unroll
        for (int j = 0; j < 8; ++j) x[j] += sums[w][d + j];
#pragma unroll
    for (int j = 0; j < 8; ++j) x[j] /= total;
    open_gates(attention, gates, x);
    store8(static_cast<bf16*>(attention.result.data) + row * attention.result.stride + head * head_dim + d,
           x);
}

template <class L>
cudaError_t start_as(const DecodeWork& work, cudaStream_t stream) {
    const int bytes = L::bytes(work.attention.batch.sequences);
    const cudaError_t status =
        cudaFuncSetAttribute(decode_kernel<L>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (status != cudaSuccess) return status;
    return launch_early(
        decode_kernel<L>,
        {dim3(static_cast<unsigned>(work.blocks)), dim3(L::threads), static_cast<size_t>(bytes)}, stream,
        work);
}

template <class Page, int dim>
cudaError_t start_as(const DecodeWork& work, cudaStream_t stream) {
    if (work.small) return start_as<Layout<Page, dim, 2, 2>>(work, stream);
    return start_as<Layout<Page, dim, 4, 3>>(work, stream);
}

template <int dim>
cudaError_t start(const DecodeWork& work, cudaStream_t stream) {
    if (work.attention.pages.element == Element::f8) return start_as<f8, dim>(work, stream);
    return start_as<bf16, dim>(work, stream);
}

}  // namespace

cudaError_t launch_decode_attention(const DecodeWork& work, cudaStream_t stream) {
    const AttentionWork& attention = work.attention;
    if (attention.batch.tokens == 0) return cudaSuccess;
    cudaError_t status;
    if (attention.pages.head_dim <= 64)
        status = start<64>(work, stream);
    else if (attention.pages.head_dim <= 128)
        status = start<128>(work, stream);
    else
        status = start<256>(work, stream);
    if (status != cudaSuccess || work.most_parts == 1) return status;
    const dim3 grid(static_cast<unsigned>(attention.batch.tokens), static_cast<unsigned>(attention.heads));
    return launch_early(merge_kernel, {grid, dim3(128)}, stream, work);
}

}  // namespace sheaf::cuda
