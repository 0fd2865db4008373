// Memory of a step, recording, and the primitives.
#include "backend/cuda/cuda_ops.h"

#include <algorithm>
#include <cstring>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/primitives.h"
#include "backend/cuda/recording.h"
#include "backend/cuda/top_k_wide.h"

namespace sheaf::cuda {
namespace {

constexpr size_t download_piece = size_t{4} << 20;

bool is_float(DType dtype) {
    return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16;
}

int64_t columns_of(const Tensor& x) {
    return x.size(0) == 0 ? 0 : x.elements() / x.size(0);
}

}  // namespace

CudaOps::CudaOps(std::shared_ptr<const CudaContext> context)
    : context_(std::move(context)),
      arena_([c = context_](size_t bytes) { return c->device_memory(bytes); }),
      uploads_(context_),
      staging_(context_, uploads_) {
    constexpr int64_t most_arrivals = 32768;
    arrivals_memory_ = context_->device_memory(most_arrivals * sizeof(int32_t));
    arrivals_ = arrivals_memory_.tensor(DType::i32, Shape{most_arrivals});
    check(cudaMemsetAsync(arrivals_.raw(), 0, arrivals_.bytes(), stream()), "clearing memory");
}

Tensor CudaOps::make(DType dtype, Shape shape) {
    return arena_.make(dtype, shape);
}

Tensor CudaOps::scratch(size_t bytes) {
    // Kernels want 256-byte alignment; the arena gives 64.
    const Tensor memory = make(DType::u8, Shape{static_cast<int64_t>(bytes + 256)});
    const auto address = reinterpret_cast<uintptr_t>(memory.raw());
    return Tensor(reinterpret_cast<void*>((address + 255) / 256 * 256), DType::u8,
                  Shape{static_cast<int64_t>(bytes)});
}

DType CudaOps::wider(const Tensor& a, const Tensor& b) const {
    const DType own = activation_dtype();
    return a.dtype() == own && b.dtype() == own ? own : DType::f32;
}

void CudaOps::begin_step() {
    context_->enter();
    arena_.reset();
    staging_.forget();
}

void CudaOps::stage(const Batch& batch) {
    staging_.stage(batch);
}

const DeviceBatch& CudaOps::device_batch(const Batch& batch) {
    SHEAF_CHECK(!recording_ || staging_.holds(batch), "a recorded step needs its batch staged before");
    return staging_.stage(batch);
}

std::unique_ptr<Recording> CudaOps::record(const std::function<void()>& body) {
    context_->enter();
    const size_t reserved = arena_.bytes_reserved();
    recording_ = true;
    std::unique_ptr<Recording> result;
    try {
        result = record_graph(context_, body);
    } catch (...) {
        recording_ = false;
        throw;
    }
    recording_ = false;
    SHEAF_CHECK(arena_.bytes_reserved() == reserved, "a step was recorded that had not been done before");
    return result;
}

void CudaOps::download(const Tensor& source, void* host) {
    SHEAF_CHECK(!recording_, "a download while recording");
    const Tensor whole = source.contiguous() ? source : cast(source, source.dtype());
    if (!download_memory_.data()) download_memory_ = context_->pinned_memory(2 * download_piece);
    const size_t bytes = whole.bytes();
    auto* staging = static_cast<char*>(download_memory_.data());
    auto start = [&](size_t at) {
        check(cudaMemcpyAsync(staging + at / download_piece % 2 * download_piece,
                              static_cast<const char*>(whole.raw()) + at,
                              std::min(download_piece, bytes - at), cudaMemcpyDeviceToHost, stream()),
              "download");
    };
    if (bytes > 0) start(0);
    for (size_t at = 0; at < bytes; at += download_piece) {
        context_->synchronize("the work of a step");
        if (at + download_piece < bytes) start(at + download_piece);  // while the host copies this piece
        std::memcpy(static_cast<char*>(host) + at, staging + at / download_piece % 2 * download_piece,
                    std::min(download_piece, bytes - at));
    }
    if (bytes == 0) context_->synchronize("the work of a step");
}

std::unique_ptr<Reading> CudaOps::read_later(const Tensor& source) {
    SHEAF_CHECK(!recording_, "a download while recording");
    if (!reading_memory_) reading_memory_ = std::make_shared<ReadingMemory>(context_);
    return start_reading(reading_memory_, source.contiguous() ? source : cast(source, source.dtype()));
}

Tensor CudaOps::upload(const void* host, DType dtype, Shape shape) {
    SHEAF_CHECK(!recording_, "an upload while recording");
    context_->enter();
    const Tensor result = make(dtype, shape);
    uploads_.copy(result.raw(), host, result.bytes());
    return result;
}

Tensor CudaOps::cast(const Tensor& x, DType dtype) {
    const Tensor result = make(dtype, x.shape());
    convert(x, result, stream());
    return result;
}

Tensor CudaOps::unary(Unary function, const Tensor& x) {
    const Tensor result = make(x.dtype(), x.shape());
    cuda::unary(function, x, result, stream());
    return result;
}

Tensor CudaOps::binary(Binary function, const Tensor& x, const Tensor& b) {
    const Tensor result = make(wider(x, b), x.shape());
    cuda::binary(function, x, b, result, stream());
    return result;
}

Tensor CudaOps::scale(const Tensor& x, float factor) {
    const Tensor result = make(x.dtype(), x.shape());
    cuda::scale(x, factor, result, stream());
    return result;
}

Tensor CudaOps::matmul(const Tensor& a, const Tensor& b) {
    const Tensor result = make(DType::f32, Shape{a.size(0), b.size(1)});
    cuda::matmul(a, b, result, stream());
    return result;
}

Tensor CudaOps::transpose(const Tensor& x) {
    const Tensor result = make(x.dtype(), Shape{x.size(1), x.size(0)});
    cuda::transpose(x, result, stream());
    return result;
}

Tensor CudaOps::sum_columns(const Tensor& x) {
    const Tensor result = make(DType::f32, Shape{x.size(0), 1});
    cuda::sum_columns(x, result, stream());
    return result;
}

Tensor CudaOps::rsqrt(const Tensor& x, float epsilon) {
    const Tensor result = make(DType::f32, x.shape());
    cuda::rsqrt(x, epsilon, result, stream());
    return result;
}

Tensor CudaOps::softmax(const Tensor& x, const Tensor& valid) {
    const Tensor result = make(DType::f32, x.shape());
    cuda::softmax(x, valid, result, stream());
    return result;
}

Routing CudaOps::top_k(const Tensor& probabilities, int64_t k) {
    SHEAF_CHECK(k > 0 && k <= probabilities.size(1), "{} of {}", k, probabilities.size(1));
    const Tensor p = probabilities.dtype() == DType::f32 ? probabilities : cast(probabilities, DType::f32);
    const Shape shape{p.size(0), k};
    const Routing routing{make(DType::i32, shape), make(DType::f32, shape)};
    constexpr int64_t widest_plain = 4096;
    if (p.size(1) > widest_plain && fits_wide_top_k(p.size(1), k)) {
        const Tensor memory = scratch(wide_top_k_scratch_bytes(p.size(0), p.size(1), k));
        wide_top_k(p, routing.ids, routing.weights, memory, stream());
    } else {
        cuda::top_k(p, routing.ids, routing.weights, stream());
    }
    return routing;
}

Tensor CudaOps::gather_rows(const Tensor& table, const Tensor& indices) {
    const DType type = table.dtype();
    const bool wide = type == DType::f32 || type == DType::f16;  // both lose nothing in f32
    const DType result_type = !is_float(type) ? type : wide ? DType::f32 : activation_dtype();
    const Tensor result = make(result_type, Shape{indices.elements(), columns_of(table)});
    cuda::gather_rows(table, indices, result, stream());
    return result;
}

void CudaOps::scatter_rows(const Tensor& destination, const Tensor& indices, const Tensor& rows) {
    SHEAF_CHECK(columns_of(destination) == columns_of(rows));
    cuda::scatter_rows(destination, indices, rows, stream());
}

Tensor CudaOps::concat_columns(std::span<const Tensor> parts) {
    SHEAF_CHECK(!parts.empty());
    int64_t columns = 0;
    DType type = activation_dtype();
    for (const Tensor& part : parts) {
        columns += columns_of(part);
        type = part.dtype() == DType::f32 ? DType::f32 : type;
    }
    const Tensor result = make(type, Shape{parts.front().size(0), columns});
    int64_t first = 0;
    for (const Tensor& part : parts) {
        place_columns(part, result, first, stream());
        first += columns_of(part);
    }
    return result;
}

std::pair<Tensor, Tensor> CudaOps::rotary_angles(const Tensor& positions, const Rotary& rotary) {
    const Shape shape{positions.size(1), rotary.frequencies.size(0)};
    const Tensor cosine = make(DType::f32, shape), sine = make(DType::f32, shape);
    cuda::rotary_angles(positions, rotary, cosine, sine, stream());
    return {cosine, sine};
}

}  // namespace sheaf::cuda
