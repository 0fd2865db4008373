#include "model/delta_net.h"

#include <array>

namespace sheaf {

GatedDeltaNet::GatedDeltaNet(const TextConfig& config, int64_t index)
    : key_heads(config.linear_num_key_heads),
      value_heads(config.linear_num_value_heads),
      key_dim(config.linear_key_head_dim),
      value_dim(config.linear_value_head_dim),
      kernel(config.linear_conv_kernel_dim),
      state_index(index) {
    norm.epsilon = config.rms_norm_eps;
}

void GatedDeltaNet::for_each_weight(const std::string& prefix, int64_t hidden, WeightVisitor& visit) {
    const int64_t keys = key_heads * key_dim, values = value_heads * value_dim, channels = 2 * keys + values;
    visit.linear(prefix + "in_proj_qkv", in_proj_qkv, channels, hidden);
    visit.linear(prefix + "in_proj_z", in_proj_z, values, hidden);
    visit.linear(prefix + "in_proj_b", in_proj_b, value_heads, hidden);
    visit.linear(prefix + "in_proj_a", in_proj_a, value_heads, hidden);
    visit.together({&in_proj_qkv, &in_proj_z, &in_proj_b, &in_proj_a});
    visit.vector(prefix + "conv1d.weight", conv1d, Shape{channels, kernel}, Shape{channels, 1, kernel});
    visit.vector(prefix + "A_log", A_log, value_heads);
    visit.vector(prefix + "dt_bias", dt_bias, value_heads);
    visit.vector(prefix + "norm.weight", norm.weight, value_dim);
    visit.linear(prefix + "out_proj", out_proj, hidden, values);
}

Tensor GatedDeltaNet::forward(Ops& ops, const Batch& batch, const Tensor& x) const {
    const StateLayer& state = batch.state[state_index];
    const int64_t keys = key_heads * key_dim, values = value_heads * value_dim;
    const std::vector<Tensor> projected =
        ops.linears(x, std::array{in_proj_qkv, in_proj_z, in_proj_b, in_proj_a});
    const Tensor &z = projected[1], &b = projected[2], &a = projected[3];
    const Tensor qkv = ops.causal_conv1d(projected[0], conv1d, state, batch);
    const DeltaRuleInput input{.query = qkv.columns(0, keys),
                               .key = qkv.columns(keys, 2 * keys),
                               .value = qkv.columns(2 * keys, 2 * keys + values),
                               .a = a,
                               .b = b,
                               .a_log = A_log,
                               .dt_bias = dt_bias,
                               .key_heads = key_heads,
                               .value_heads = value_heads,
                               .key_dim = key_dim,
                               .value_dim = value_dim};
    const Tensor output = ops.gated_delta_rule(input, state, batch);
    return ops.linear(ops.gated_rms_norm(output, z, norm), out_proj);
}

}  // namespace sheaf
