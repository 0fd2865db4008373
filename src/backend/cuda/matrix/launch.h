// Launching kernels that use much shared memory and may start before the kernel ahead of them ends. Used by
// the .cu files of this folder. Must not know what they compute.
#pragma once

#include <cuda_runtime.h>

#include "backend/cuda/cuda_error.h"

namespace sheaf::cuda {

struct DeviceLimits {
    int multiprocessors;
    uint32_t block_memory;  // bytes of shared memory a block may have
    int architecture;       // 90 for 9.0
};

/// Of the current device.
const DeviceLimits& device_limits();

/// One launch with programmatic stream serialization: the kernel must wait_for_previous_kernel() before it
/// touches anything an earlier kernel reads or writes.
template <class Call>
void launch_kernel(void (*kernel)(const Call), dim3 blocks, unsigned threads, uint32_t shared,
                   cudaStream_t stream, const char* name, const Call& call) {
    if (shared > 48 * 1024)
        check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shared)),
              name);
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = blocks;
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = device_limits().architecture >= 90 ? 1 : 0;
    check(cudaLaunchKernelEx(&config, kernel, call), name);
}

}  // namespace sheaf::cuda
