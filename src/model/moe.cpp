#include "model/moe.h"

namespace sheaf {

void DenseMlp::for_each_weight(const std::string& prefix, int64_t hidden, int64_t intermediate,
                               WeightVisitor& visit) {
    visit.linear(prefix + "gate_proj", gate_proj, intermediate, hidden);
    visit.linear(prefix + "up_proj", up_proj, intermediate, hidden);
    visit.linear(prefix + "down_proj", down_proj, hidden, intermediate);
}

Tensor DenseMlp::forward(Ops& ops, const Tensor& x) const {
    return ops.linear(ops.swiglu(ops.linear(x, gate_proj), ops.linear(x, up_proj)), down_proj);
}

void SparseMoe::for_each_weight(const std::string& prefix, const TextConfig& config, WeightVisitor& visit) {
    top_k = config.num_experts_per_tok;
    visit.linear(prefix + "gate", gate, config.num_experts, config.hidden_size);
    visit.linear(prefix + "shared_expert_gate", shared_expert_gate, 1, config.hidden_size);
    shared_expert.for_each_weight(prefix + "shared_expert.", config.hidden_size,
                                  config.shared_expert_intermediate_size, visit);
    visit.experts(prefix + "experts", experts, config.num_experts, config.hidden_size,
                  config.moe_intermediate_size);
}

Tensor SparseMoe::forward(Ops& ops, const Tensor& x) const {
    const Tensor routed = ops.moe(x, ops.route(x, gate, top_k), experts);
    const Tensor open = ops.unary(Unary::sigmoid, ops.linear(x, shared_expert_gate));
    return ops.add(routed, ops.multiply(shared_expert.forward(ops, x), open));
}

void FeedForward::for_each_weight(const std::string& prefix, const TextConfig& config, WeightVisitor& visit) {
    if (config.num_experts > 0) {
        sparse.for_each_weight(prefix, config, visit);
    } else {
        dense.for_each_weight(prefix, config.hidden_size, config.intermediate_size, visit);
    }
}

}  // namespace sheaf
