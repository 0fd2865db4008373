#include "model/attention.h"

#include <array>

namespace sheaf {

GatedAttention::GatedAttention(const TextConfig& config, int64_t index)
    : heads(config.num_attention_heads),
      kv_heads(config.num_key_value_heads),
      head_dim(config.head_dim),
      cache_index(index) {
    q_norm.epsilon = k_norm.epsilon = config.rms_norm_eps;
}

void GatedAttention::for_each_weight(const std::string& prefix, int64_t hidden, WeightVisitor& visit) {
    visit.linear(prefix + "q_proj", q_proj, heads * 2 * head_dim, hidden);
    visit.linear(prefix + "k_proj", k_proj, kv_heads * head_dim, hidden);
    visit.linear(prefix + "v_proj", v_proj, kv_heads * head_dim, hidden);
    visit.together({&q_proj, &k_proj, &v_proj});
    visit.linear(prefix + "o_proj", o_proj, hidden, heads * head_dim);
    visit.vector(prefix + "q_norm.weight", q_norm.weight, head_dim);
    visit.vector(prefix + "k_norm.weight", k_norm.weight, head_dim);
}

Tensor GatedAttention::forward(Ops& ops, const Batch& batch, const Rotary& rotary, const Tensor& x) const {
    const std::vector<Tensor> projected = ops.linears(x, std::array{q_proj, k_proj, v_proj});
    const GatedAttentionInput input{.query_and_gate = projected[0],
                                    .key = projected[1],
                                    .value = projected[2],
                                    .q_norm = q_norm,
                                    .k_norm = k_norm,
                                    .heads = heads,
                                    .kv_heads = kv_heads,
                                    .head_dim = head_dim};
    return ops.linear(ops.gated_attention(input, rotary, batch.kv[cache_index], batch), o_proj);
}

}  // namespace sheaf
