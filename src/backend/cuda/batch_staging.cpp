#include "backend/cuda/batch_staging.h"

#include <algorithm>
#include <bit>

namespace sheaf::cuda {
namespace {

bool same(const SequenceSpan& a, const SequenceSpan& b) {
    return a.begin == b.begin && a.count == b.count && a.context == b.context && a.slot == b.slot &&
           a.blocks.data() == b.blocks.data() && a.blocks.size() == b.blocks.size();
}

int64_t tokens_of(const Batch& batch) {
    if (batch.token_ids.defined() || batch.sequences.empty()) return batch.tokens();
    return batch.sequences.back().begin +
           batch.sequences.back().count;  // of a batch without tokens of its own
}

int32_t block_size_of(const Batch& batch) {
    return batch.kv.empty() ? 0 : static_cast<int32_t>(batch.kv.front().keys.size(1));
}

}  // namespace

int32_t* BatchStaging::memory_for(size_t integers) {
    constexpr size_t smallest = 4096;
    const size_t size_class = std::bit_ceil(std::max(integers, smallest));
    Buffer& buffer = memory_[size_class];
    if (!buffer.data()) buffer = context_->device_memory(size_class * sizeof(int32_t));
    return static_cast<int32_t*>(buffer.data());
}

bool BatchStaging::holds(const Batch& batch) const {
    return !spans_.empty() && length_bound_ == batch.length_bound && tokens_ == tokens_of(batch) &&
           std::equal(spans_.begin(), spans_.end(), batch.sequences.begin(), batch.sequences.end(), same);
}

const DeviceBatch& BatchStaging::stage(const Batch& batch) {
    if (holds(batch)) return batch_;
    const auto sequences = static_cast<int32_t>(batch.sequences.size());
    const auto tokens = static_cast<int32_t>(tokens_of(batch));
    int32_t max_count = 0, max_length = batch.length_bound, blocks = 0;
    for (const SequenceSpan& span : batch.sequences) {
        max_count = std::max(max_count, span.count);
        max_length = std::max(max_length, span.context + span.count);
        blocks = std::max(blocks, static_cast<int32_t>(span.blocks.size()));
    }
    // With a bound, the table's shape must not depend on what the sequences hold today.
    const int32_t block_size = block_size_of(batch);
    if (batch.length_bound > 0 && block_size > 0) blocks = (max_length + block_size - 1) / block_size;
    host_.clear();
    for (const SequenceSpan& span : batch.sequences) host_.push_back(span.begin);
    for (const SequenceSpan& span : batch.sequences) host_.push_back(span.count);
    for (const SequenceSpan& span : batch.sequences) host_.push_back(span.context);
    for (const SequenceSpan& span : batch.sequences) host_.push_back(span.slot);
    for (int32_t i = 0; i < sequences; ++i) {
        const int32_t end = i + 1 < sequences ? batch.sequences[static_cast<size_t>(i) + 1].begin : tokens;
        host_.insert(host_.end(), static_cast<size_t>(end - batch.sequences[static_cast<size_t>(i)].begin),
                     i);
    }
    for (const SequenceSpan& span : batch.sequences) {
        const size_t used = std::min(span.blocks.size(), static_cast<size_t>(blocks));
        host_.insert(host_.end(), span.blocks.begin(),
                     span.blocks.begin() + static_cast<std::ptrdiff_t>(used));
        host_.insert(host_.end(), static_cast<size_t>(blocks) - used, 0);
    }
    int32_t* device = memory_for(host_.size());
    uploads_.copy(device, host_.data(), host_.size() * sizeof(int32_t));
    batch_ = DeviceBatch{.sequences = sequences,
                         .tokens = tokens,
                         .begin = device,
                         .count = device + sequences,
                         .context = device + 2 * sequences,
                         .slot = device + 3 * sequences,
                         .row_sequence = device + 4 * sequences,
                         .block_table = device + 4 * sequences + tokens,
                         .block_stride = blocks,
                         .max_count = max_count,
                         .max_length = max_length};
    spans_.assign(batch.sequences.begin(), batch.sequences.end());
    length_bound_ = batch.length_bound;
    tokens_ = tokens;
    return batch_;
}

}  // namespace sheaf::cuda
