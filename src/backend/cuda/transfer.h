// Transfers from the host to the GPU through page-locked memory. StepUploads: the small inputs of a step,
// asynchronous. stream_to_device: large pieces of weights, read and copied at the same time. Used by CudaOps
// and CudaMachine. Must not know what the bytes mean.
#pragma once

#include <array>

#include "backend/cuda/context.h"

namespace sheaf::cuda {

/// Copies small pieces through a ring of page-locked slots; the caller's memory is free again at once. A slot
/// is used again when its copy has been made, which is waited for only if the GPU is many uploads behind.
class StepUploads {
  public:
    explicit StepUploads(std::shared_ptr<const CudaContext> context);
    ~StepUploads();
    StepUploads(const StepUploads&) = delete;
    StepUploads& operator=(const StepUploads&) = delete;

    void copy(void* device, const void* host, size_t bytes);

  private:
    static constexpr size_t slot_bytes = 256 * 1024, slot_count = 32;
    std::shared_ptr<const CudaContext> context_;
    Buffer memory_;
    std::array<cudaEvent_t, slot_count> copied_{};
    size_t next_ = 0;
};

/// Two page-locked buffers that take turns: while one is copied to the GPU, the other is filled from the host
/// (or the page cache). Made for the time of a load, by one thread.
class WeightStream {
  public:
    explicit WeightStream(std::shared_ptr<const CudaContext> context,
                          size_t bytes_per_buffer = size_t{32} << 20);
    ~WeightStream();
    WeightStream(const WeightStream&) = delete;
    WeightStream& operator=(const WeightStream&) = delete;

    /// Copies `rows` rows of `row_bytes` bytes, `host_stride` bytes apart, to contiguous device memory, in
    /// order with the work of the context's stream. The host memory is free again on return.
    void copy(void* device, const void* host, size_t rows, size_t row_bytes, size_t host_stride);

  private:
    struct Piece {
        Buffer memory;
        cudaEvent_t copied = nullptr;
    };
    std::shared_ptr<const CudaContext> context_;
    std::array<Piece, 2> pieces_;
    size_t next_ = 0, piece_bytes_;
};

}  // namespace sheaf::cuda
