// Gated attention of one row a sequence in one launch: norms and rotation, the row's key and value to their
// page, attention, gates. The keys of a sequence are cut into parts, one for each block of a cluster, and
// further clusters when there are many. A block streams its keys as attention_decode.cu does, each warp with
// its own ring of tiles and running softmax; pages older than this step are on their way before the kernel
// before this one has ended. Every block of a cluster gets some of the 16 query rows from all the others
// through shared memory; of several clusters the last to arrive adds them up, in the clusters' order.
// Heads of 256, sm_90 and later.
#include "backend/cuda/sequence/attention_step.cuh"

namespace sheaf::cuda {
namespace {

using namespace attention_step;

#if __CUDA_ARCH__ >= 900
/// This warp's half of the newest key and value, which no copy has brought, to their row of the tiles.
template <class L>
__device__ inline void insert_newest(const char* memory, uint32_t tiles, int row) {
    const int lane = threadIdx.x % 32, chunk = threadIdx.x / 32 % 2 * 16 + lane % 16;
    store_shared(tile_address<dim>(tiles + lane / 16 * tile_bytes, row, chunk),
                 *reinterpret_cast<const uint4*>(memory + L::newest + lane / 16 * dim * 2 + chunk * 16));
    __syncwarp();
}

__device__ inline void meet_pair() {
    asm volatile("bar.sync %0, 64;\n" ::"r"(static_cast<int>(threadIdx.x / 64) + 1) : "memory");
}

/// Scores of 16 query rows and 16 keys over this warp's half of the head.
__device__ inline void score_half(float (&scores)[2][4], const uint32_t (&queries)[8][4], uint32_t tile) {
    const int lane = threadIdx.x % 32, row = lane % 8 + lane / 16 * 8;
    const int chunk = threadIdx.x / 32 % 2 * 16 + lane / 8 % 2;
    uint32_t keys[8][4];
    float sums[2][2][4] = {};
#pragma unroll
    for (int step = 0; step < 8; ++step)
        load_matrices(keys[step], tile_address<dim>(tile, row, chunk + 2 * step));
#pragma unroll
    for (int step = 0; step < 8; ++step)
#pragma unroll
        for (int n = 0; n < 2; ++n)
            mma(sums[step % 2][n], queries[step], keys[step][2 * n], keys[step][2 * n + 1]);
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) scores[n][i] = sums[0][n][i] + sums[1][n][i];
}

/// Adds the other warp's half of the scores. `place`: of the two warps' numbers, 1 KiB each, `step` apart for
/// a lane's two pieces.
__device__ inline void add_other_half(float (&scores)[2][4], uint32_t own, uint32_t other) {
#pragma unroll
    for (int n = 0; n < 2; ++n)
        asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};\n" ::"r"(own + n * 16), "f"(scores[n][0]),
                     "f"(scores[n][1]), "f"(scores[n][2]), "f"(scores[n][3])
                     : "memory");
    meet_pair();
#pragma unroll
    for (int n = 0; n < 2; ++n) {
        float x[4];
        asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];\n"
                     : "=f"(x[0]), "=f"(x[1]), "=f"(x[2]), "=f"(x[3])
                     : "r"(other + n * 16)
                     : "memory");
#pragma unroll
        for (int i = 0; i < 4; ++i) scores[n][i] += x[i];
    }
}

/// The weights times this warp's half of the values.
__device__ inline void add_half(const float (&weights)[2][4], QueryRows<half_dim>& rows, uint32_t tile) {
    const int lane = threadIdx.x % 32, chunk = threadIdx.x / 32 % 2 * 16 + lane / 16;
    const uint32_t p[4] = {pack_bf16(weights[0][0], weights[0][1]), pack_bf16(weights[0][2], weights[0][3]),
                           pack_bf16(weights[1][0], weights[1][1]), pack_bf16(weights[1][2], weights[1][3])};
    uint32_t values[8][4];
#pragma unroll
    for (int step = 0; step < 8; ++step)
        load_matrices_transposed(values[step], tile_address<dim>(tile, lane % 16, chunk + 2 * step));
#pragma unroll
    for (int step = 0; step < 8; ++step) {
        mma(rows.output[2 * step], p, values[step][0], values[step][1]);
        mma(rows.output[2 * step + 1], p, values[step][2], values[step][3]);
    }
}

