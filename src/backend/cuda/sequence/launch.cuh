// Launches that may begin while the kernel before them still ends (programmatic dependent launch, sm_90 and
// later). A kernel started so must call wait_for_previous_kernel() before it reads what that kernel wrote,
// and before it writes what that one reads; allow_next_kernel() allows the next one in once every block has
// called it. Used by launchers here.
#pragma once

#include <cuda_runtime.h>

#include "backend/cuda/kernel_order.cuh"

namespace sheaf::cuda {

struct LaunchShape {
    dim3 grid, block;
    size_t shared = 0;
    unsigned cluster = 1;  // blocks, along x
};

/// Launch of a kernel that calls wait_for_previous_kernel() in every thread, whatever way it leaves.
template <class... Parameters>
cudaError_t launch_early(void (*kernel)(Parameters...), const LaunchShape& shape, cudaStream_t stream,
                         const Parameters&... parameters) {
    int device = 0, major = 0;
    cudaError_t status = cudaGetDevice(&device);
    if (status == cudaSuccess)
        status = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    if (status != cudaSuccess) return status;
    cudaLaunchAttribute attributes[2];
    cudaLaunchConfig_t config{};
    config.gridDim = shape.grid, config.blockDim = shape.block;
    config.dynamicSmemBytes = shape.shared, config.stream = stream;
    config.attrs = attributes;
    if (shape.cluster > 1) {
        cudaLaunchAttribute& cluster = attributes[config.numAttrs++];
        cluster.id = cudaLaunchAttributeClusterDimension;
        cluster.val.clusterDim.x = shape.cluster, cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
    }
    if (major >= 9) {
        cudaLaunchAttribute& early = attributes[config.numAttrs++];
        early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
        early.val.programmaticStreamSerializationAllowed = 1;
    }
    return cudaLaunchKernelEx(&config, kernel, parameters...);
}

}  // namespace sheaf::cuda
