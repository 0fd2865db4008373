// Attention of long runs with heads of 256 on Hopper's warpgroup products (wgmma, sm_90a alone). A block of
// two warpgroups takes 128 query rows of one (sequence, kv head) and walks over all keys they see in tiles
// of 64. Tiles lie in panels of 64 columns, rows of 128 bytes, swizzled as the products want it. While a
// warpgroup weighs one tile's scores, the tensor cores make the next tile's.
#include "backend/cuda/sequence/attention_rows.cuh"

namespace sheaf::cuda {
namespace {

constexpr int dim = 256, threads = 256, block_rows = 128, tile_keys = 64;
constexpr int tile_bytes = tile_keys * dim * 2;

struct Shared {  // offsets
    static constexpr int keys = block_rows * dim * 2, values = keys + 2 * tile_bytes,
                         offsets = values + 2 * tile_bytes;
    static constexpr int prefix = offsets + 4 * tile_keys * 8;
    static constexpr int bytes(int sequences) {
        return prefix + (sequences + 1) * 4 + 1024;
    }  // 1024: alignment
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
constexpr int panel_bytes = tile_keys * 128, query_panel_bytes = block_rows * 128;

#define SHEAF_FLOATS4(x) "+f"((x)[0]), "+f"((x)[1]), "+f"((x)[2]), "+f"((x)[3])
#define SHEAF_FLOATS32(x, i)                                                                   \
    SHEAF_FLOATS4((x)[i]), SHEAF_FLOATS4((x)[(i) + 1]), SHEAF_FLOATS4((x)[(i) + 2]),           \
        SHEAF_FLOATS4((x)[(i) + 3]), SHEAF_FLOATS4((x)[(i) + 4]), SHEAF_FLOATS4((x)[(i) + 5]), \
        SHEAF_FLOATS4((x)[(i) + 6]), SHEAF_FLOATS4((x)[(i) + 7])

/// A matrix in shared memory for wgmma: 128-byte swizzle, `stride` bytes between groups of eight rows,
/// `leading` bytes between panels (only looked at when the rows run along the sum).
__device__ inline uint64_t descriptor(uint32_t address, int leading, int stride) {
    return static_cast<uint64_t>((address & 0x3ffff) >> 4) | static_cast<uint64_t>(leading >> 4) << 16 |
           static_cast<uint64_t>(stride >> 4) << 32 | uint64_t{1} << 62;
}
__device__ inline void begin_products() {
    asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
}
__device__ inline void commit_products() {
    asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
}
template <int left>
__device__ inline void wait_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(left) : "memory");
}
/// Nothing that reads or writes x is moved across.
__device__ inline void hold(float (&x)[8][4]) {
    asm volatile("" : SHEAF_FLOATS32(x, 0)::"memory");
}
__device__ inline void hold(float (&x)[32][4]) {
    asm volatile(""
                 : SHEAF_FLOATS32(x, 0), SHEAF_FLOATS32(x, 8), SHEAF_FLOATS32(x, 16),
                   SHEAF_FLOATS32(x, 24)::"memory");
}
/// Makes this thread's copies to shared memory visible to wgmma.
__device__ inline void publish_copies() {
    asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}

/// c (64, 64) = a (64, 16) b (64, 16)^T, added to c unless `first`.
__device__ inline void multiply_scores(float (&c)[8][4], uint64_t a, uint64_t b, int first) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.eq.b32 p, %34, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
        "%32, %33, p, 1, 1, 0, 0;\n}\n"
        : SHEAF_FLOATS32(c, 0)
        : "l"(a), "l"(b), "r"(first));
}
/// c (64, 256) += a (64, 16) b (16, 256), a in registers, b by rows.
__device__ inline void multiply_values(float (&c)[32][4], const uint32_t (&a)[4], uint64_t b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
        "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
        "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
        "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
        "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "
        "{%128, %129, %130, %131}, %132, 1, 1, 1, 1;\n"
        : SHEAF_FLOATS32(c, 0), SHEAF_FLOATS32(c, 8), SHEAF_FLOATS32(c, 16), SHEAF_FLOATS32(c, 24)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

__device__ inline void start_scores(float (&scores)[8][4], uint32_t queries, uint32_t keys) {
    begin_products();
#pragma unroll
    for (int step = 0; step < dim / 16; ++step)
        multiply_scores(scores, descriptor(queries + step / 4 * query_panel_bytes + step % 4 * 32, 16, 1024),
                        descriptor(keys + step / 4 * panel_bytes + step % 4 * 32, 16, 1024), step == 0);
    commit_products();
}

__device__ inline void start_values(QueryRows<dim>& rows, const uint32_t (&weights)[4][4], uint32_t values) {
    hold(rows.output);
    begin_products();
#pragma unroll
    for (int step = 0; step < tile_keys / 16; ++step)
        multiply_values(rows.output, weights[step], descriptor(values + step * 16 * 128, panel_bytes, 1024));
    commit_products();
}

/// Address of a 16-byte chunk of a row in panels of `rows` rows.
__device__ inline uint32_t panel_address(uint32_t tile, int rows, int row, int chunk) {
    return tile + chunk / 8 * rows * 128 + row * 128 + (((chunk ^ row) & 7) << 4);
}

__device__ inline void fetch_queries(const AttentionWork& work, const RowBlock& block, uint32_t to) {
    for (int index = threadIdx.x; index < block_rows * dim / 8; index += threads) {
        const int row = index / (dim / 8), chunk = index % (dim / 8);
        const bf16* from = static_cast<const bf16*>(work.query.data) +
                           (block.begin + block.token(row)) * work.query.stride + block.head(row) * dim +
                           chunk * 8;
        copy16(panel_address(to, block_rows, row, chunk), from, true);
    }
}

__device__ inline void fetch_tile(const void* pages, uint32_t to, const int64_t* offsets) {
    const int chunk = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < tile_keys * 32 / threads; ++i) {
        const int row = i * (threads / 32) + threadIdx.x / 32;
        const int64_t at = offsets[row];
        copy16(panel_address(to, tile_keys, row, chunk),
               static_cast<const bf16*>(pages) + (at < 0 ? 0 : at) + chunk * 8, at >= 0);
    }
}

