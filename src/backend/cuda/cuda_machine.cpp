#include "backend/cuda/cuda_machine.h"

#include "backend/cuda/context.h"
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/cuda_ops.h"
#include "backend/cuda/joined.h"
#include "backend/cuda/matrix/dispatch.h"
#include "backend/cuda/matrix/prepare.h"
#include "backend/cuda/peaks.h"
#include "backend/cuda/primitives.h"
#include "backend/cuda/sequence/choices.h"
#include "backend/cuda/sequence/kernels.h"
#include "backend/cuda/slab_memory.h"
#include "backend/cuda/transfer.h"

namespace sheaf::cuda {
namespace {

/// Tables from this size on lie in page-locked host memory: a step reads a few rows of them, over the bus.
constexpr size_t host_table_bytes = size_t{256} << 20;
constexpr size_t conversion_piece = size_t{32} << 20;
/// Up to this size the host converts numbers itself: quicker than memory on the GPU to do it in.
constexpr int64_t host_conversion = 1 << 18;

/// The numbers of a tensor of 16-bit floats.
std::vector<float> floats_of(const Tensor& host) {
    std::vector<float> values;
    values.reserve(static_cast<size_t>(host.elements()));
    const auto take = [&](auto type) {
        using T = decltype(type);
        const int64_t rows = host.rank() == 0 ? 1 : host.size(0),
                      columns = host.elements() / std::max<int64_t>(rows, 1);
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < columns; ++c)
                values.push_back(
                    static_cast<float>(static_cast<const T*>(host.raw())[r * host.row_stride() + c]));
    };
    if (host.dtype() == DType::bf16) take(bfloat16{});
    if (host.dtype() == DType::f16) take(float16{});
    return values;
}

class CudaMachine final : public Machine {
  public:
    CudaMachine(int index, ComputeType compute, bool deterministic)
        : deterministic_(deterministic),
          context_(std::make_shared<CudaContext>(index, compute)),
          weights_(context_) {}

    std::string name() const override {
        return fmt::format("cuda:{} ({}, {:.0f} GiB)", context_->index, context_->info.name,
                           static_cast<double>(context_->info.memory) / 0x1p30);
    }
    ComputeType compute_type() const override { return context_->compute; }
    size_t total_memory() const override { return context_->info.memory; }
    size_t available_memory() const override { return context_->free_memory(); }
    bool dedicated_memory() const override { return true; }

    int32_t prompt_cut() const override { return deterministic_ ? delta_chunk : 0; }

    std::string fault() const override { return context_->fault(); }

    Buffer allocate(size_t bytes) override {
        Buffer buffer = context_->device_memory(bytes);
        check(cudaMemsetAsync(buffer.data(), 0, bytes, context_->stream()), "clearing memory");
        context_->synchronize("clearing memory");
        return buffer;
    }

    Buffer upload(const Tensor& host, DType dtype) override {
        context_->enter();
        Buffer buffer = weights_.allocate(static_cast<size_t>(host.elements()) * dtype_size(dtype));
        copy_in(host, buffer.tensor(dtype, host.shape()));
        context_->synchronize("copy of weights to the GPU");
        return buffer;
    }

    Buffer upload_table(const Tensor& host, DType dtype) override {
        const size_t bytes = static_cast<size_t>(host.elements()) * dtype_size(dtype);
        if (host.dtype() != dtype || !host.contiguous() || bytes < host_table_bytes)
            return upload(host, dtype);
        // Filled by all threads, in huge pages, and then locked: 0.2 s for 2 GiB, 0.9 s the other way round.
        const Buffer buffer = Buffer::host(bytes);
        stager().read(host.raw(), buffer.data(), bytes);
        return context_->page_locked(buffer);
    }

    void download(const Tensor& source, void* host) override {
        SHEAF_CHECK(source.contiguous(), "a download of {}", source.shape().to_string());
        context_->enter();
        context_->synchronize("the work before a download");
        check(cudaMemcpy(host, source.raw(), source.bytes(), cudaMemcpyDefault), "download");
    }

    Linear prepare(const HostLinear& weight) override {
        context_->enter();
        return prepare_linear(weight, context_->compute, stager(), allocator());
    }

