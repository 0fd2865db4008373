// The CPU's own kinds of Linear and Experts, which its machine makes and its operators read. Used inside the
// CPU back end. Must not know how weights are packed or multiplied.
#pragma once

#include <vector>

#include "backend/cpu/packed_matrix.h"
#include "ops/machine.h"

namespace sheaf::cpu {

class CpuLinear : public PreparedLinear {
  public:
    CpuLinear(PackedMatrix matrix, Buffer memory)
        : PreparedLinear(matrix.out, matrix.in), matrix_(matrix), memory_(std::move(memory)) {}
    const PackedMatrix& matrix() const { return matrix_; }
    size_t bytes() const override { return memory_.bytes(); }

  private:
    PackedMatrix matrix_;
    Buffer memory_;
};

struct PackedExpert {
    PackedMatrix gate, up, down;
};

class CpuExperts : public PreparedExperts {
  public:
    CpuExperts(int64_t hidden_size, int64_t intermediate_size, std::vector<PackedExpert> experts,
               std::vector<Buffer> memory, size_t bytes)
        : PreparedExperts(static_cast<int64_t>(experts.size()), hidden_size, intermediate_size),
          experts_(std::move(experts)),
          memory_(std::move(memory)),
          bytes_(bytes) {}
    const PackedExpert& operator[](int64_t i) const { return experts_[static_cast<size_t>(i)]; }
    size_t bytes() const override { return bytes_; }

  private:
    std::vector<PackedExpert> experts_;
    std::vector<Buffer> memory_;
    size_t bytes_;
};

/// Throws InternalError when the handle belongs to another back end.
const CpuLinear& cpu_linear(const Linear& linear);
const CpuExperts& cpu_experts(const Experts& experts);

}  // namespace sheaf::cpu
