// Machine: what a back end offers besides arithmetic: memory, and weights prepared in its own layout. The
// loader fills a model through it; backend/registry creates one. Linear and Experts are the handles the model
// holds: a back end derives its own classes from them. Must not know the model, files or requests.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "tensor/buffer.h"
#include "weights/host_linear.h"

namespace sheaf {

class Ops;

/// A linear layer's weight as its back end keeps it.
class PreparedLinear {
  public:
    PreparedLinear(int64_t out_features, int64_t in_features) : out(out_features), in(in_features) {}
    virtual ~PreparedLinear() = default;
    const int64_t out, in;
    virtual size_t bytes() const = 0;  // resident memory, equal to what one use must read
};
using Linear = std::shared_ptr<const PreparedLinear>;

/// One routed expert in canonical form: gate and up (intermediate, hidden), down (hidden, intermediate). The
/// parts may be of different formats.
struct HostExpert {
    HostLinear gate, up, down;
};

/// All routed experts of one layer as their back end keeps them.
class PreparedExperts {
  public:
    PreparedExperts(int64_t expert_count, int64_t hidden_size, int64_t intermediate_size)
        : count(expert_count), hidden(hidden_size), intermediate(intermediate_size) {}
    virtual ~PreparedExperts() = default;
    const int64_t count, hidden, intermediate;
    virtual size_t bytes() const = 0;
};
using Experts = std::shared_ptr<const PreparedExperts>;

/// What a model computes in: bf16 lets 16-bit storage stand for weights and KV cache; f32 keeps every stored
/// value.
enum class ComputeType { bf16, f32 };

/// What a machine can do at most, as measured on it; 0 where nobody measured.
struct MachinePeaks {
    double read_bytes_per_second = 0;  // from main memory, all threads
    double flops_per_second = 0;       // multiplications and additions, in the type that matrix products use
};

class Machine {
  public:
    virtual ~Machine() = default;

    virtual std::string name() const = 0;  // "cpu (avx512, 2 threads)"
    virtual ComputeType compute_type() const = 0;
    virtual size_t total_memory() const = 0;      // bytes that models may use
    virtual size_t available_memory() const = 0;  // bytes free now
    /// Whether that memory is there for a model alone, as a GPU's is: caches may then take what is left of
    /// it.
    virtual bool dedicated_memory() const { return false; }

    /// What is computed for a prompt does not depend on how it is cut into steps if each cut is at a multiple
    /// of so many tokens, with at least as many after the last one, and what follows the prompt comes one
    /// token at a time. 1: however it is cut. 0: it depends, more or less.
    virtual int32_t prompt_cut() const { return 0; }

    /// What broke it for good (a fault of the device), empty while it computes: after a fault nothing that it
    /// says may be taken for a result.
    virtual std::string fault() const { return {}; }

    /// Zeroed memory of the machine.
    virtual Buffer allocate(size_t bytes) = 0;
    /// A copy on the machine, converted to `dtype` (f32 or bf16 from any float type, or unchanged).
    virtual Buffer upload(const Tensor& host, DType dtype) = 0;
    /// The same for a table of which a step reads few rows (gather_rows): it may lie in slower memory.
    virtual Buffer upload_table(const Tensor& host, DType dtype) { return upload(host, dtype); }
    virtual void download(const Tensor& source, void* host) = 0;  // waits for the work before it

    virtual Linear prepare(const HostLinear& weight) = 0;
    /// Tells that these read the same rows (Ops::linears): a machine may replace them by ones that lie
    /// together.
    virtual void join(std::span<Linear* const> /*parts*/) {}
    /// Pulls expert after expert from `load` (called from several threads, each index once).
    virtual Experts prepare_experts(int64_t count, int64_t hidden, int64_t intermediate,
                                    const std::function<HostExpert(int64_t expert)>& load) = 0;

    /// Tells that all tokens of `routed` go to `shared`, one expert, too (Ops::moe_with_shared): a machine
    /// may replace it by one that lies beside the others.
    virtual void join_shared(const Experts& /*routed*/, Experts& /*shared*/) {}

    /// For measuring: weights of random numbers made by the machine itself, functions of the seed, of a size
    /// that keeps unit variance: int4 with groups of `group_size` inputs, or 16 bits for 0. Null where a
    /// machine has no such thing.
    virtual Linear random_linear(int64_t /*out*/, int64_t /*in*/, int64_t /*group_size*/, uint64_t /*seed*/) {
        return nullptr;
    }
    virtual Experts random_experts(int64_t /*count*/, int64_t /*hidden*/, int64_t /*intermediate*/,
                                   int64_t /*group_size*/, uint64_t /*seed*/) {
        return nullptr;
    }

    virtual std::unique_ptr<Ops> make_ops() = 0;

    /// For benchmarks; may take a second.
    virtual MachinePeaks measure_peaks() { return {}; }
};

}  // namespace sheaf