    void join(std::span<Linear* const> parts) override {
        context_->enter();
        context_->synchronize("weights on their way");
        join_linears(parts, allocator(), context_->stream());
    }

    void join_shared(const Experts& routed, Experts& shared) override {
        context_->enter();
        context_->synchronize("weights on their way");
        join_shared_expert(routed, shared, allocator(), context_->stream());
    }

    Experts prepare_experts(int64_t count, int64_t hidden, int64_t intermediate,
                            const std::function<HostExpert(int64_t)>& load) override {
        context_->enter();
        return cuda::prepare_experts(count, hidden, intermediate, load, context_->compute, stager(),
                                     allocator());
    }

    Linear random_linear(int64_t out, int64_t in, int64_t group_size, uint64_t seed) override {
        context_->enter();
        return cuda::random_linear(out, in, group_size, seed, allocator(), context_->stream());
    }
    Experts random_experts(int64_t count, int64_t hidden, int64_t intermediate, int64_t group_size,
                           uint64_t seed) override {
        context_->enter();
        return cuda::random_experts(count, hidden, intermediate, group_size, seed, allocator(),
                                    context_->stream());
    }

    std::unique_ptr<Ops> make_ops() override {
        stager_.reset();  // loading is over
        stream_.reset();
        return std::make_unique<CudaOps>(context_);
    }

    MachinePeaks measure_peaks() override { return cuda::measure_peaks(*context_); }

  private:
    Stager& stager() {
        if (!stager_) stager_ = std::make_unique<Stager>();
        return *stager_;
    }
    Allocate allocator() {
        return [this](size_t bytes) { return weights_.allocate(bytes); };
    }

    /// Copies and converts by pieces of rows; returns before the last ones have arrived.
    void copy_in(const Tensor& host, const Tensor& target) {
        if (host.elements() == 0) return;
        if (!stream_) stream_ = std::make_unique<WeightStream>(context_);
        const auto rows = static_cast<size_t>(host.rank() == 0 ? 1 : host.size(0));
        const size_t size = dtype_size(host.dtype()), row_bytes = host.bytes() / rows;
        const size_t stride = rows > 1 ? static_cast<size_t>(host.row_stride()) * size : row_bytes;
        if (host.dtype() == target.dtype())
            return stream_->copy(target.raw(), host.raw(), rows, row_bytes, stride);
        const bool small = host.elements() <= host_conversion && target.dtype() == DType::f32;
        if (small && (host.dtype() == DType::bf16 || host.dtype() == DType::f16)) {
            const std::vector<float> values = floats_of(host);
            return stream_->copy(target.raw(), values.data(), 1, target.bytes(), target.bytes());
        }
        const size_t together = std::max<size_t>(1, conversion_piece / row_bytes);
        const Buffer piece = context_->device_memory(std::min(together, rows) * row_bytes);
        for (size_t first = 0; first < rows; first += together) {
            const size_t count = std::min(together, rows - first);
            stream_->copy(piece.data(), static_cast<const char*>(host.raw()) + first * stride, count,
                          row_bytes, stride);
            const auto elements = static_cast<int64_t>(count * row_bytes / size);
            const Tensor part(piece.data(), host.dtype(), Shape{1, elements});
            char* place =
                static_cast<char*>(target.raw()) + first * row_bytes / size * dtype_size(target.dtype());
            convert(part, Tensor(place, target.dtype(), Shape{1, elements}), context_->stream());
        }
        context_->synchronize("copy of weights to the GPU");  // before `piece` goes
    }

    bool deterministic_;
    std::shared_ptr<const CudaContext> context_;
    SlabMemory weights_;
    std::unique_ptr<Stager> stager_;
    std::unique_ptr<WeightStream> stream_;
};

}  // namespace

std::unique_ptr<Machine> make_cuda_machine(int index, ComputeType compute, bool deterministic) {
    force_paths(deterministic ? batch_invariant_paths : ForcedPaths{});
    force_choices(deterministic ? batch_invariant_choices : SequenceChoices{});
    return std::make_unique<CudaMachine>(index, compute, deterministic);
}

}  // namespace sheaf::cuda
