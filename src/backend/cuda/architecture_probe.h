// Whether this build has code for the current GPU. Used by devices.cpp alone. Must not know any real kernel.
#pragma once

#include <cuda_runtime_api.h>

namespace sheaf::cuda {

/// cudaErrorNoKernelImageForDevice (or another error) when the current device cannot run this build.
cudaError_t probe_architecture();

}  // namespace sheaf::cuda
