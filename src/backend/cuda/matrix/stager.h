// Stager: pinned and device buffers through which weights travel to the GPU, so that reading, copying and
// repacking overlap: some buffers are being filled by threads while others are on their way. One per machine,
// for as long as it loads. Must not know what is in them.
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

/// Copies host memory, reading the file where it lies in a mapped one.
void read_host(const void* source, void* target, size_t bytes);

class Stager {
  public:
    static constexpr size_t default_slot_bytes = size_t{8} << 20;

    /// `threads` readers (0: by the machine) with two buffers of `slot_bytes` each, in pinned and in device
    /// memory, made when they are needed.
    explicit Stager(int threads = 0, size_t slot_bytes = default_slot_bytes);
    ~Stager();
    Stager(const Stager&) = delete;
    Stager& operator=(const Stager&) = delete;

    class Slot {
      public:
        Slot(size_t bytes, int32_t* nan_flag);
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
        int32_t* const nan_flag;  // a kernel sets it to 1

      private:
        friend class Stager;
        void begin();
        bool idle() const;
        uint8_t *host_ = nullptr, *device_ = nullptr;
        size_t used_ = 0, sent_ = 0;
    };

    /// Runs work(i, slot) for all i, several at a time, each with a slot whose earlier work is done.
    void for_each(int64_t count, const std::function<void(int64_t, Slot&)>& work);
    /// Waits for all slots. Errors: corrupt_file where a kernel met an FP8 value that is no number.
    void finish();
    /// read_host() by all threads.
    void read(const void* source, void* target, size_t bytes);

    size_t slot_bytes() const { return slot_bytes_; }
    int threads() const { return pool_.thread_count(); }

  private:
    Slot& take();
    void give_back(Slot& slot);

    size_t slot_bytes_;
    int device_ = 0;
    ThreadPool pool_;
    size_t most_slots_;
    int32_t* nan_flag_ = nullptr;  // pinned memory of the host, which kernels write to
    std::vector<std::unique_ptr<Slot>> slots_;
    std::mutex mutex_;
    std::condition_variable available_;
    std::deque<Slot*> free_;
};

}  // namespace sheaf::cuda
