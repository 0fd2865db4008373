// The feed-forward half of a layer: a dense gated MLP, or routed experts beside a shared one. Must not know
// dtypes, devices, ranks or kernels.
#pragma once

#include "model/config.h"
#include "model/weight_visitor.h"
#include "ops/ops.h"

namespace sheaf {

/// down(silu(gate x) * up x)
struct DenseMlp {
    Linear gate_proj, up_proj, down_proj;

    void for_each_weight(const std::string& prefix, int64_t hidden, int64_t intermediate,
                         WeightVisitor& visit);
    Tensor forward(Ops& ops, const Tensor& x) const;
};

/// Sum of a token's top_k experts, weighted by the renormalized router probabilities, plus the shared expert
/// scaled by sigmoid(shared_expert_gate x).
struct SparseMoe {
    int64_t top_k = 0;
    Linear gate, shared_expert_gate;
    Experts experts, shared_expert;

    void for_each_weight(const std::string& prefix, const TextConfig& config, WeightVisitor& visit);
    Tensor forward(Ops& ops, const Tensor& x) const;
};

/// Whichever of the two the configuration names.
struct FeedForward {
    DenseMlp dense;
    SparseMoe sparse;

    void for_each_weight(const std::string& prefix, const TextConfig& config, WeightVisitor& visit);
    Tensor forward(Ops& ops, const Tensor& x) const {
        return sparse.experts ? sparse.forward(ops, x) : dense.forward(ops, x);
    }
};

}  // namespace sheaf