/// The pair's tiles: each warp has half of the head's elements. The halves of the scores meet in the tile of
/// keys, which has been read by then, each in its own half of the rows; of e4m3 in memory of their own.
template <class L>
__device__ void attend_tiles(const AttentionStepWork& work, const Item& item, Stream<L>& stream, char* memory,
                             QueryRows<half_dim>& rows) {
    const int lane = threadIdx.x % 32, half = threadIdx.x / 32 % 2, pair = threadIdx.x / 64;
    uint32_t queries[8][4];
#pragma unroll
    for (int step = 0; step < 8; ++step)
        load_matrices(queries[step], tile_address<dim>(shared_address(memory + L::queries), lane % 16,
                                                       half * 16 + 2 * step + lane / 16));
    const uint32_t widened = stream.ring + stages * L::stage, within = lane / 2 * dim * 2 + lane % 2 * 32;
    const int last[2] = {item.last, item.last};
    int stage = 0;
    for (int tile = pair; tile < stream.tiles; tile += pairs) {
        wait_copies<stages - 2>();
        __syncwarp();
        uint32_t at = stream.ring + stage * L::stage;
        if constexpr (!L::wide) {
            widen_tiles(memory + pair * L::ring + stage * L::stage, widened);
            at = widened;
        }
        const int first = item.begin + tile * tile_keys;
        if (item.last < first + tile_keys) insert_newest<L>(memory, at, item.last - first);
        float scores[2][4];
        score_half(scores, queries, at);
        if constexpr (L::wide) {
            __syncwarp();  // the warp's half of the keys is read
            add_other_half(scores, at + within + half * 256, at + within + (1 - half) * 256);
        } else {
            const uint32_t place = shared_address(memory + L::exchange) + tile / pairs % 2 * 1024 + lane * 32;
            add_other_half(scores, place + (2 * pair + half) * 2048, place + (2 * pair + 1 - half) * 2048);
        }
        stream.fetch();  // over what the other warp read a tile ago
        hide_later_keys<tile_keys>(scores, first, last);
        weigh<half_dim, tile_keys>(scores, rows, work.attention.factor);
        add_half(scores, rows, at + tile_bytes);
        stage = stage + 1 == stages ? 0 : stage + 1;
        __syncwarp();
    }
    wait_copies<0>();
}

/// The pairs' rows to shared memory: output by rows in each pair's ring, maxima and sums beside.
template <class L>
__device__ void leave_rows(QueryRows<half_dim>& rows, char* memory) {
    const int lane = threadIdx.x % 32, half = threadIdx.x / 32 % 2, pair = threadIdx.x / 64;
    rows.finish();
    auto* output = reinterpret_cast<float*>(memory + pair * L::ring) + half * half_dim;
    auto* statistics = reinterpret_cast<float*>(memory + L::statistics) + pair * 2 * tile_rows;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const int row = lane / 4 + 8 * r;
#pragma unroll
        for (int i = 0; i < half_dim / 8; ++i)
            *reinterpret_cast<float2*>(output + row * dim + ((8 * i + lane % 4 * 2) ^ (row % 4 * 8))) =
                make_float2(rows.output[i][2 * r], rows.output[i][2 * r + 1]);
        if (lane % 4 == 0 && half == 0)
            statistics[row] = rows.maximum[r], statistics[tile_rows + row] = rows.sum[r];
    }
}

/// One query row over some of the keys: lane l has elements 8 l to 8 l + 7.
struct Row {
    float x[8] = {}, maximum = -INFINITY, sum = 0;

