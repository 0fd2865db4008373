// Joined weights: linear layers that read the same rows and lie in memory one after the other, so that one
// product serves them all; a shared expert that lies behind the routed ones. Made by the CUDA machine, used
// by CudaOps. Must not know how weights are packed.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backend/cuda/context.h"
#include "backend/cuda/matrix/weights.h"

namespace sheaf::cuda {

/// The product of all parts, and where each part's columns begin in it.
struct JoinedLinears {
    std::shared_ptr<const CudaLinear> whole;
    std::vector<int64_t> first_columns;
};

/// A part works alone too.
class JoinedPart final : public CudaLinear {
  public:
    JoinedPart(const DeviceMatrix& matrix, Buffer memory, Buffer counters,
               std::shared_ptr<const JoinedLinears> joined, size_t index)
        : CudaLinear(matrix, std::move(memory), std::move(counters)),
          joined_(std::move(joined)),
          index_(index) {}
    const std::shared_ptr<const JoinedLinears>& joined() const { return joined_; }
    size_t index() const { return index_; }

  private:
    std::shared_ptr<const JoinedLinears> joined_;
    size_t index_;
};

/// A shared expert that lies where expert `count` of the routed ones would: with them it is one more expert.
class SharedExpert final : public CudaExperts {
  public:
    SharedExpert(const DeviceExperts& own, Buffer memory, Buffer counters,
                 std::shared_ptr<const CudaExperts> all)
        : CudaExperts(own, std::move(memory), std::move(counters)), all_(std::move(all)) {}
    /// The routed experts and this one.
    const CudaExperts& all() const { return *all_; }

  private:
    std::shared_ptr<const CudaExperts> all_;
};

using AllocateMemory = std::function<Buffer(size_t bytes)>;

/// Replaces the weights by parts of a joined one, copied to memory of their own; leaves them as they are when
/// their formats differ or packed rows do not fill whole blocks. Runs in the order of `stream`, and waits.
void join_linears(std::span<Linear* const> parts, const AllocateMemory& allocate, cudaStream_t stream);

/// Moves `shared` behind the routed experts, and replaces it by what lies there; leaves it as it is when it
/// is of another format or size. Runs in the order of `stream`, and waits.
void join_shared_expert(const Experts& routed, Experts& shared, const AllocateMemory& allocate,
                        cudaStream_t stream);

/// `shared` where it lies behind exactly these experts, else null.
const SharedExpert* shared_beside(const Experts& routed, const Experts& shared);

/// The joined product of exactly these weights in this order, null when there is none.
const JoinedLinears* joined_of(std::span<const Linear> weights);

}  // namespace sheaf::cuda