/// Packs the weights as the left operand of four products.
__device__ inline void pack_weights(uint32_t (&packed)[4][4], const float (&weights)[8][4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
            packed[i][j] =
                pack_bf16(weights[2 * i + j / 2][j % 2 * 2], weights[2 * i + j / 2][j % 2 * 2 + 1]);
}

__device__ void walk_keys(const AttentionWork& work, const RowBlock& block, char* memory,
                          QueryRows<dim>& rows) {
    const uint32_t base = shared_address(memory), queries = base + threadIdx.x / 128 * 64 * 128;
    auto* offsets = reinterpret_cast<int64_t*>(memory + Shared::offsets);  // of four tiles
    const int keys = block.context + block.token(block_rows - 1) + 1,
              tiles = (keys + tile_keys - 1) / tile_keys;
    const int own = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
    const int last[2] = {block.context + block.token(own), block.context + block.token(own + 8)};
    offsets[threadIdx.x] = offset_of(work, block, threadIdx.x, keys);
    fetch_queries(work, block, base);
    __syncthreads();
    auto fetch_keys = [&](int tile) {
        if (tile < tiles)
            fetch_tile(work.pages.keys, base + Shared::keys + tile % 2 * tile_bytes,
                       offsets + tile % 4 * tile_keys);
    };
    auto fetch_values = [&](int tile) {
        if (tile < tiles)
            fetch_tile(work.pages.values, base + Shared::values + tile % 2 * tile_bytes,
                       offsets + tile % 4 * tile_keys);
    };
    fetch_keys(0);
    commit_copies();
    fetch_keys(1);
    fetch_values(0);
    commit_copies();
    wait_copies<1>();
    publish_copies();
    __syncthreads();
    float scores[8][4], next[8][4] = {};
    start_scores(scores, queries, base + Shared::keys);
    wait_products<0>();
    hold(scores);
    for (int tile = 0; tile < tiles; ++tile) {
        wait_copies<0>();  // keys of the next tile, values of this one
        publish_copies();
        __syncthreads();  // and everyone is done with what the next copies overwrite
        fetch_keys(tile + 2);
        fetch_values(tile + 1);
        commit_copies();
        if (threadIdx.x < tile_keys)
            offsets[(tile + 4) % 4 * tile_keys + threadIdx.x] =
                offset_of(work, block, (tile + 4) * tile_keys + threadIdx.x, keys);
        const bool more = tile + 1 < tiles;
        if (more) start_scores(next, queries, base + Shared::keys + (tile + 1) % 2 * tile_bytes);
        hide_later_keys<tile_keys>(scores, tile * tile_keys, last);
        weigh<dim, tile_keys>(scores, rows, work.factor);
        uint32_t weights[4][4];
        pack_weights(weights, scores);
        start_values(rows, weights, base + Shared::values + tile % 2 * tile_bytes);
        wait_products<0>();
        hold(rows.output);
        hold(next);
        if (more)
#pragma unroll
            for (int i = 0; i < 8; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) scores[i][j] = next[i][j];
    }
}
#endif

__global__ void __launch_bounds__(threads, 1) wgmma_kernel(PrefillWork work) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ char unaligned[];
    char* memory = unaligned + (1024 - shared_address(unaligned) % 1024) % 1024;
    RowBlock block;
    if (!find_block(work, reinterpret_cast<int*>(memory + Shared::prefix), block_rows, block)) return;
    QueryRows<dim> rows;
    rows.clear();
    walk_keys(work.attention, block, memory, rows);
    write_rows<dim>(work.attention, block, rows);
#endif
}

}  // namespace

cudaError_t launch_wgmma_attention(const PrefillWork& work, cudaStream_t stream) {
    const AttentionWork& attention = work.attention;
    if (attention.batch.tokens == 0) return cudaSuccess;
    const int64_t rows =
        static_cast<int64_t>(attention.batch.tokens) * (attention.heads / attention.pages.kv_heads);
    const int bytes = Shared::bytes(attention.batch.sequences);
    const cudaError_t status =
        cudaFuncSetAttribute(wgmma_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (status != cudaSuccess) return status;
    const dim3 grid(static_cast<unsigned>(rows / block_rows + attention.batch.sequences),
                    static_cast<unsigned>(attention.pages.kv_heads));
    wgmma_kernel<<<grid, threads, static_cast<size_t>(bytes), stream>>>(work);
    return cudaGetLastError();
}

}  // namespace sheaf::cuda
