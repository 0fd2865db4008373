// Gated DeltaNet, the linear attention of this family: a short causal convolution, then a recurrence that
// keeps one key_dim x value_dim matrix per head and corrects it with every token. One per linear_attention
// layer. Must not know dtypes, devices, ranks or kernels.
#pragma once

#include "model/config.h"
#include "model/weight_visitor.h"
#include "ops/ops.h"

namespace sheaf {

struct GatedDeltaNet {
    int64_t key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0, kernel = 0;
    int64_t state_index = 0;  // in Batch::state
    Linear in_proj_qkv, in_proj_z, in_proj_b, in_proj_a, out_proj;
    Tensor conv1d, A_log, dt_bias;  // f32: (channels, kernel), (value_heads), (value_heads)
    Norm norm;                      // plain weight (value_dim)

    GatedDeltaNet() = default;
    GatedDeltaNet(const TextConfig& config, int64_t index);
    void for_each_weight(const std::string& prefix, int64_t hidden, WeightVisitor& visit);
    /// x (tokens, hidden), normalized -> (tokens, hidden).
    Tensor forward(Ops& ops, const Batch& batch, const Tensor& x) const;
};

}  // namespace sheaf
