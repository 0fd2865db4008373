// Attention of long runs, on tensor cores (mma.sync, every architecture from sm_80 on). A block takes 128
// query rows of one (sequence, kv head), rows being (token, head of the group), and walks over all keys they
// see in tiles of 64 that are fetched two deep; a warp has 16 of the rows.
#include "backend/cuda/sequence/attention_rows.cuh"
#include "backend/cuda/sequence/page_storage.cuh"

namespace sheaf::cuda {
namespace {

/// Shared memory (offsets and sizes in bytes): queries, two stages of key and value tiles, where the pages'
/// rows of two tiles lie, the sequences' items.
template <class Stored, int head_dim, int block_warps, int keys_of_tile>
struct Layout {
    using Page = Stored;
    static constexpr int dim = head_dim, warps = block_warps, threads = 32 * warps, block_rows = 16 * warps;
    static constexpr int tile_keys = keys_of_tile, tile = tile_keys * dim * 2;
    static constexpr int stages = block_rows * dim * 2;
    static constexpr int offsets = stages + 4 * tile;
    static constexpr int prefix = offsets + 2 * tile_keys * 8;
    static constexpr int bytes(int sequences) { return prefix + (sequences + 1) * 4; }
    static_assert(threads >= 2 * tile_keys);
};

template <class L>
__device__ inline void fetch_queries(const AttentionWork& work, const RowBlock& block, uint32_t to) {
    constexpr int chunks = L::dim / 8;
    for (int index = threadIdx.x; index < L::block_rows * chunks; index += L::threads) {
        const int row = index / chunks, chunk = index % chunks;
        const bool valid = chunk < work.pages.head_dim / 8;
        const bf16* from = static_cast<const bf16*>(work.query.data) +
                           (block.begin + block.token(row)) * work.query.stride +
                           block.head(row) * work.pages.head_dim + (valid ? chunk * 8 : 0);
        copy16(tile_address<L::dim>(to, row, chunk), from, valid);
    }
}

/// A tile of keys and one of values; bf16 in the background, e4m3 through registers.
template <class L>
__device__ inline void fetch_tile(const Pages& pages, uint32_t stage, const int64_t* offsets) {
    using Page = typename L::Page;
    constexpr int chunks = L::dim / 8, each = L::tile_keys * chunks / L::threads;
    const int real_chunks = pages.head_dim / 8;
#pragma unroll
    for (int part = 0; part < 2; ++part) {
        const Page* from = static_cast<const Page*>(part == 0 ? pages.keys : pages.values);
        uint2 narrow[each] = {};
#pragma unroll
        for (int i = 0; i < each; ++i) {
            const int index = i * L::threads + threadIdx.x, row = index / chunks, chunk = index % chunks;
            const int64_t at = offsets[row];
            const bool valid = at >= 0 && chunk < real_chunks;
            if constexpr (sizeof(Page) == 2)
                copy16(tile_address<L::dim>(stage + part * L::tile, row, chunk),
                       valid ? from + at + chunk * 8 : from, valid);
            else if (valid)
                narrow[i] = *reinterpret_cast<const uint2*>(from + at + chunk * 8);
        }
        if constexpr (sizeof(Page) == 1)
#pragma unroll
            for (int i = 0; i < each; ++i) {
                const int index = i * L::threads + threadIdx.x;
                store_shared(tile_address<L::dim>(stage + part * L::tile, index / chunks, index % chunks),
                             widen8(narrow[i]));
            }
    }
}

template <class L>
__device__ void walk_keys(const AttentionWork& work, const RowBlock& block, char* memory,
                          QueryRows<L::dim>& rows) {
    const uint32_t base = shared_address(memory);
    auto* offsets = reinterpret_cast<int64_t*>(memory + L::offsets);
    const int keys = block.context + block.token(L::block_rows - 1) + 1,
              tiles = (keys + L::tile_keys - 1) / L::tile_keys;
    const int own = threadIdx.x / 32 * 16;
    const int last[2] = {block.context + block.token(own + threadIdx.x % 32 / 4),
                         block.context + block.token(own + threadIdx.x % 32 / 4 + 8)};
    if (threadIdx.x < 2 * L::tile_keys) offsets[threadIdx.x] = offset_of(work, block, threadIdx.x, keys);
    fetch_queries<L>(work, block, base);
    __syncthreads();
    fetch_tile<L>(work.pages, base + L::stages, offsets);
    commit_copies();
    for (int tile = 0; tile < tiles; ++tile) {
        const int parity = tile % 2;
        if (tile + 1 < tiles)
            fetch_tile<L>(work.pages, base + L::stages + (1 - parity) * 2 * L::tile,
                          offsets + (1 - parity) * L::tile_keys);
        commit_copies();
        int64_t later = 0;
        if (threadIdx.x < L::tile_keys)
            later = offset_of(work, block, (tile + 2) * L::tile_keys + threadIdx.x, keys);
        wait_copies<1>();
        __syncthreads();
        const uint32_t at = base + L::stages + parity * 2 * L::tile;
        attend_tile<L::dim, L::tile_keys>(rows, base + own * L::dim * 2, at, at + L::tile,
                                          tile * L::tile_keys, last, work.factor);
        if (threadIdx.x < L::tile_keys) offsets[parity * L::tile_keys + threadIdx.x] = later;
        __syncthreads();
    }
}

template <class L>
__global__ void __launch_bounds__(L::threads, 1) prefill_kernel(PrefillWork work) {
    extern __shared__ __align__(128) char memory[];
    int* prefix = reinterpret_cast<int*>(memory + L::prefix);
    const AttentionWork& attention = work.attention;
    RowBlock block;
    if (!find_block(work, prefix, L::block_rows, block)) return;
    QueryRows<L::dim> rows;
    rows.clear();
    walk_keys<L>(attention, block, memory, rows);
    write_rows<L::dim>(attention, block, rows);
}

template <class L>
cudaError_t start(const PrefillWork& work, cudaStream_t stream) {
    const AttentionWork& attention = work.attention;
    const int64_t rows =
        static_cast<int64_t>(attention.batch.tokens) * (attention.heads / attention.pages.kv_heads);
    const int bytes = L::bytes(attention.batch.sequences);
    const cudaError_t status =
        cudaFuncSetAttribute(prefill_kernel<L>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (status != cudaSuccess) return status;
    const dim3 grid(static_cast<unsigned>(rows / L::block_rows + attention.batch.sequences),
                    static_cast<unsigned>(attention.pages.kv_heads));
    prefill_kernel<L><<<grid, L::threads, static_cast<size_t>(bytes), stream>>>(work);
    return cudaGetLastError();
}

template <class Page, int dim>
cudaError_t start(const PrefillWork& work, cudaStream_t stream) {
    return work.small ? start<Layout<Page, dim, 4, 32>>(work, stream)
                      : start<Layout<Page, dim, 8, 64>>(work, stream);
}

template <int dim>
cudaError_t start(const PrefillWork& work, cudaStream_t stream) {
    if (work.attention.pages.element == Element::f8) return start<f8, dim>(work, stream);
    return start<bf16, dim>(work, stream);
}

}  // namespace

cudaError_t launch_prefill_attention(const PrefillWork& work, cudaStream_t stream) {
    if (work.attention.batch.tokens == 0) return cudaSuccess;
    const int head_dim = work.attention.pages.head_dim;
    if (head_dim <= 64) return start<64>(work, stream);
    return head_dim <= 128 ? start<128>(work, stream) : start<256>(work, stream);
}

}  // namespace sheaf::cuda
