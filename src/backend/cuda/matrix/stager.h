// Stager: pinned and device buffers through which weights travel to the GPU, so that reading, copying and
// repacking overlap. One per machine, for as long as it loads. Must not know what is in them.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "backend/cuda/cuda_error.h"
#include "base/thread_pool.h"
#include "tensor/tensor.h"

namespace sheaf::cuda {

class Stager {
  public:
    /// `slots` buffers of `slot_bytes` each, in pinned and in device memory, and as many threads.
    explicit Stager(int slots = 6, size_t slot_bytes = size_t{32} << 20);

    class Slot {
      public:
        explicit Slot(size_t bytes);
        ~Slot();
        Slot(const Slot&) = delete;
        Slot& operator=(const Slot&) = delete;

        /// Copies a host tensor, rows closed up, into pinned memory; returns where it will lie on the device.
        void* place(const Tensor& view);
        /// Starts the copy of what was placed since the last send; kernels on `stream` come after it.
        void send();
        /// Waits, where `bytes` more do not fit, until all earlier work is done and the slot is empty again.
        void make_room(size_t bytes);

        const size_t capacity;
        cudaStream_t stream = nullptr;
        int32_t* nan_flag = nullptr;  // on the device

      private:
        friend class Stager;
        void begin();
        bool take_nan_flag();
        uint8_t *host_ = nullptr, *device_ = nullptr;
        size_t used_ = 0, sent_ = 0;
    };

    /// Runs work(i, slot) for all i, several at a time, each with a slot whose earlier work is done.
    void for_each(int64_t count, const std::function<void(int64_t, Slot&)>& work);
    /// Waits for all slots. Errors: corrupt_file where a kernel met an FP8 value that is no number.
    void finish();
    size_t slot_bytes() const { return slot_bytes_; }

  private:
    size_t slot_bytes_;
    int device_ = 0;
    std::vector<std::unique_ptr<Slot>> slots_;
    std::mutex mutex_;
    std::condition_variable available_;
    std::deque<Slot*> free_;
    ThreadPool pool_;
};

}  // namespace sheaf::cuda
