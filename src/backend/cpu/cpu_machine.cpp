#include "backend/cpu/cpu_machine.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "backend/cpu/cpu_ops.h"
#include "backend/cpu/cpu_peaks.h"
#include "backend/cpu/cpu_weights.h"
#include "backend/cpu/memory_info.h"
#include "backend/cpu/pack.h"

namespace sheaf::cpu {
namespace {

/// The kernels that keep f32 activations.
const Kernels& exact_kernels(Isa isa) {
#if defined(__x86_64__)
    if (isa == Isa::amx || isa == Isa::amx_emulated) return avx512::kernels;
    if (isa == Isa::avx512) return avx512::kernels;
    if (isa == Isa::avx2) return avx2::kernels;
#endif
    SHEAF_CHECK(isa == Isa::baseline);
    return baseline::kernels;
}

const Kernels& kernels_of(Isa isa, ComputeType compute) {
#if defined(__x86_64__)
    if (compute == ComputeType::bf16 && isa == Isa::amx) return amx::kernels();
    if (compute == ComputeType::bf16 && isa == Isa::amx_emulated) return amx::emulated_kernels();
#endif
    (void)compute;
    return exact_kernels(isa);
}

/// Memory for all experts of a layer. Experts are equal in size but for rare exceptions, so one large buffer
/// (huge pages) holds a place of the first expert's size for each; what does not fit gets memory of its own.
class ExpertMemory {
  public:
    explicit ExpertMemory(int64_t count) : count_(static_cast<size_t>(count)) {}

    uint8_t* take(int64_t index, size_t bytes) {
        std::lock_guard lock(mutex_);
        total_ += bytes;
        if (place_ == 0) {
            place_ = bytes;
            buffers_.push_back(Buffer::host(place_ * count_));
        }
        if (bytes > place_) {
            buffers_.push_back(Buffer::host(bytes));
            return static_cast<uint8_t*>(buffers_.back().data());
        }
        return static_cast<uint8_t*>(buffers_.front().data()) + place_ * static_cast<size_t>(index);
    }
    std::vector<Buffer> buffers() { return std::move(buffers_); }
    size_t total() const { return total_; }

  private:
    std::mutex mutex_;
    size_t count_, place_ = 0, total_ = 0;
    std::vector<Buffer> buffers_;
};

void serially(int64_t count, const std::function<void(int64_t)>& work) {
    for (int64_t i = 0; i < count; ++i) work(i);
}

/// gate and up are stored in the order in which down wants its inputs.
PackedExpert pack_expert(const HostExpert& expert, ComputeType compute, ExpertMemory& memory, int64_t index) {
    PackedExpert plan{plan_packing(expert.gate, compute), plan_packing(expert.up, compute),
                      plan_packing(expert.down, compute)};
    const size_t gate = packed_bytes(plan.gate, expert.gate), up = packed_bytes(plan.up, expert.up),
                 down = packed_bytes(plan.down, expert.down);
    uint8_t* place = memory.take(index, gate + up + down);
    plan.down = pack(expert.down, plan.down, place + gate + up, serially);
    const int32_t* order = std::exchange(plan.down.input_order, nullptr);
    plan.gate = pack(expert.gate, plan.gate, place, serially, order);
    plan.up = pack(expert.up, plan.up, place + gate, serially, order);
    return plan;
}

class CpuMachine : public Machine {
  public:
    CpuMachine(ComputeType compute, int threads, Isa isa)
        : compute_(compute), isa_(isa), kernels_(kernels_of(isa, compute)), pool_(threads) {}

    std::string name() const override {
        const int threads = pool_.thread_count();
        return fmt::format("cpu ({}, {} thread{})", isa_name(isa_), threads, threads == 1 ? "" : "s");
    }
    int32_t prompt_cut() const override { return 1; }
    ComputeType compute_type() const override { return compute_; }
    size_t total_memory() const override { return total_memory_bytes(); }
    size_t available_memory() const override { return available_memory_bytes(); }
    Buffer allocate(size_t bytes) override { return Buffer::host(bytes); }

    Buffer upload(const Tensor& host, DType dtype) override {
        Buffer buffer = Buffer::host(static_cast<size_t>(host.elements()) * dtype_size(dtype));
        convert(kernels_, pool_, host, buffer.tensor(dtype, host.shape()));
        return buffer;
    }
    void download(const Tensor& source, void* host) override {
        convert(kernels_, pool_, source, Tensor(host, source.dtype(), source.shape()));
    }

    Linear prepare(const HostLinear& weight) override {
        const PackedMatrix plan = plan_packing(weight, compute_);
        Buffer memory = Buffer::host(packed_bytes(plan, weight));
        const ForEach in_parallel = [this](int64_t count, const std::function<void(int64_t)>& work) {
            pool_.parallel_for(count, work);
        };
        const PackedMatrix matrix = pack(weight, plan, static_cast<uint8_t*>(memory.data()), in_parallel);
        return std::make_shared<CpuLinear>(matrix, std::move(memory));
    }

    Experts prepare_experts(int64_t count, int64_t hidden, int64_t intermediate,
                            const std::function<HostExpert(int64_t)>& load) override {
        std::vector<PackedExpert> experts(static_cast<size_t>(count));
        ExpertMemory memory(count);
        auto prepare_one = [&](int64_t i) {
            const HostExpert expert = load(i);
            check_shape(expert.gate, intermediate, hidden, i);
            check_shape(expert.up, intermediate, hidden, i);
            check_shape(expert.down, hidden, intermediate, i);
            experts[static_cast<size_t>(i)] = pack_expert(expert, compute_, memory, i);
        };
        pool_.parallel_for(count, prepare_one);
        return std::make_shared<CpuExperts>(hidden, intermediate, std::move(experts), memory.buffers(),
                                            memory.total());
    }

    MachinePeaks measure_peaks() override { return cpu::measure_peaks(kernels_, pool_); }
    std::unique_ptr<Ops> make_ops() override {
        return std::make_unique<CpuOps>(kernels_, exact_kernels(isa_), pool_);
    }

  private:
    static void check_shape(const HostLinear& part, int64_t out, int64_t in, int64_t expert) {
        SHEAF_CHECK(part.out == out && part.in == in, "expert {}: ({}, {}) is not ({}, {})", expert, part.out,
                    part.in, out, in);
    }

    ComputeType compute_;
    Isa isa_;
    const Kernels& kernels_;
    ThreadPool pool_;
};

}  // namespace

const CpuLinear& cpu_linear(const Linear& linear) {
    const auto* mine = dynamic_cast<const CpuLinear*>(linear.get());
    SHEAF_CHECK(mine, "a linear layer of another back end");
    return *mine;
}

const CpuExperts& cpu_experts(const Experts& experts) {
    const auto* mine = dynamic_cast<const CpuExperts*>(experts.get());
    SHEAF_CHECK(mine, "experts of another back end");
    return *mine;
}

std::unique_ptr<Machine> make_cpu_machine(ComputeType compute, int threads, Isa isa) {
    const auto& available = available_isas();
    const Isa needed = isa == Isa::amx_emulated ? Isa::avx512 : isa;
    if (std::find(available.begin(), available.end(), needed) == available.end())
        fail(ErrorKind::unsupported, "this processor cannot run {} kernels; best is {}", isa_name(isa),
             isa_name(available.back()));
    return std::make_unique<CpuMachine>(compute, threads, isa);
}

}  // namespace sheaf::cpu
