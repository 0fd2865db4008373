#include "backend/cuda/matrix/weights.h"

namespace sheaf::cuda {

const CudaLinear& cuda_linear(const Linear& linear) {
    const auto* mine = dynamic_cast<const CudaLinear*>(linear.get());
    SHEAF_CHECK(mine, "a linear layer of another back end");
    return *mine;
}

const CudaExperts& cuda_experts(const Experts& experts) {
    const auto* mine = dynamic_cast<const CudaExperts*>(experts.get());
    SHEAF_CHECK(mine, "experts of another back end");
    return *mine;
}

}  // namespace sheaf::cuda
