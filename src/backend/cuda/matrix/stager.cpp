#include "backend/cuda/matrix/stager.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include "base/file.h"

namespace sheaf::cuda {
namespace {

// 262B shapes out of the page cache, 16 cores, link of 52 GB/s: experts at 33 GB/s with 8 threads, 43 with
// 12, 49 with 16; a third slot or slots of 16 MiB change nothing.
constexpr int most_threads = 16, slots_per_thread = 2;
constexpr size_t least_read = 16 << 10;  // below, a system call costs more than it saves

int wanted_threads(int threads) {
    if (threads > 0) return threads;
    return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 2, most_threads);
}

}  // namespace

void read_host(const void* source, void* target, size_t bytes) {
    if (bytes < least_read || !read_mapped(source, target, bytes)) std::memcpy(target, source, bytes);
}

Stager::Slot::Slot(size_t bytes, int32_t* flag) : capacity(bytes), nan_flag(flag) {
    check(cudaMallocHost(reinterpret_cast<void**>(&host_), bytes), "pinned memory for loading");
    check(cudaMalloc(reinterpret_cast<void**>(&device_), bytes), "staging memory for loading");
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a stream for loading");
}

Stager::Slot::~Slot() {
    cudaStreamSynchronize(stream);
    cudaStreamDestroy(stream);
    cudaFreeHost(host_);
    cudaFree(device_);
}

void* Stager::Slot::place(const Tensor& view) {
    const size_t bytes = view.bytes(), begin = used_;
    SHEAF_CHECK(begin + bytes <= capacity, "{} bytes in a staging buffer of {}", begin + bytes, capacity);
    if (view.contiguous()) {
        read_host(view.raw(), host_ + begin, bytes);
    } else {
        const size_t row = bytes / static_cast<size_t>(view.size(0));
        const size_t stride = static_cast<size_t>(view.row_stride()) * dtype_size(view.dtype());
        for (int64_t r = 0; r < view.size(0); ++r)
            read_host(static_cast<const char*>(view.raw()) + static_cast<size_t>(r) * stride,
                      host_ + begin + static_cast<size_t>(r) * row, row);
    }
    used_ = (begin + bytes + 255) / 256 * 256;
    return device_ + begin;
}

void Stager::Slot::send() {
    const size_t end = std::min(used_, capacity);
    check(cudaMemcpyAsync(device_ + sent_, host_ + sent_, end - sent_, cudaMemcpyHostToDevice, stream),
          "a weight's copy to the GPU");
    sent_ = used_;
}

void Stager::Slot::begin() {
    check(cudaStreamSynchronize(stream), "loading weights");
    used_ = sent_ = 0;
}

bool Stager::Slot::idle() const {
    const cudaError_t status = cudaStreamQuery(stream);
    if (status == cudaErrorNotReady) cudaGetLastError();  // no error, and not to be met by a later check
    return status != cudaErrorNotReady;
}

void Stager::Slot::make_room(size_t bytes) {
    if (used_ + bytes > capacity) begin();
}

Stager::Stager(int threads, size_t slot_bytes)
    : slot_bytes_(slot_bytes),
      pool_(wanted_threads(threads)),
      most_slots_(static_cast<size_t>(pool_.thread_count()) * slots_per_thread) {
    check(cudaGetDevice(&device_), "the GPU in use");
    check(cudaMallocHost(reinterpret_cast<void**>(&nan_flag_), sizeof(int32_t)), "pinned memory for loading");
    *nan_flag_ = 0;
}

Stager::~Stager() {
    slots_.clear();
    cudaFreeHost(nan_flag_);
}

/// The slot whose work is oldest; where even that is not done, a new one while there may be more.
Stager::Slot& Stager::take() {
    std::unique_lock lock(mutex_);
    const bool found = !free_.empty() && free_.front()->idle();
    if (!found && slots_.size() < most_slots_)
        return *slots_.emplace_back(std::make_unique<Slot>(slot_bytes_, nan_flag_));
    available_.wait(lock, [&] { return !free_.empty(); });
    Slot& oldest = *free_.front();
    free_.pop_front();
    return oldest;
}

void Stager::give_back(Slot& slot) {
    std::lock_guard lock(mutex_);
    free_.push_back(&slot);
    available_.notify_one();
}

void Stager::for_each(int64_t count, const std::function<void(int64_t, Slot&)>& work) {
    pool_.parallel_for(count, [&](int64_t i) {
        check(cudaSetDevice(device_), "the GPU in use");
        struct Loan {
            Stager& stager;
            Slot& slot;
            ~Loan() { stager.give_back(slot); }
        } loan{*this, take()};
        loan.slot.begin();
        work(i, loan.slot);
    });
}

void Stager::finish() {
    for (const auto& slot : slots_) check(cudaStreamSynchronize(slot->stream), "loading weights");
    if (*static_cast<volatile int32_t*>(nan_flag_) == 0) return;
    *nan_flag_ = 0;
    fail(ErrorKind::corrupt_file, "an FP8 weight is not a number");
}

void Stager::read(const void* source, void* target, size_t bytes) {
    const auto pieces = static_cast<int64_t>((bytes + slot_bytes_ - 1) / slot_bytes_);
    pool_.parallel_for(pieces, [&](int64_t i) {
        const size_t begin = static_cast<size_t>(i) * slot_bytes_;
        read_host(static_cast<const char*>(source) + begin, static_cast<char*>(target) + begin,
                  std::min(slot_bytes_, bytes - begin));
    });
}

}  // namespace sheaf::cuda
