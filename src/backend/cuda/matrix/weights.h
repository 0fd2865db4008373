// The CUDA machine's own kinds of Linear and Experts: made by prepare.h, read by matrix.h. Must not know how
// weights are packed or multiplied. Each weight has a few counters, zero between calls, by which the blocks
// of a kernel find one another: one weight serves one stream at a time.
#pragma once

#include "backend/cuda/matrix/device_matrix.h"
#include "ops/machine.h"

namespace sheaf::cuda {

class CudaLinear : public PreparedLinear {
  public:
    CudaLinear(const DeviceMatrix& matrix, Buffer memory, Buffer counters)
        : PreparedLinear(matrix.out, matrix.in),
          matrix_(matrix),
          memory_(std::move(memory)),
          counters_(std::move(counters)) {}
    const DeviceMatrix& matrix() const { return matrix_; }
    uint32_t* counters() const { return static_cast<uint32_t*>(counters_.data()); }
    size_t bytes() const override { return memory_.bytes(); }

  private:
    DeviceMatrix matrix_;
    Buffer memory_, counters_;
};

class CudaExperts : public PreparedExperts {
  public:
    CudaExperts(const DeviceExperts& experts, Buffer memory, Buffer counters)
        : PreparedExperts(experts.count, experts.hidden, experts.intermediate),
          experts_(experts),
          memory_(std::move(memory)),
          counters_(std::move(counters)) {}
    const DeviceExperts& device() const { return experts_; }
    uint32_t* counters() const { return static_cast<uint32_t*>(counters_.data()); }
    size_t bytes() const override { return static_cast<size_t>(count) * place_bytes(); }
    /// Whether memory for one more expert follows each kind of matrix.
    bool has_spare_place() const { return memory_.bytes() >= bytes() + place_bytes(); }

  private:
    size_t place_bytes() const { return experts_.gate_up_stride + experts_.down_stride; }
    DeviceExperts experts_;
    Buffer memory_, counters_;
};

/// Throws InternalError when the handle belongs to another back end.
const CudaLinear& cuda_linear(const Linear& linear);
const CudaExperts& cuda_experts(const Experts& experts);

}  // namespace sheaf::cuda
