// NullMachine: a Machine with host memory and no arithmetic, for unit tests of what stands above the waist
// and needs only memory. Must not be used by the program.
#pragma once

#include "ops/machine.h"
#include "ops/ops.h"

namespace sheaf {

class NullMachine final : public Machine {
  public:
    explicit NullMachine(size_t memory = size_t{1} << 30) : memory_(memory) {}

    std::string name() const override { return "null"; }
    ComputeType compute_type() const override { return ComputeType::f32; }
    size_t total_memory() const override { return memory_; }
    size_t available_memory() const override { return memory_; }
    Buffer allocate(size_t bytes) override { return Buffer::host(bytes); }
    Buffer upload(const Tensor&, DType) override { throw InternalError("NullMachine computes nothing"); }
    void download(const Tensor&, void*) override { throw InternalError("NullMachine computes nothing"); }
    Linear prepare(const HostLinear&) override { throw InternalError("NullMachine computes nothing"); }
    Experts prepare_experts(int64_t, int64_t, int64_t, const std::function<HostExpert(int64_t)>&) override {
        throw InternalError("NullMachine computes nothing");
    }
    std::unique_ptr<Ops> make_ops() override { throw InternalError("NullMachine computes nothing"); }

  private:
    size_t memory_;
};

}  // namespace sheaf
