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

namespace {

void check_pinned(cudaError_t status, size_t bytes) {
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        fail(ErrorKind::out_of_memory, "cannot page-lock {:.2f} GiB of the host's memory", gib(bytes));
    }
    check(status, "page-locked memory of the host");
}

}  // namespace

Buffer CudaContext::pinned_memory(size_t bytes) const {
    enter();
    void* data = nullptr;
    check_pinned(cudaHostAlloc(&data, std::max<size_t>(bytes, 1), cudaHostAllocPortable), bytes);
    return Buffer(data, bytes, [](void* memory) { cudaFreeHost(memory); });
}

Buffer CudaContext::page_locked(const Buffer& memory) const {
    enter();
    check_pinned(cudaHostRegister(memory.data(), memory.bytes(), cudaHostRegisterPortable), memory.bytes());
    return Buffer(memory.data(), memory.bytes(), [memory](void* data) { cudaHostUnregister(data); });
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
