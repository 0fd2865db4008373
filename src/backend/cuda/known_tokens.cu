// Token ids of which some are still on the machine alone.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/sampling.h"

namespace sheaf::cuda {
namespace {

__global__ void resolve(const int32_t* tokens, int count, const int32_t* chosen, int slots, int32_t* result) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= count) return;
    const int slot = -1 - tokens[i];
    result[i] = slot < 0 ? tokens[i] : slot < slots ? chosen[slot] : -1;
}

}  // namespace

void known_tokens(const Tensor& token_ids, const Tensor& chosen, const Tensor& result, cudaStream_t stream) {
    const auto count = static_cast<int>(token_ids.elements());
    if (count == 0) return;
    resolve<<<static_cast<unsigned>((count + 255) / 256), 256, 0, stream>>>(
        token_ids.data<int32_t>(), count, chosen.data<int32_t>(), static_cast<int>(chosen.elements()),
        result.data<int32_t>());
    check_launch("tokens chosen before");
}

}  // namespace sheaf::cuda