    /// Adds another part; -inf as its maximum: nothing was in it.
    __device__ void add(const float (&y)[8], float y_maximum, float y_sum) {
        if (y_maximum == -INFINITY) return;
        const float top = fmaxf(maximum, y_maximum);
        const float keep = exp2f(maximum - top), factor = exp2f(y_maximum - top);
        maximum = top, sum = sum * keep + y_sum * factor;
#pragma unroll
        for (int i = 0; i < 8; ++i) x[i] = x[i] * keep + y[i] * factor;
    }
};

template <class L>
__device__ Row merge_pairs(const char* memory, int row) {
    const auto* statistics = reinterpret_cast<const float*>(memory + L::statistics);
    const int d = threadIdx.x % 32 * 8;
    Row merged;
#pragma unroll
    for (int w = 0; w < pairs; ++w) {
        float part[8];
        load8(reinterpret_cast<const float*>(memory + w * L::ring) + row * dim + (d ^ (row % 4 * 8)), part);
        merged.add(part, statistics[w * 2 * tile_rows + row], statistics[(w * 2 + 1) * tile_rows + row]);
    }
    return merged;
}

__device__ inline uint4 gates_of(const AttentionStepWork& work, const Item& item, int head) {
    return __ldg(reinterpret_cast<const uint4*>(static_cast<const bf16*>(work.query_and_gate.data) +
                                                item.row * work.query_and_gate.stride + (2 * head + 1) * dim +
                                                threadIdx.x % 32 * 8));
}

/// The row of a head, all its keys added up, to the result.
__device__ inline void write_row(const AttentionStepWork& work, const Item& item, int head,
                                 const uint4& gates, const Row& row) {
    const uint32_t pairs[4] = {gates.x, gates.y, gates.z, gates.w};
    float x[8];
    const float factor = 1.0f / row.sum;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        x[2 * i] = row.x[2 * i] * factor * sigmoid(low_bf16(pairs[i]));
        x[2 * i + 1] = row.x[2 * i + 1] * factor * sigmoid(high_bf16(pairs[i]));
    }
    store8(static_cast<bf16*>(work.attention.result.data) + item.row * work.attention.result.stride +
               head * dim + threadIdx.x % 32 * 8,
           x);
}

/// Where a cluster leaves a row for the last one to arrive.
__device__ inline float* part_of(const AttentionStepWork& work, const Item& item, int cluster, int row) {
    const int64_t pair = static_cast<int64_t>(item.sequence) * work.attention.pages.kv_heads + item.kv_head;
    return work.parts + ((pair * work.most_clusters + cluster) * tile_rows + row) * row_floats;
}

/// Whether this block is the last of its rank among the clusters; all that the others left is then visible.
__device__ inline bool is_last(const AttentionStepWork& work, const Item& item, int rank) {
    __shared__ int arrived;
    __threadfence();
    __syncthreads();
    int* counter =
        work.arrivals + (item.sequence * work.attention.pages.kv_heads + item.kv_head) * work.cluster + rank;
    if (threadIdx.x == 0) {
        arrived = atomicAdd(counter, 1);
        if (arrived == item.clusters - 1) *counter = 0;
    }
    __syncthreads();
    __threadfence();
    return arrived == item.clusters - 1;
}

/// The gates of the rows that the warp finishes.
using Gates = uint4[tile_rows / warps];
template <class L>
__device__ inline void load_gates(const AttentionStepWork& work, const Item& item, int rank, Gates& gates) {
    const int group = work.attention.heads / work.attention.pages.kv_heads,
              rows = tile_rows / (L::alone ? 1 : work.cluster);
#pragma unroll
    for (int i = 0; i < tile_rows / warps; ++i) {
        const int local = threadIdx.x / 32 + i * warps, row = rank * rows + local;
        if (local < rows && row < group) gates[i] = gates_of(work, item, item.kv_head * group + row);
    }
}

