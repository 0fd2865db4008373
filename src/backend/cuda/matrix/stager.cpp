#include "backend/cuda/matrix/stager.h"

#include <algorithm>
#include <cstring>

namespace sheaf::cuda {

Stager::Slot::Slot(size_t bytes) : capacity(bytes) {
    check(cudaMallocHost(reinterpret_cast<void**>(&host_), bytes), "pinned memory for loading");
    check(cudaMalloc(reinterpret_cast<void**>(&device_), bytes), "staging memory for loading");
    check(cudaMalloc(reinterpret_cast<void**>(&nan_flag), sizeof(int32_t)), "staging memory for loading");
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a stream for loading");
    check(cudaMemsetAsync(nan_flag, 0, sizeof(int32_t), stream), "staging memory for loading");
}

Stager::Slot::~Slot() {
    cudaStreamSynchronize(stream);
    cudaStreamDestroy(stream);
    cudaFreeHost(host_);
    cudaFree(device_);
    cudaFree(nan_flag);
}

void* Stager::Slot::place(const Tensor& view) {
    const size_t bytes = view.bytes(), begin = used_;
    SHEAF_CHECK(begin + bytes <= capacity, "{} bytes in a staging buffer of {}", begin + bytes, capacity);
    if (view.contiguous()) {
        std::memcpy(host_ + begin, view.raw(), bytes);
    } else {
        const size_t row = bytes / static_cast<size_t>(view.size(0));
        const size_t stride = static_cast<size_t>(view.row_stride()) * dtype_size(view.dtype());
        for (int64_t r = 0; r < view.size(0); ++r)
            std::memcpy(host_ + begin + static_cast<size_t>(r) * row,
                        static_cast<const char*>(view.raw()) + static_cast<size_t>(r) * stride, row);
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

void Stager::Slot::make_room(size_t bytes) {
    if (used_ + bytes > capacity) begin();
}

bool Stager::Slot::take_nan_flag() {
    int32_t flag = 0;
    check(cudaMemcpyAsync(&flag, nan_flag, sizeof flag, cudaMemcpyDeviceToHost, stream), "loading weights");
    check(cudaMemsetAsync(nan_flag, 0, sizeof(int32_t), stream), "loading weights");
    check(cudaStreamSynchronize(stream), "loading weights");
    return flag != 0;
}

Stager::Stager(int slots, size_t slot_bytes) : slot_bytes_(slot_bytes), pool_(slots) {
    check(cudaGetDevice(&device_), "the GPU in use");
    for (int i = 0; i < slots; ++i) slots_.push_back(std::make_unique<Slot>(slot_bytes));
    for (const auto& slot : slots_) free_.push_back(slot.get());
}

void Stager::for_each(int64_t count, const std::function<void(int64_t, Slot&)>& work) {
    pool_.parallel_for(count, [&](int64_t i) {
        check(cudaSetDevice(device_), "the GPU in use");
        Slot* slot = nullptr;
        {
            std::unique_lock lock(mutex_);
            available_.wait(lock, [&] { return !free_.empty(); });
            slot = free_.front();  // the one whose work is oldest
            free_.pop_front();
        }
        struct Return {
            Stager& stager;
            Slot* slot;
            ~Return() {
                std::lock_guard lock(stager.mutex_);
                stager.free_.push_back(slot);
                stager.available_.notify_one();
            }
        } give_back{*this, slot};
        slot->begin();
        work(i, *slot);
    });
}

void Stager::finish() {
    bool nan = false;
    for (const auto& slot : slots_) nan |= slot->take_nan_flag();
    if (nan) fail(ErrorKind::corrupt_file, "an FP8 weight is not a number");
}

}  // namespace sheaf::cuda
