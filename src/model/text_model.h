// The language model, written once: embedding, decoder layers, final norm, head. Everything that runs this
// family (serving, scoring, calibration, pruning) walks these functions. Must not know dtypes, devices, ranks
// or kernels.
#pragma once

#include <vector>

#include "model/attention.h"
#include "model/config.h"
#include "model/delta_net.h"
#include "model/moe.h"
#include "model/weight_visitor.h"
#include "ops/ops.h"

namespace sheaf {

/// The residual stream, (tokens, hidden), as layers hand it on: the next norm adds the last layer's update.
struct Residual {
    Tensor stream, update;  // no update before the first layer
};

struct DecoderLayer {
    LayerKind kind = LayerKind::full_attention;
    Norm input_layernorm, post_attention_layernorm;
    GatedAttention self_attn;   // when kind is full_attention
    GatedDeltaNet linear_attn;  // when kind is linear_attention
    FeedForward mlp;

    void for_each_weight(const std::string& prefix, const TextConfig& config, WeightVisitor& visit);
    Residual forward(Ops& ops, const Batch& batch, const Rotary& rotary, const Residual& x) const;
};

struct TextModel {
    Tensor embed_tokens;  // (vocabulary, hidden)
    std::vector<DecoderLayer> layers;
    Norm norm;
    Linear lm_head;
    Rotary rotary;

    TextModel() = default;
    explicit TextModel(const TextConfig& config);
    void for_each_weight(const ModelConfig& config, WeightVisitor& visit);

    /// The residual stream after the last layer, before the last norm: (tokens, hidden).
    Tensor hidden(Ops& ops, const Batch& batch) const;
    /// Logits of the batch's output_rows, f32 (outputs, vocabulary).
    Tensor forward(Ops& ops, const Batch& batch) const;
};

/// Rotary frequencies of a configuration (default and YaRN), f32, as Transformers computes them, and the
/// factor that multiplies cosine and sine.
std::vector<float> rotary_frequencies(const RopeConfig& rope, int64_t head_dim, float* scale);
/// Which position axis turns each frequency: interleaved M-RoPE, 0 temporal, 1 height, 2 width.
std::vector<int32_t> rotary_axes(const RopeConfig& rope, int64_t frequencies);

}  // namespace sheaf
