#include "model/text_model.h"

#include <algorithm>
#include <cmath>

namespace sheaf {

void DecoderLayer::for_each_weight(const std::string& prefix, const TextConfig& config,
                                   WeightVisitor& visit) {
    input_layernorm.epsilon = post_attention_layernorm.epsilon = config.rms_norm_eps;
    visit.vector(prefix + "input_layernorm.weight", input_layernorm.weight, config.hidden_size);
    if (kind == LayerKind::full_attention) {
        self_attn.for_each_weight(prefix + "self_attn.", config.hidden_size, visit);
    } else {
        linear_attn.for_each_weight(prefix + "linear_attn.", config.hidden_size, visit);
    }
    visit.vector(prefix + "post_attention_layernorm.weight", post_attention_layernorm.weight,
                 config.hidden_size);
    mlp.for_each_weight(prefix + "mlp.", config, visit);
}

Residual DecoderLayer::forward(Ops& ops, const Batch& batch, const Rotary& rotary, const Residual& x) const {
    auto [h, stream] = x.update.defined() ? ops.add_rms_norm(x.update, x.stream, input_layernorm)
                                          : std::pair(ops.rms_norm(x.stream, input_layernorm), x.stream);
    h = kind == LayerKind::full_attention ? self_attn.forward(ops, batch, rotary, h)
                                          : linear_attn.forward(ops, batch, h);
    const auto [y, residual] = ops.add_rms_norm(ops.all_reduce(h), stream, post_attention_layernorm);
    return {residual, ops.all_reduce(mlp.forward(ops, y))};
}

TextModel::TextModel(const TextConfig& config) {
    int64_t full = 0, linear = 0;
    for (const LayerKind kind : config.layer_types) {
        DecoderLayer layer;
        layer.kind = kind;
        if (kind == LayerKind::full_attention) {
            layer.self_attn = GatedAttention(config, full++);
        } else {
            layer.linear_attn = GatedDeltaNet(config, linear++);
        }
        layers.push_back(std::move(layer));
    }
    norm.epsilon = config.rms_norm_eps;
}

void TextModel::for_each_weight(const ModelConfig& config, WeightVisitor& visit) {
    const TextConfig& text = config.text;
    const std::string root = "model.language_model.";
    visit.table(root + "embed_tokens.weight", embed_tokens, text.vocab_size, text.hidden_size);
    for (size_t i = 0; i < layers.size(); ++i)
        layers[i].for_each_weight(fmt::format("{}layers.{}.", root, i), text, visit);
    visit.vector(root + "norm.weight", norm.weight, text.hidden_size);
    if (config.tie_word_embeddings) {
        visit.tied_linear(root + "embed_tokens.weight", lm_head, text.vocab_size, text.hidden_size);
    } else {
        visit.linear("lm_head", lm_head, text.vocab_size, text.hidden_size);
    }
}

Tensor TextModel::hidden(Ops& ops, const Batch& batch) const {
    ops.begin_layer(0);
    Residual x{ops.gather_rows(embed_tokens, batch.token_ids), {}};
    for (size_t i = 0; i < layers.size(); ++i) {
        ops.begin_layer(static_cast<int>(i) + 1);
        x = layers[i].forward(ops, batch, rotary, x);
    }
    ops.begin_layer(static_cast<int>(layers.size()) + 1);
    return x.update.defined() ? ops.add(x.stream, x.update) : x.stream;
}

Tensor TextModel::forward(Ops& ops, const Batch& batch) const {
    const Tensor x = hidden(ops, batch);
    const Tensor wanted = ops.gather_rows(x, batch.output_rows);
    return ops.linear_f32(ops.rms_norm(wanted, norm), lm_head);
}

std::vector<float> rotary_frequencies(const RopeConfig& rope, int64_t head_dim, float* scale) {
    const auto dim = static_cast<int64_t>(static_cast<double>(head_dim) * rope.partial_rotary_factor);
    std::vector<float> frequencies;
    for (int64_t i = 0; i < dim; i += 2) {
        // The reference computes exponent, power and reciprocal in fp32.
        const float exponent = static_cast<float>(i) / static_cast<float>(dim);
        frequencies.push_back(1.0f / static_cast<float>(std::pow(rope.theta, static_cast<double>(exponent))));
    }
    *scale = 1.0f;
    if (!rope.yarn) return frequencies;

    auto mscale = [](double factor, double weight) {
        return factor <= 1 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
    };
    if (rope.attention_factor) {
        *scale = static_cast<float>(*rope.attention_factor);
    } else if (rope.mscale.value_or(0) != 0 && rope.mscale_all_dim.value_or(0) != 0) {
        *scale =
            static_cast<float>(mscale(rope.factor, *rope.mscale) / mscale(rope.factor, *rope.mscale_all_dim));
    } else {
        *scale = static_cast<float>(mscale(rope.factor, 1.0));
    }
    // Dimensions that turn more than beta_fast times over the original context keep their frequency, those
    // that turn less than beta_slow times are slowed by `factor`, with a linear ramp between (YaRN, arXiv
    // 2309.00071).
    auto correction = [&](double rotations) {
        return static_cast<double>(dim) *
               std::log(rope.original_max_position_embeddings / (rotations * 2 * M_PI)) /
               (2 * std::log(rope.theta));
    };
    double low = correction(rope.beta_fast), high = correction(rope.beta_slow);
    if (rope.truncate) low = std::floor(low), high = std::ceil(high);
    low = std::max(low, 0.0);
    high = std::min(high, static_cast<double>(dim - 1));
    if (low == high) high += 0.001;
    for (size_t i = 0; i < frequencies.size(); ++i) {
        const float ramp = std::clamp(
            (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0f, 1.0f);
        const float slowed = frequencies[i] / static_cast<float>(rope.factor);
        frequencies[i] = slowed * ramp + frequencies[i] * (1.0f - ramp);
    }
    return frequencies;
}

std::vector<int32_t> rotary_axes(const RopeConfig& rope, int64_t frequencies) {
    std::vector<int32_t> axes(static_cast<size_t>(frequencies), 0);
    for (int32_t axis = 1; axis <= 2; ++axis)
        for (int64_t i = axis; i < std::min<int64_t>(3 * rope.mrope_section[axis], frequencies); i += 3)
            axes[i] = axis;
    return axes;
}

}  // namespace sheaf
