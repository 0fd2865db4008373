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
    const std::vector<Tensor> projected =
        ops.linears(x, std::array{in_proj_qkv, in_proj_z, in_proj_b, in_proj_a});
    GatedDeltaNetInput input{
        .x = projected[0], .taps = conv1d, .gate = projected[1], .rule = {}, .norm = norm};
    input.rule.b = projected[2];
    input.rule.a = projected[3];
    input.rule.a_log = A_log;
    input.rule.dt_bias = dt_bias;
    input.rule.key_heads = key_heads;
    input.rule.value_heads = value_heads;
    input.rule.key_dim = key_dim;
    input.rule.value_dim = value_dim;
    return ops.linear(ops.gated_delta_net(input, batch.state[state_index], batch), out_proj);
}

}  // namespace sheaf
