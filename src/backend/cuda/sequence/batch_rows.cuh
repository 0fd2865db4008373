// Where rows of a batch lie: their sequence, position and page. Device code only.
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

}  // namespace sheaf::cuda
