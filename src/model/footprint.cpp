#include "model/footprint.h"

#include <cmath>

#include "model/memory.h"
#include "weights/weight_format.h"

namespace sheaf {
namespace {

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

/// "layers.3.self_attn.q_proj.qweight" -> module and suffix.
std::pair<std::string_view, std::string_view> split_suffix(std::string_view tensor) {
    const size_t dot = tensor.rfind('.');
    return dot == std::string_view::npos ? std::pair{tensor, std::string_view()}
                                         : std::pair{tensor.substr(0, dot), tensor.substr(dot + 1)};
}

/// Numbers of the model that a stored tensor stands for; 0 for what only describes others.
int64_t parameters_of(std::string_view suffix, const WeightSource::Info& info) {
    if (suffix == "qweight" || suffix == "weight_packed") return info.shape.elements() * 8;
    if (suffix == "qzeros" || suffix == "scales" || suffix == "g_idx" || suffix == "weight_scale" ||
        suffix == "weight_scale_inv" || suffix == "weight_shape" || suffix == "weight_zero_point")
        return 0;
    return info.shape.elements();
}

std::string format_of(const WeightSource& source, std::string_view module, std::string_view suffix,
                      const WeightSource::Info& info) {
    if (suffix == "qweight" || suffix == "weight_packed" || info.dtype == DType::f8_e4m3) {
        const WeightFormat* format = find_weight_format(source, module);
        if (format) return std::string(format->name());
    }
    return std::string(dtype_name(info.dtype));
}

/// Matrix elements that one token passes through, per FLOP pair: everything but tables, norms and idle
/// experts.
double active_parameters(const ModelConfig& config, const Footprint& footprint) {
    const TextConfig& text = config.text;
    double active = 0;
    for (const WeightFamily family : {WeightFamily::attention, WeightFamily::delta_net, WeightFamily::router,
                                      WeightFamily::shared_expert, WeightFamily::dense_mlp})
        active += static_cast<double>(footprint[family].parameters);
    if (text.num_experts > 0)
        active += static_cast<double>(footprint[WeightFamily::routed_experts].parameters) *
                  static_cast<double>(text.num_experts_per_tok) / static_cast<double>(text.num_experts);
    return active;
}

const FamilySize& head_of(const ModelConfig& config, const Footprint& footprint) {
    const bool tied = config.tie_word_embeddings || footprint[WeightFamily::head].parameters == 0;
    return footprint[tied ? WeightFamily::embedding : WeightFamily::head];
}

}  // namespace

std::string_view family_name(WeightFamily family) {
    static constexpr std::string_view names[] = {
        "embedding",      "output head", "attention", "delta net", "router", "shared expert",
        "routed experts", "dense mlp",   "norms",     "vision",    "mtp",    "other"};
    return names[static_cast<size_t>(family)];
}

WeightFamily weight_family(std::string_view tensor) {
    using enum WeightFamily;
    if (tensor.starts_with("mtp.")) return mtp;
    if (tensor.starts_with("model.visual.")) return vision;
    if (contains(tensor, "embed_tokens.")) return embedding;
    if (contains(tensor, "lm_head.")) return head;
    if (contains(tensor, ".linear_attn.")) return delta_net;
    if (contains(tensor, ".self_attn.")) return attention;
    if (contains(tensor, ".mlp.experts.")) return routed_experts;
    if (contains(tensor, ".mlp.shared_expert.")) return shared_expert;
    if (contains(tensor, ".mlp.gate.") || contains(tensor, ".mlp.shared_expert_gate.")) return router;
    if (contains(tensor, ".mlp.")) return dense_mlp;
    if (contains(tensor, "norm.")) return norms;
    return other;
}

Footprint measure_footprint(const WeightSource& source, const ModelConfig& config) {
    Footprint footprint;
    for (const std::string& name : source.names()) {
        const WeightSource::Info& info = *source.find(name);
        const auto [module, suffix] = split_suffix(name);
        FamilySize& size = footprint.families[static_cast<size_t>(weight_family(name))];
        const uint64_t bytes = static_cast<uint64_t>(info.shape.elements()) * dtype_size(info.dtype);
        ++size.tensors;
        size.file_bytes += bytes;
        const bool constant_zeros = suffix == "qzeros" && config.quantization.symmetric;
        if (!constant_zeros) size.resident_bytes += bytes;
        const int64_t parameters = parameters_of(suffix, info);
        size.parameters += parameters;
        if (parameters > 0) ++size.formats[format_of(source, module, suffix, info)];
    }
    return footprint;
}

int64_t Footprint::tensors() const {
    int64_t sum = 0;
    for (const FamilySize& size : families) sum += size.tensors;
    return sum;
}

uint64_t Footprint::file_bytes() const {
    uint64_t sum = 0;
    for (const FamilySize& size : families) sum += size.file_bytes;
    return sum;
}

uint64_t Footprint::text_bytes() const {
    uint64_t sum = 0;
    for (const FamilySize& size : families) sum += size.resident_bytes;
    return sum - (*this)[WeightFamily::vision].resident_bytes - (*this)[WeightFamily::mtp].resident_bytes;
}

int64_t Footprint::parameters() const {
    int64_t sum = 0;
    for (const FamilySize& size : families) sum += size.parameters;
    return sum - (*this)[WeightFamily::vision].parameters - (*this)[WeightFamily::mtp].parameters;
}

uint64_t kv_bytes_per_token(const TextConfig& text, const CacheTypes& types) {
    return kv_bytes_per_token(text, ComputeType::f32) / 4 * static_cast<uint64_t>(types.kv_bytes);
}

uint64_t state_bytes_per_sequence(const TextConfig& text, const CacheTypes& types) {
    const CacheDTypes narrow{{}, DType::bf16};
    return state_bytes_per_sequence(text, types.state_bytes == 2 ? narrow : CacheDTypes{});
}

double recurrence_flops(const TextConfig& text) {
    // Per number of the state: decay 1, S^T k 2, rank-1 update 2, S^T q 2.
    return 7.0 * static_cast<double>(text.count(LayerKind::linear_attention) * text.linear_value_size() *
                                     text.linear_key_head_dim);
}

double attention_flops(const TextConfig& text, double context) {
    return 4.0 * context *
           static_cast<double>(text.count(LayerKind::full_attention) * text.num_attention_heads *
                               text.head_dim);
}

double touched_experts(const TextConfig& text, double batch) {
    const double experts = static_cast<double>(text.num_experts);
    if (experts == 0) return 0;
    return experts * (1 - std::pow(1 - static_cast<double>(text.num_experts_per_tok) / experts, batch));
}

StepCost decode_step(const ModelConfig& config, const Footprint& footprint, const CacheTypes& types,
                     int64_t batch, int64_t context) {
    const TextConfig& text = config.text;
    const double count = static_cast<double>(batch);
    StepCost cost;
    for (const WeightFamily family :
         {WeightFamily::attention, WeightFamily::delta_net, WeightFamily::router, WeightFamily::shared_expert,
          WeightFamily::dense_mlp, WeightFamily::norms})
        cost.weight_bytes += static_cast<double>(footprint[family].resident_bytes);
    const FamilySize& head = head_of(config, footprint);
    cost.weight_bytes += static_cast<double>(head.resident_bytes);
    if (text.num_experts > 0)
        cost.weight_bytes += static_cast<double>(footprint[WeightFamily::routed_experts].resident_bytes) *
                             touched_experts(text, count) / static_cast<double>(text.num_experts);
    cost.state_bytes = 2 * count * static_cast<double>(state_bytes_per_sequence(text, types));
    cost.kv_bytes =
        count * static_cast<double>(context + 1) * static_cast<double>(kv_bytes_per_token(text, types));
    cost.flops = count * (2 * (active_parameters(config, footprint) + static_cast<double>(head.parameters)) +
                          recurrence_flops(text) + attention_flops(text, static_cast<double>(context)));
    return cost;
}

double prefill_flops_per_token(const ModelConfig& config, const Footprint& footprint, int64_t context) {
    return 2 * active_parameters(config, footprint) + recurrence_flops(config.text) +
           attention_flops(config.text, static_cast<double>(context));
}

}  // namespace sheaf
