#include "backend/cuda/context.h"

#include <algorithm>

#include "backend/cuda/cuda_error.h"

namespace sheaf::cuda {
namespace {

double gib(size_t bytes) {
    return static_cast<double>(bytes) / 0x1p30;
}

}  // namespace

CudaContext::CudaContext(int device, ComputeType type)
    : index(device), compute(type), info(device_info(device)) {
    enter();
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
}

CudaContext::~CudaContext() {
    cudaSetDevice(index);
    cudaStreamDestroy(stream_);
}

void CudaContext::enter() const {
    check(cudaSetDevice(index), "choosing the GPU");
}

size_t CudaContext::free_memory() const {
    enter();
    size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "free memory of the GPU");
    return free;
}

Buffer CudaContext::device_memory(size_t bytes) const {
    enter();
    void* data = nullptr;
    const cudaError_t status = cudaMalloc(&data, std::max<size_t>(bytes, 1));
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError();  // the next call is to begin without it
        fail(ErrorKind::out_of_memory,
             "cannot allocate {:.2f} GiB on {}: {:.2f} of {:.2f} GiB are free; lower --max-model-len, "
             "--max-num-seqs "
             "or --max-num-batched-tokens",
             gib(bytes), info.name, gib(free_memory()), gib(info.memory));
    }
    check(status, "memory of the GPU");
    const int device = index;
    return Buffer(data, bytes, [device](void* memory) {
        cudaSetDevice(device);
        cudaFree(memory);
    });
}

Buffer CudaContext::pinned_memory(size_t bytes) const {
    enter();
    void* data = nullptr;
    const cudaError_t status = cudaHostAlloc(&data, std::max<size_t>(bytes, 1), cudaHostAllocPortable);
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        fail(ErrorKind::out_of_memory, "cannot allocate {:.2f} GiB of page-locked host memory", gib(bytes));
    }
    check(status, "page-locked memory of the host");
    return Buffer(data, bytes, [](void* memory) { cudaFreeHost(memory); });
}

std::string CudaContext::fault() const {
    cudaSetDevice(index);
    const cudaError_t status = cudaStreamSynchronize(stream_);
    if (status == cudaSuccess) return {};
    return fmt::format("{}: {} ({})", info.name, cudaGetErrorString(status), cudaGetErrorName(status));
}

void CudaContext::synchronize(const char* what) const {
    check(cudaStreamSynchronize(stream_), what);
}

}  // namespace sheaf::cuda
