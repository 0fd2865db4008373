// Gated full attention: grouped heads, per-head normalized queries and keys, partial rotary embedding, output
// gated by a sigmoid that is projected together with the query. One per full_attention layer. Must not know
// dtypes, devices, ranks or kernels.
#pragma once

#include "model/config.h"
#include "model/weight_visitor.h"
#include "ops/ops.h"

namespace sheaf {

struct GatedAttention {
    int64_t heads = 0, kv_heads = 0, head_dim = 0;
    int64_t cache_index = 0;  // in Batch::kv
    Linear q_proj, k_proj, v_proj, o_proj;
    Norm q_norm, k_norm;

    GatedAttention() = default;
    GatedAttention(const TextConfig& config, int64_t index);
    void for_each_weight(const std::string& prefix, int64_t hidden, WeightVisitor& visit);
    /// x (tokens, hidden), normalized -> (tokens, hidden).
    Tensor forward(Ops& ops, const Batch& batch, const Rotary& rotary, const Tensor& x) const;
};

}  // namespace sheaf