/// The warp's rows of this block's share, from the blocks of the cluster, then from the clusters.
template <class L>
__device__ void finish_rows(const AttentionStepWork& work, const Item& item, const char* memory, int rank,
                            const Gates& gates) {
    const int group = work.attention.heads / work.attention.pages.kv_heads,
              blocks = L::alone ? 1 : work.cluster;
    const int rows = tile_rows / blocks, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const auto* received = reinterpret_cast<const float*>(memory + L::received);
#pragma unroll
    for (int i = 0; i < tile_rows / warps; ++i) {
        const int local = warp + i * warps, row = rank * rows + local;
        if (local >= rows || row >= group) break;
        Row merged;
        if constexpr (L::alone)
            merged = merge_pairs<L>(memory, row);
        else
            for (int block = 0; block < blocks; ++block) {
                const float* from = received + (block * rows + local) * row_floats;
                float x[8];
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const float2 two = *reinterpret_cast<const float2*>(from + lane * 8 + 2 * i);
                    x[2 * i] = two.x, x[2 * i + 1] = two.y;
                }
                merged.add(x, from[dim], from[dim + 1]);
            }
        if (item.clusters == 1) {
            write_row(work, item, item.kv_head * group + row, gates[i], merged);
            continue;
        }
        float* to = part_of(work, item, item.cluster, row);
#pragma unroll
        for (int i = 0; i < 4; ++i)
            *reinterpret_cast<float2*>(to + lane * 8 + 2 * i) =
                make_float2(merged.x[2 * i], merged.x[2 * i + 1]);
        if (lane == 0) *reinterpret_cast<float2*>(to + dim) = make_float2(merged.maximum, merged.sum);
    }
    if (item.clusters == 1 || !is_last(work, item, rank)) return;
#pragma unroll
    for (int i = 0; i < tile_rows / warps; ++i) {
        const int local = warp + i * warps, row = rank * rows + local;
        if (local >= rows || row >= group) break;
        Row merged;
#pragma unroll 4
        for (int cluster = 0; cluster < item.clusters; ++cluster) {
            const float* from = part_of(work, item, cluster, row);
            float x[8];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float2 two = __ldcg(reinterpret_cast<const float2*>(from + lane * 8 + 2 * i));
                x[2 * i] = two.x, x[2 * i + 1] = two.y;
            }
            const float2 statistics = __ldcg(reinterpret_cast<const float2*>(from + dim));
            merged.add(x, statistics.x, statistics.y);
        }
        write_row(work, item, item.kv_head * group + row, gates[i], merged);
    }
}

/// The block's rows, each to the block of the cluster that finishes it.
template <class L>
__device__ void send_rows(const AttentionStepWork& work, char* memory, int rank) {
    const int rows = tile_rows / work.cluster, lane = threadIdx.x % 32;
    for (int row = threadIdx.x / 32; row < tile_rows; row += warps) {
        const Row merged = merge_pairs<L>(memory, row);
        const uint32_t to =
            address_in_block(memory + L::received, row / rows) + (rank * rows + row % rows) * row_floats * 4;
#pragma unroll
        for (int i = 0; i < 4; ++i)
            asm volatile("st.shared::cluster.v2.f32 [%0], {%1, %2};\n" ::"r"(to + lane * 32 + i * 8),
                         "f"(merged.x[2 * i]), "f"(merged.x[2 * i + 1])
                         : "memory");
        if (lane == 0) store_at(to + dim * 4, merged.maximum), store_at(to + dim * 4 + 4, merged.sum);
    }
}

/// A row that belongs to nobody gets zeros; one sequence may have no row at all.
__device__ void clear_row(const AttentionStepWork& work, const Item& item) {
    const AttentionWork& attention = work.attention;
    if (item.row < 0 || item.row >= attention.batch.tokens ||
        attention.batch.row_sequence[item.row] != item.sequence)
        return;
    const int columns = attention.heads / attention.pages.kv_heads * dim;
    bf16* to = static_cast<bf16*>(attention.result.data) + item.row * attention.result.stride +
               item.kv_head * columns;
    for (int i = threadIdx.x * 8; i < columns; i += blockDim.x * 8)
        *reinterpret_cast<uint4*>(to + i) = make_uint4(0, 0, 0, 0);
}
#endif  // sm_90

