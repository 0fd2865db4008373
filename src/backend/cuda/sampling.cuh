// What the blocks that work on one row of logits share: sums over all their threads, the order of
// candidates, and their weights. Device code of sampling.cu alone.
//
// Weights are whole numbers: exp((logit - largest) / temperature) in units of 2^-44 (for rows of up to 2^18
// logits), computed in double precision. Sums of whole numbers are the same in any order, so a row's token
// depends on nothing but the row.
#pragma once

#include <cooperative_groups.h>

#include "backend/cuda/device_math.cuh"
#include "ops/sampling.h"

namespace sheaf::cuda::sampling {

constexpr int threads = 1024, warps = threads / 32;
constexpr int digits = 2048;          // of a key at a time
constexpr int most_listed = 4096;     // candidates that are sorted as a list
constexpr int most_pieces = 4;        // of a weight in a histogram: shared memory adds 32 bits at a time
constexpr int most_exchanges = 24;    // values that the blocks of a row tell each other in one kernel
constexpr float nothing = -INFINITY;  // what a masked logit is

using Wide = unsigned long long;

/// Shared memory of a block besides its part of the row.
struct Memory {
    union {
        struct {
            uint32_t counts[digits];
            uint32_t weights[most_pieces][digits];  // sums of pieces of weights
        } histogram;
        Wide list[most_listed];  // key, then id: in the order of candidates when sorted
    };
    Wide exchange[most_exchanges];
    Wide warp_sums[warps];
    Wide found[2];
    int32_t token;
    uint32_t digit;
    uint32_t listed;
};

/// The blocks of one row. `blocks` 1: a block alone.
template <int blocks>
struct Team {
    /// A block of a team has at most 2^17 logits, one alone 2^20: sums of pieces stay below 2^32.
    static constexpr int piece_bits = blocks > 1 ? 15 : 12, pieces = blocks > 1 ? 3 : 4;

    Memory& memory;
    int next_exchange = 0;  // the same in all threads

    __device__ static int rank() {
#if __CUDA_ARCH__ >= 900
        if constexpr (blocks > 1) return static_cast<int>(cooperative_groups::this_cluster().block_rank());
#endif
        return 0;
    }
    __device__ static void sync() {
#if __CUDA_ARCH__ >= 900
        if constexpr (blocks > 1) {
            cooperative_groups::this_cluster().sync();
            return;
        }
#endif
        __syncthreads();
    }
    /// The memory of another block.
    __device__ const Memory& of(int block) const {
#if __CUDA_ARCH__ >= 900
        if constexpr (blocks > 1) return *cooperative_groups::this_cluster().map_shared_rank(&memory, block);
#endif
        return memory;
    }
    __device__ Memory& first() const { return const_cast<Memory&>(of(0)); }

    /// All blocks' values, of one thread each (thread 0); f(block, value) in the order of blocks, in every
    /// thread.
    template <class F>
    __device__ void exchange(Wide value, const F& f) {
        if (threadIdx.x == 0) memory.exchange[next_exchange] = value;
        sync();
        for (int block = 0; block < blocks; ++block) f(block, of(block).exchange[next_exchange]);
        ++next_exchange;
    }
    /// before: the sum of the blocks before this one.
    __device__ Wide sum_of_blocks(Wide value, Wide& before) {
        Wide sum = 0;
        before = 0;
        exchange(value, [&](int block, Wide other) {
            if (block < rank()) before += other;
            sum += other;
        });
        return sum;
    }

    /// before: the sum of the block's threads before this one. Returns the block's sum.
    __device__ Wide sum_of_threads(Wide value, Wide& before) {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        Wide inclusive = value;
        for (int offset = 1; offset < 32; offset *= 2) {
            const Wide other = __shfl_up_sync(0xffffffffu, inclusive, offset);
            if (lane >= offset) inclusive += other;
        }
        __syncthreads();
        if (lane == 31) memory.warp_sums[warp] = inclusive;
        __syncthreads();
        Wide sums = memory.warp_sums[lane];
        for (int offset = 1; offset < 32; offset *= 2) {
            const Wide other = __shfl_up_sync(0xffffffffu, sums, offset);
            if (lane >= offset) sums += other;
        }
        const Wide warps_before = __shfl_sync(0xffffffffu, sums, max(warp - 1, 0));
        before = inclusive - value + (warp > 0 ? warps_before : 0);
        return __shfl_sync(0xffffffffu, sums, 31);
    }
    /// Over all threads of all blocks.
    __device__ Wide sum(Wide value, Wide& before) {
        Wide in_block = 0, in_team = 0;
        const Wide block = sum_of_threads(value, in_block);
        const Wide all = sum_of_blocks(block, in_team);
        before = in_team + in_block;
        return all;
    }
    __device__ Wide sum(Wide value) {
        Wide before;
        return sum(value, before);
    }
    /// The largest over all threads of all blocks.
    __device__ Wide largest(Wide value) {
        for (int offset = 16; offset > 0; offset /= 2)
            value = max(value, __shfl_xor_sync(0xffffffffu, value, offset));
        __syncthreads();
        if (threadIdx.x % 32 == 0) memory.warp_sums[threadIdx.x / 32] = value;
        __syncthreads();
        value = memory.warp_sums[threadIdx.x % 32];
        for (int offset = 16; offset > 0; offset /= 2)
            value = max(value, __shfl_xor_sync(0xffffffffu, value, offset));
        Wide result = 0;
        exchange(value, [&](int, Wide other) { result = max(result, other); });
        return result;
    }
};

/// A float as an unsigned number of the same order; equal ones (0 and -0) are equal.
__device__ inline uint32_t ordered_bits(float x) {
    const uint32_t bits = __float_as_uint(x + 0.0f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ inline float from_ordered_bits(uint32_t bits) {
    return __uint_as_float(bits & 0x80000000u ? bits & 0x7fffffffu : ~bits);
}

/// A candidate's place: 0 for the largest logit, growing as logits fall. `below`: logit - largest, at most 0.
__device__ inline uint32_t key_of(float below) {
    return __float_as_uint(below) & 0x7fffffffu;
}
__device__ inline float below_of(uint32_t key) {
    return -__uint_as_float(key);
}

/// exp(below / temperature) as a whole number.
struct Weigher {
    double rate;   // 1 / temperature
    double one;    // what weight 1 is
    double least;  // exponents under this one round to 0

    /// columns: of the row, so that all weights together fit 63 bits.
    __device__ Weigher(float temperature, int columns) : rate(1.0 / static_cast<double>(temperature)) {
        const int bits = 62 - (32 - __clz(max(columns - 1, 1)));
        one = static_cast<double>(Wide{1} << bits);
        least = -0.6931471805599453 * (bits + 1);
    }
    __device__ Wide operator()(float below) const {
        const double exponent = static_cast<double>(below) * rate;
        return exponent < least ? 0 : __double2ull_rn(exp(exponent) * one);
    }
};

/// Sorts list[0, count), count a power of two.
__device__ inline void sort_list(Wide* list, int count) {
    for (int size = 2; size <= count; size *= 2) {
        for (int stride = size / 2; stride > 0; stride /= 2) {
            __syncthreads();
            for (int pair = threadIdx.x; pair < count / 2; pair += threads) {
                const int low = 2 * pair - (pair & (stride - 1)), high = low + stride;
                const Wide a = list[low], b = list[high];
                if ((a > b) == ((low & size) == 0)) list[low] = b, list[high] = a;
            }
        }
    }
    __syncthreads();
}

}  // namespace sheaf::cuda::sampling
