// CudaContext: one GPU as the back end uses it: number, properties, stream, and memory from it. Shared by the
// machine, its operators and the weights they own. Must not know operators or weights.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>

#include "backend/cuda/devices.h"
#include "ops/machine.h"
#include "tensor/buffer.h"

namespace sheaf::cuda {

class CudaContext {
  public:
    /// Errors: unsupported, as device_info().
    CudaContext(int index, ComputeType compute);
    ~CudaContext();
    CudaContext(const CudaContext&) = delete;
    CudaContext& operator=(const CudaContext&) = delete;

    /// CUDA keeps the current device per thread: first call of everything that other threads may enter.
    void enter() const;

    /// Uninitialized memory of the GPU. Errors: out_of_memory with the figures.
    Buffer device_memory(size_t bytes) const;
    /// Page-locked memory of the host, which the GPU reads too. Errors: out_of_memory.
    Buffer pinned_memory(size_t bytes) const;
    /// Host memory that is there already, page-locked from now on. Errors: out_of_memory.
    Buffer page_locked(const Buffer& memory) const;
    /// Waits for all work of the stream; its faults end here as an Error, and every later call repeats it.
    void synchronize(const char* what) const;

    /// The fault that ended all work on this GPU for the process, empty when there is none.
    std::string fault() const;

    size_t free_memory() const;

    const int index;
    const ComputeType compute;
    const DeviceInfo info;
    DType activation() const { return compute == ComputeType::f32 ? DType::f32 : DType::bf16; }
    cudaStream_t stream() const { return stream_; }

  private:
    cudaStream_t stream_ = nullptr;
};

}  // namespace sheaf::cuda
