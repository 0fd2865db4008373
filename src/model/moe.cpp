#include "model/moe.h"

#include <array>

namespace sheaf {

void DenseMlp::for_each_weight(const std::string& prefix, int64_t hidden, int64_t intermediate,
                               WeightVisitor& visit) {
    visit.linear(prefix + "gate_proj", gate_proj, intermediate, hidden);
    visit.linear(prefix + "up_proj", up_proj, intermediate, hidden);
    visit.together({&gate_proj, &up_proj});
    visit.linear(prefix + "down_proj", down_proj, hidden, intermediate);
}

Tensor DenseMlp::forward(Ops& ops, const Tensor& x) const {
    const std::vector<Tensor> projected = ops.linears(x, std::array{gate_proj, up_proj});
    return ops.linear(ops.swiglu(projected[0], projected[1]), down_proj);
}

void SparseMoe::for_each_weight(const std::string& prefix, const TextConfig& config, WeightVisitor& visit) {
    top_k = config.num_experts_per_tok;
    visit.linear(prefix + "gate", gate, config.num_experts, config.hidden_size);
    visit.linear(prefix + "shared_expert_gate", shared_expert_gate, 1, config.hidden_size);
    visit.together({&gate, &shared_expert_gate});
    visit.expert(prefix + "shared_expert", shared_expert, config.hidden_size,
                 config.shared_expert_intermediate_size);
    visit.experts(prefix + "experts", experts, config.num_experts, config.hidden_size,
                  config.moe_intermediate_size);
    visit.beside(experts, shared_expert);
}

Tensor SparseMoe::forward(Ops& ops, const Tensor& x) const {
    const auto [routing, shared_gate] = ops.route_with_shared(x, gate, shared_expert_gate, top_k);
    return ops.moe_with_shared(x, routing, experts, shared_expert, shared_gate);
}

void FeedForward::for_each_weight(const std::string& prefix, const TextConfig& config, WeightVisitor& visit) {
    if (config.num_experts > 0) {
        sparse.for_each_weight(prefix, config, visit);
    } else {
        dense.for_each_weight(prefix, config.hidden_size, config.intermediate_size, visit);
    }
}

}  // namespace sheaf
