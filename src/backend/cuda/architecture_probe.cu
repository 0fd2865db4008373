// A kernel that does nothing: whether it can be loaded on a GPU says whether this build has code for it.
#include "backend/cuda/architecture_probe.h"

namespace sheaf::cuda {
namespace {

__global__ void probe() {}

}  // namespace

cudaError_t probe_architecture() {
    cudaFuncAttributes attributes{};
    return cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(probe));
}

}  // namespace sheaf::cuda
