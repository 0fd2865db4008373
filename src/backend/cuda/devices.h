// The GPUs of this machine and whether this build can run on them. Used by the CUDA machine and the registry
// behind it. Must not know kernels.
#pragma once

#include <cstdint>
#include <string>

namespace sheaf::cuda {

struct DeviceInfo {
    std::string name;  // "NVIDIA H200"
    int major = 0, minor = 0;
    int processors = 0;  // streaming multiprocessors
    size_t memory = 0, l2_bytes = 0;
    size_t shared_bytes = 0;  // that a block may opt in to
};

/// How many GPUs the driver shows. Errors: unsupported: no driver, or one too old for this build.
int device_count();

/// Errors: unsupported: no GPU of that number, or no kernels for its architecture in this build.
DeviceInfo device_info(int index);

}  // namespace sheaf::cuda
