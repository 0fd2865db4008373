// ModelConfig: the config.json (and generation_config.json) of a checkpoint, checked and typed. Read by the
// loader, the model, inspect, plan and the engine. Must not know tensors or machines. Every number is bounded
// on reading, so sizes computed from them cannot overflow.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weights/weight_format.h"

namespace sheaf {

enum class LayerKind { full_attention, linear_attention };

/// rope_parameters: frequencies theta^(-2i/dim) over the first partial_rotary_factor of a head, YaRN
/// optional.
struct RopeConfig {
    double theta = 10'000'000.0;
    double partial_rotary_factor = 0.25;
    std::array<int32_t, 3> mrope_section{11, 11, 10};
    bool yarn = false;
    double factor = 1.0;
    double original_max_position_embeddings = 0;
    double beta_fast = 32, beta_slow = 1;
    std::optional<double> attention_factor, mscale, mscale_all_dim;
    bool truncate = true;
};

struct TextConfig {
    int64_t vocab_size = 0, hidden_size = 0, num_hidden_layers = 0;
    std::vector<LayerKind> layer_types;
    float rms_norm_eps = 1e-6f;
    int64_t max_position_embeddings = 0;

    // full attention
    int64_t num_attention_heads = 0, num_key_value_heads = 0, head_dim = 0;
    bool attention_bias = false;
    RopeConfig rope;

    // linear attention (gated delta net)
    int64_t linear_num_key_heads = 0, linear_num_value_heads = 0;
    int64_t linear_key_head_dim = 0, linear_value_head_dim = 0, linear_conv_kernel_dim = 0;
    int64_t linear_key_size() const { return linear_num_key_heads * linear_key_head_dim; }
    int64_t linear_value_size() const { return linear_num_value_heads * linear_value_head_dim; }
    int64_t conv_channels() const { return 2 * linear_key_size() + linear_value_size(); }

    // feed-forward: dense where num_experts is 0
    int64_t intermediate_size = 0;
    int64_t num_experts = 0, num_experts_per_tok = 0;
    int64_t moe_intermediate_size = 0, shared_expert_intermediate_size = 0;

    int64_t count(LayerKind kind) const;
};

struct VisionConfig {
    int64_t depth = 0, hidden_size = 0, num_heads = 0, intermediate_size = 0, out_hidden_size = 0;
    int64_t patch_size = 16, temporal_patch_size = 2, spatial_merge_size = 2, in_channels = 3;
    int64_t num_position_embeddings = 0;
};

/// generation_config.json: sampling defaults; absent values stay empty.
struct GenerationDefaults {
    std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty;
    std::optional<int64_t> top_k, max_new_tokens;
};

struct ModelConfig {
    std::string architecture;  // as written: Qwen3_5MoeForConditionalGeneration, ...
    std::string model_type;
    std::string dtype;  // "bfloat16", "float32", "float16" as the checkpoint says
    bool tie_word_embeddings = false;
    TextConfig text;
    std::optional<VisionConfig> vision;
    int32_t image_token_id = -1, video_token_id = -1, vision_start_token_id = -1, vision_end_token_id = -1;
    std::vector<int32_t> end_token_ids;  // union of every place that names one
    QuantizationHints quantization;
    /// Modules that the quantization_config leaves in 16 bit (exact names or patterns, as written).
    std::vector<std::string> unquantized_modules;
    GenerationDefaults generation;

    bool mixture_of_experts() const { return text.num_experts > 0; }
};

/// Reads config.json and, where present, generation_config.json. Errors: not_found, corrupt_file (naming the
/// key), unsupported (another architecture, by name).
ModelConfig load_model_config(const std::filesystem::path& folder);
/// The same from a config.json file anywhere (for --random-weights).
ModelConfig parse_model_config(const std::string& json_text, const std::string& where);

}  // namespace sheaf
