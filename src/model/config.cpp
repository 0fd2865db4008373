#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "model/config_reader.h"

namespace sheaf {
namespace {

constexpr int64_t max_layers = 1024, max_width = 1 << 20, max_heads = 4096, max_experts = 65536;

struct Architecture {
    std::string_view name;
    bool experts, text_only;
};
constexpr std::array<Architecture, 4> architectures{{
    {"Qwen3_5MoeForConditionalGeneration", true, false},
    {"Qwen3_5ForConditionalGeneration", false, false},
    {"Qwen3_5MoeForCausalLM", true, true},
    {"Qwen3_5ForCausalLM", false, true},
}};

const Architecture& find_architecture(const ConfigReader& root, std::string& name) {
    const auto names = root.strings("architectures");
    for (const auto& candidate : names) {
        for (const auto& known : architectures) {
            if (candidate != known.name) continue;
            name = candidate;
            return known;
        }
    }
    std::string all;
    for (const auto& known : architectures) all += fmt::format("{}{}", all.empty() ? "" : ", ", known.name);
    fail(ErrorKind::unsupported, "{}: architecture {} is not one of {}", root.where(),
         names.empty() ? "(none named in \"architectures\")" : "'" + names.front() + "'", all);
}

std::vector<LayerKind> read_layer_types(const ConfigReader& text, int64_t layers) {
    std::vector<LayerKind> kinds;
    if (text.has("layer_types")) {
        for (const auto& name : text.strings("layer_types")) {
            if (name == "full_attention") {
                kinds.push_back(LayerKind::full_attention);
            } else if (name == "linear_attention") {
                kinds.push_back(LayerKind::linear_attention);
            } else {
                text.reject("layer_types",
                            fmt::format("has '{}', not full_attention or linear_attention", name));
            }
        }
        if (static_cast<int64_t>(kinds.size()) != layers)
            text.reject("layer_types", fmt::format("has {} entries for {} layers", kinds.size(), layers));
        return kinds;
    }
    const int64_t interval = text.integer_or("full_attention_interval", 4, 1, max_layers);
    for (int64_t i = 0; i < layers; ++i)
        kinds.push_back((i + 1) % interval == 0 ? LayerKind::full_attention : LayerKind::linear_attention);
    return kinds;
}

RopeConfig read_rope(const ConfigReader& text, int64_t head_dim) {
    RopeConfig rope;
    // Older files keep rope_theta and partial_rotary_factor beside an optional rope_scaling.
    const bool current = text.has("rope_parameters");
    const ConfigReader at = current                    ? text.object("rope_parameters")
                            : text.has("rope_scaling") ? text.object("rope_scaling")
                                                       : text;
    rope.theta = at.has("rope_theta") ? at.number("rope_theta") : text.number("rope_theta");
    rope.partial_rotary_factor = at.has("partial_rotary_factor")
                                     ? at.number("partial_rotary_factor")
                                     : text.number_or("partial_rotary_factor", 0.25);
    const std::string type = at.string_or("rope_type", at.string_or("type", "default"));
    if (!(rope.theta > 1.0) || !(rope.theta < 1e15)) at.reject("rope_theta", "is out of range");
    if (!(rope.partial_rotary_factor > 0.0) || rope.partial_rotary_factor > 1.0)
        at.reject("partial_rotary_factor", "is not in (0, 1]");
    if (at.has("mrope_section")) {
        const auto section = at.integers("mrope_section", 0, max_width);
        if (section.size() != 3) at.reject("mrope_section", "does not have three entries");
        for (int i = 0; i < 3; ++i) rope.mrope_section[i] = static_cast<int32_t>(section[i]);
    }
    const int64_t rotary = static_cast<int64_t>(static_cast<double>(head_dim) * rope.partial_rotary_factor);
    if (rotary < 2 || rotary % 2 != 0)
        at.reject("partial_rotary_factor", fmt::format("gives {} rotary dimensions of {}", rotary, head_dim));
    if (type == "yarn") {
        rope.yarn = true;
        rope.original_max_position_embeddings = at.number("original_max_position_embeddings");
        rope.factor = at.number("factor");
        rope.beta_fast = at.number_or("beta_fast", 32);
        rope.beta_slow = at.number_or("beta_slow", 1);
        rope.attention_factor = at.maybe_number("attention_factor");
        rope.mscale = at.maybe_number("mscale");
        rope.mscale_all_dim = at.maybe_number("mscale_all_dim");
        rope.truncate = at.boolean_or("truncate", true);
        if (!(rope.factor > 0) || !(rope.original_max_position_embeddings >= 1))
            at.reject("factor", "or original_max_position_embeddings is not positive");
    } else if (type != "default" && type != "mrope") {
        fail(ErrorKind::unsupported, "{}: rope_type '{}' (default and yarn are supported)", at.where(), type);
    }
    return rope;
}

void read_feed_forward(const ConfigReader& text, bool experts, TextConfig& out) {
    if (!experts) {
        out.intermediate_size = text.integer("intermediate_size", 1, max_width);
        return;
    }
    out.num_experts = text.integer("num_experts", 1, max_experts);
    out.num_experts_per_tok = text.integer("num_experts_per_tok", 1, out.num_experts);
    out.moe_intermediate_size = text.integer("moe_intermediate_size", 1, max_width);
    out.shared_expert_intermediate_size = text.integer("shared_expert_intermediate_size", 1, max_width);
    if (text.has("mlp_only_layers") && !text.integers("mlp_only_layers", 0, max_layers).empty())
        fail(ErrorKind::unsupported,
             "{}: mlp_only_layers is not empty; no model of this family mixes dense layers in", text.where());
    if (text.integer_or("decoder_sparse_step", 1, 0, max_layers) != 1)
        fail(ErrorKind::unsupported, "{}: decoder_sparse_step other than 1", text.where());
    if (text.has("norm_topk_prob") && !text.boolean_or("norm_topk_prob", true))
        fail(ErrorKind::unsupported, "{}: norm_topk_prob false", text.where());
}

TextConfig read_text(const ConfigReader& text, bool experts) {
    TextConfig out;
    out.vocab_size = text.integer("vocab_size", 1, 1 << 24);
    out.hidden_size = text.integer("hidden_size", 1, max_width);
    out.num_hidden_layers = text.integer("num_hidden_layers", 1, max_layers);
    out.layer_types = read_layer_types(text, out.num_hidden_layers);
    out.rms_norm_eps = static_cast<float>(text.number_or("rms_norm_eps", 1e-6));
    out.max_position_embeddings = text.integer("max_position_embeddings", 1, int64_t{1} << 30);
    out.num_attention_heads = text.integer("num_attention_heads", 1, max_heads);
    out.num_key_value_heads = text.integer("num_key_value_heads", 1, out.num_attention_heads);
    out.head_dim =
        text.has("head_dim") ? text.integer("head_dim", 2, 4096) : out.hidden_size / out.num_attention_heads;
    if (out.num_attention_heads % out.num_key_value_heads != 0)
        text.reject("num_key_value_heads", "does not divide num_attention_heads");
    out.attention_bias = text.boolean_or("attention_bias", false);
    out.rope = read_rope(text, out.head_dim);
    out.linear_num_key_heads = text.integer_or("linear_num_key_heads", 16, 1, max_heads);
    out.linear_num_value_heads = text.integer_or("linear_num_value_heads", 32, 1, max_heads);
    out.linear_key_head_dim = text.integer_or("linear_key_head_dim", 128, 1, 4096);
    out.linear_value_head_dim = text.integer_or("linear_value_head_dim", 128, 1, 4096);
    out.linear_conv_kernel_dim = text.integer_or("linear_conv_kernel_dim", 4, 2, 64);
    if (out.linear_num_value_heads % out.linear_num_key_heads != 0)
        text.reject("linear_num_value_heads", "is not a multiple of linear_num_key_heads");
    read_feed_forward(text, experts, out);
    if (const auto act = text.string_or("hidden_act", "silu"); act != "silu")
        fail(ErrorKind::unsupported, "{}: hidden_act '{}' (silu is supported)", text.where(), act);
    if (!text.boolean_or("attn_output_gate", true))
        fail(ErrorKind::unsupported, "{}: attn_output_gate false", text.where());
    if (const auto gate = text.string_or("output_gate_type", "swish"); gate != "swish" && gate != "silu")
        fail(ErrorKind::unsupported, "{}: output_gate_type '{}' (swish is supported)", text.where(), gate);
    return out;
}

VisionConfig read_vision(const ConfigReader& vision) {
    VisionConfig out;
    out.depth = vision.integer("depth", 1, max_layers);
    out.hidden_size = vision.integer("hidden_size", 1, max_width);
    out.num_heads = vision.integer("num_heads", 1, max_heads);
    out.intermediate_size = vision.integer("intermediate_size", 1, max_width);
    out.out_hidden_size = vision.integer("out_hidden_size", 1, max_width);
    out.patch_size = vision.integer_or("patch_size", 16, 1, 4096);
    out.temporal_patch_size = vision.integer_or("temporal_patch_size", 2, 1, 64);
    out.spatial_merge_size = vision.integer_or("spatial_merge_size", 2, 1, 64);
    out.in_channels = vision.integer_or("in_channels", 3, 1, 64);
    out.num_position_embeddings = vision.integer("num_position_embeddings", 1, 1 << 24);
    return out;
}

void add_end_tokens(const ConfigReader& at, int64_t vocabulary, std::vector<int32_t>& ids) {
    for (const int64_t id : at.integer_or_list("eos_token_id", 0, (1 << 24))) {
        if (id < vocabulary && std::find(ids.begin(), ids.end(), id) == ids.end())
            ids.push_back(static_cast<int32_t>(id));
    }
}

void read_generation(const ConfigReader& at, ModelConfig& config) {
    add_end_tokens(at, config.text.vocab_size, config.end_token_ids);
    GenerationDefaults& out = config.generation;
    out.temperature = at.maybe_number("temperature");
    out.top_p = at.maybe_number("top_p");
    out.min_p = at.maybe_number("min_p");
    out.repetition_penalty = at.maybe_number("repetition_penalty");
    out.presence_penalty = at.maybe_number("presence_penalty");
    if (at.has("top_k")) out.top_k = at.integer("top_k", -1, 1 << 24);
    if (at.has("max_new_tokens")) out.max_new_tokens = at.integer("max_new_tokens", 0, int64_t{1} << 30);
    if (at.has("do_sample") && !at.boolean_or("do_sample", true)) out.temperature = 0.0;
}

}  // namespace

int64_t TextConfig::count(LayerKind kind) const {
    return std::count(layer_types.begin(), layer_types.end(), kind);
}

ModelConfig parse_model_config(const std::string& json_text, const std::string& where) {
    const auto json = nlohmann::json::parse(json_text, nullptr, false, true);
    if (!json.is_object()) fail(ErrorKind::corrupt_file, "{} is not a JSON object", where);
    const ConfigReader root(json, where);
    ModelConfig config;
    const Architecture& architecture = find_architecture(root, config.architecture);
    config.model_type = root.string_or("model_type", "");
    const bool nested = root.has("text_config");
    if (!nested && !architecture.text_only)
        fail(ErrorKind::corrupt_file, "{}: {} needs a text_config", where, config.architecture);
    const ConfigReader text = nested ? root.object("text_config") : root;
    config.text = read_text(text, architecture.experts);
    if (!architecture.text_only && root.has("vision_config"))
        config.vision = read_vision(root.object("vision_config"));
    for (const ConfigReader& at : {root, text}) {
        if (config.dtype.empty()) config.dtype = at.string_or("dtype", at.string_or("torch_dtype", ""));
    }
    config.tie_word_embeddings = root.has("tie_word_embeddings")
                                     ? root.boolean_or("tie_word_embeddings", false)
                                     : text.boolean_or("tie_word_embeddings", false);
    auto token = [&](const char* key) { return static_cast<int32_t>(root.integer_or(key, -1, -1, 1 << 24)); };
    config.image_token_id = token("image_token_id");
    config.video_token_id = token("video_token_id");
    config.vision_start_token_id = token("vision_start_token_id");
    config.vision_end_token_id = token("vision_end_token_id");
    add_end_tokens(text, config.text.vocab_size, config.end_token_ids);
    if (nested) add_end_tokens(root, config.text.vocab_size, config.end_token_ids);
    if (root.has("quantization_config"))
        read_quantization(root.object("quantization_config"), config);
    else if (nested && text.has("quantization_config"))
        read_quantization(text.object("quantization_config"), config);
    return config;
}

ModelConfig load_model_config(const std::filesystem::path& folder) {
    if (!std::filesystem::is_directory(folder))
        fail(ErrorKind::not_found, "{} is not a folder; give a checkpoint folder in Hugging Face form",
             folder.string());
    const auto path = folder / "config.json";
    if (!std::filesystem::exists(path))
        fail(ErrorKind::not_found, "{} has no config.json; is it a checkpoint folder in Hugging Face form?",
             folder.string());
    ModelConfig config = parse_model_config(read_text_file(path, 16 << 20), path.string());
    const auto generation = folder / "generation_config.json";
    if (std::filesystem::exists(generation)) {
        const auto json = nlohmann::json::parse(read_text_file(generation, 1 << 20), nullptr, false, true);
        if (!json.is_object()) fail(ErrorKind::corrupt_file, "{} is not a JSON object", generation.string());
        read_generation(ConfigReader(json, generation.string()), config);
    }
    const auto separate = folder / "quantization_config.json";
    if (config.quantization.method.empty() && std::filesystem::exists(separate)) {
        const auto json = nlohmann::json::parse(read_text_file(separate, 64 << 20), nullptr, false, true);
        if (!json.is_object()) fail(ErrorKind::corrupt_file, "{} is not a JSON object", separate.string());
        read_quantization(ConfigReader(json, separate.string()), config);
    }
    return config;
}

}  // namespace sheaf