template <class L>
__global__ void __launch_bounds__(threads, 1) attention_step_kernel(AttentionStepWork work) {
#if __CUDA_ARCH__ >= 900
    extern __shared__ __align__(128) char memory[];
    int* prefix = reinterpret_cast<int*>(memory + L::prefix);
    const DeviceBatch& batch = work.attention.batch;
    const int kv_heads = work.attention.pages.kv_heads, pair = threadIdx.x / 64,
              blocks = L::alone ? 1 : work.cluster;
    const int rank = static_cast<int>(blockIdx.x) % blocks;
    if constexpr (!L::alone) arrive_cluster();  // the blocks have started
    count_items(prefix, batch.sequences, [&](int sequence) {
        return kv_heads *
               (batch.count[sequence] == 0 ? 1 : cut_of(work, batch.context[sequence] + 1).clusters);
    });
    float weight[8];
    load8(work.q_norm + threadIdx.x % 32 * 8, weight);
    allow_next_kernel();
    bool waited = false;
    char* own = memory + pair * L::ring;
    auto* head =  // in a stage that has no tile yet
        reinterpret_cast<float*>(own + (stages - 1) * L::stage + threadIdx.x / 32 % 2 * 3 * dim * 4);
    for (int index = static_cast<int>(blockIdx.x) / blocks; index < prefix[batch.sequences];
         index += static_cast<int>(gridDim.x) / blocks) {
        const Item item = item_of(work, prefix, index, rank);
        if (item.padding) {
            if (!waited) wait_for_previous_kernel();
            waited = true;
            if (rank == 0) clear_row(work, item);
            continue;
        }
        Stream<L> stream(work, item, shared_address(own));
        for (int i = 0; i < stages - 1; ++i) stream.fetch();
        find_angles(work.angles, item.row, reinterpret_cast<float*>(memory + L::angles));
        __syncthreads();
        if (!waited) wait_for_previous_kernel();
        waited = true;
        if (item.begin < item.end) {
            prepare_rows<L>(work, item, weight, memory, head);
        }
        __syncthreads();
        QueryRows<half_dim> rows;
        rows.clear();
        Gates gates;
        load_gates<L>(work, item, rank, gates);
        attend_tiles<L>(work, item, stream, memory, rows);
        leave_rows<L>(rows, memory);
        __syncthreads();
        if constexpr (!L::alone) {
            wait_cluster();  // everyone is there and has read what it had received
            send_rows<L>(work, memory, rank);
            arrive_cluster();
            wait_cluster();
        }
        finish_rows<L>(work, item, memory, rank, gates);
        if constexpr (!L::alone) arrive_cluster();
        __syncthreads();
    }
    if (!waited) wait_for_previous_kernel();
    if constexpr (!L::alone) wait_cluster();
#endif
}

template <class L>
cudaError_t start_as(const AttentionStepWork& work, cudaStream_t stream) {
    const int bytes = L::bytes(work.attention.batch.sequences);
    const cudaError_t status =
        cudaFuncSetAttribute(attention_step_kernel<L>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (status != cudaSuccess) return status;
    return launch_early(attention_step_kernel<L>,
                        {dim3(static_cast<unsigned>(work.blocks)), dim3(threads), static_cast<size_t>(bytes),
                         static_cast<unsigned>(work.cluster)},
                        stream, work);
}

template <class Page>
cudaError_t start(const AttentionStepWork& work, cudaStream_t stream) {
    if (work.cluster > 1) return start_as<Layout<Page, false>>(work, stream);
    return start_as<Layout<Page, true>>(work, stream);
}

}  // namespace

cudaError_t launch_attention_step(const AttentionStepWork& work, cudaStream_t stream) {
    if (work.attention.batch.tokens == 0) return cudaSuccess;
    return work.attention.pages.element == Element::f8 ? start<f8>(work, stream) : start<bf16>(work, stream);
}

}  // namespace sheaf::cuda
