#include "backend/cuda/transfer.h"

#include <algorithm>
#include <cstring>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/stager.h"

namespace sheaf::cuda {
namespace {

cudaEvent_t make_event() {
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "making an event");
    return event;
}

}  // namespace

StepUploads::StepUploads(std::shared_ptr<const CudaContext> context)
    : context_(std::move(context)), memory_(context_->pinned_memory(slot_bytes * slot_count)) {
    for (cudaEvent_t& event : copied_) event = make_event();
}

StepUploads::~StepUploads() {
    cudaSetDevice(context_->index);
    for (const cudaEvent_t event : copied_) {
        cudaEventSynchronize(event);
        cudaEventDestroy(event);
    }
}

void StepUploads::copy(void* device, const void* host, size_t bytes) {
    const auto* source = static_cast<const char*>(host);
    auto* target = static_cast<char*>(device);
    while (bytes > 0) {
        const size_t part = std::min(bytes, slot_bytes), slot = next_++ % slot_count;
        char* staging = static_cast<char*>(memory_.data()) + slot * slot_bytes;
        check(cudaEventSynchronize(copied_[slot]), "an earlier upload");
        std::memcpy(staging, source, part);
        check(cudaMemcpyAsync(target, staging, part, cudaMemcpyHostToDevice, context_->stream()), "upload");
        check(cudaEventRecord(copied_[slot], context_->stream()), "upload");
        source += part;
        target += part;
        bytes -= part;
    }
}

WeightStream::WeightStream(std::shared_ptr<const CudaContext> context, size_t bytes_per_buffer)
    : context_(std::move(context)), piece_bytes_(bytes_per_buffer) {
    for (Piece& piece : pieces_) {
        piece.memory = context_->pinned_memory(piece_bytes_);
        piece.copied = make_event();
    }
}

WeightStream::~WeightStream() {
    cudaSetDevice(context_->index);
    for (const Piece& piece : pieces_) {
        cudaEventSynchronize(piece.copied);
        cudaEventDestroy(piece.copied);
    }
}

void WeightStream::copy(void* device, const void* host, size_t rows, size_t row_bytes, size_t host_stride) {
    if (host_stride == row_bytes) {  // one long row, to be cut anywhere
        row_bytes *= rows;
        rows = row_bytes > 0 ? 1 : 0;
    }
    const auto* source = static_cast<const char*>(host);
    auto* target = static_cast<char*>(device);
    size_t row = 0, column = 0;
    while (row < rows) {
        Piece& piece = pieces_[next_++ % pieces_.size()];
        check(cudaEventSynchronize(piece.copied), "an earlier piece of weights");
        auto* staging = static_cast<char*>(piece.memory.data());
        size_t filled = 0;
        while (row < rows && filled < piece_bytes_) {
            const size_t part = std::min(row_bytes - column, piece_bytes_ - filled);
            read_host(source + row * host_stride + column, staging + filled, part);
            filled += part;
            column += part;
            if (column == row_bytes) ++row, column = 0;
        }
        check(cudaMemcpyAsync(target, staging, filled, cudaMemcpyHostToDevice, context_->stream()),
              "copy of weights to the GPU");
        check(cudaEventRecord(piece.copied, context_->stream()), "copy of weights to the GPU");
        target += filled;
    }
}

}  // namespace sheaf::cuda
