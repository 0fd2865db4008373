// Where rows of a batch lie: their sequence, position and page; and how blocks find the sequence they work
// on. Device code only.
#pragma once

#include "backend/cuda/device_batch.h"
#include "backend/cuda/sequence/kernels.h"

namespace sheaf::cuda {

struct BatchRow {
    int sequence = 0, index = 0;  // row `index` of the sequence's rows in this batch
    bool active = false;          // false: padding
};

__device__ inline BatchRow batch_row(const DeviceBatch& batch, int row) {
    BatchRow place;
    place.sequence = batch.row_sequence[row];
    if (place.sequence < 0 || place.sequence >= batch.sequences) return place;
    place.index = row - batch.begin[place.sequence];
    place.active = place.index >= 0 && place.index < batch.count[place.sequence];
    return place;
}

/// Elements from the start of the pages to token `position` of a sequence, first kv head.
__device__ inline int64_t page_offset(const Pages& pages, const int32_t* blocks, int position) {
    const int page = position / pages.page_size;
    return blocks[page] * pages.page_stride +
           static_cast<int64_t>(position - page * pages.page_size) * pages.kv_heads * pages.head_dim;
}

/// prefix[s] = items of the sequences before s, for s up to `sequences`; the whole block takes part.
template <class Items>
__device__ inline void count_items(int* prefix, int sequences, Items items) {
    __shared__ int totals[32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    int before = 0;
    for (int base = 0; base < sequences; base += blockDim.x) {
        const int sequence = base + threadIdx.x;
        int sum = sequence < sequences ? items(sequence) : 0;
        for (int step = 1; step < 32; step *= 2) {
            const int other = __shfl_up_sync(0xffffffffu, sum, step);
            if (lane >= step) sum += other;
        }
        if (lane == 31) totals[warp] = sum;
        __syncthreads();
        for (int w = 0; w < warps; ++w) {
            if (w < warp) sum += totals[w];
        }
        if (sequence < sequences) prefix[sequence + 1] = before + sum;
        for (int w = 0; w < warps; ++w) before += totals[w];
        __syncthreads();
    }
    if (threadIdx.x == 0) prefix[0] = 0;
    __syncthreads();
}

/// The sequence in whose range `item` lies.
__device__ inline int find_sequence(const int* prefix, int sequences, int item) {
    int low = 0, high = sequences;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        (prefix[middle] <= item ? low : high) = middle;
    }
    return low;
}

}  // namespace sheaf::cuda
