// Turning the CUDA runtime's error codes into sheaf::Error. Used by everything in the CUDA back end, host and
// .cu alike. Must not know what was being computed.
#pragma once

#include <cuda_runtime_api.h>

#include "base/error.h"

namespace sheaf::cuda {

/// Throws the Error of `status`: out_of_memory for a failed allocation, unsupported for a machine that cannot
/// run the program, io for everything else.
[[noreturn]] inline void fail_cuda(cudaError_t status, const char* what) {
    ErrorKind kind = ErrorKind::io;
    if (status == cudaErrorMemoryAllocation) kind = ErrorKind::out_of_memory;
    if (status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver ||
        status == cudaErrorNoKernelImageForDevice || status == cudaErrorUnsupportedPtxVersion)
        kind = ErrorKind::unsupported;
    fail(kind, "CUDA: {}: {} ({})", what, cudaGetErrorString(status), cudaGetErrorName(status));
}

/// Throws unless `status` is success. `what` says what was being done: "copy of a weight to the GPU".
inline void check(cudaError_t status, const char* what) {
    if (status != cudaSuccess) [[unlikely]]
        fail_cuda(status, what);
}

/// To follow every launch: a kernel that could not start (its own faults show at the next synchronisation).
inline void check_launch(const char* kernel) {
    check(cudaGetLastError(), kernel);
}

}  // namespace sheaf::cuda
