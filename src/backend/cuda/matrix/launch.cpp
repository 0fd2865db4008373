#include "backend/cuda/matrix/launch.h"

namespace sheaf::cuda {
namespace {

DeviceLimits read_limits() {
    int device = 0, processors = 0, memory = 0, major = 0, minor = 0;
    check(cudaGetDevice(&device), "the GPU in use");
    check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), "the GPU's limits");
    check(cudaDeviceGetAttribute(&memory, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
          "the GPU's limits");
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "the GPU's limits");
    check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "the GPU's limits");
    return {processors, static_cast<uint32_t>(memory), 10 * major + minor};
}

}  // namespace

const DeviceLimits& device_limits() {
    static const DeviceLimits limits = read_limits();  // a process uses GPUs of one kind
    return limits;
}

}  // namespace sheaf::cuda
