// BatchStaging: brings the spans of a batch to device memory as a DeviceBatch. The same shape of batch
// (number of sequences and rows, length bound) always gets the same addresses, so that a recorded step finds
// the spans of its replay there. Used by CudaOps. Must not know operators.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "backend/cuda/context.h"
#include "backend/cuda/device_batch.h"
#include "backend/cuda/transfer.h"
#include "ops/batch.h"

namespace sheaf::cuda {

class BatchStaging {
  public:
    BatchStaging(std::shared_ptr<const CudaContext> context, StepUploads& uploads)
        : context_(std::move(context)), uploads_(uploads) {}

    /// The batch's spans on the device; uploads them unless they are there since the last call.
    const DeviceBatch& stage(const Batch& batch);
    /// Whether stage(batch) would upload nothing.
    bool holds(const Batch& batch) const;
    /// A new step: the next batch is another one even if it looks the same.
    void forget() { spans_.clear(); }

  private:
    int32_t* memory_for(size_t integers);

    std::shared_ptr<const CudaContext> context_;
    StepUploads& uploads_;
    std::map<size_t, Buffer> memory_;  // by size class: a power of two; never moved
    std::vector<int32_t> host_;
    std::vector<SequenceSpan> spans_;  // what the device holds
    int32_t length_bound_ = 0;
    int64_t tokens_ = 0;
    DeviceBatch batch_;
};

}  // namespace sheaf::cuda
