#include "model/config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "model/memory.h"
#include "model/module_pattern.h"
#include "model/random_weights.h"
#include "model/text_model.h"

namespace sheaf {
namespace {

std::string config_text(const std::string& name) {
    return read_text_file(std::string(SHEAF_SOURCE_DIR) + "/bench/configs/" + name + ".config.json");
}

TEST(Config, ReadsThePublishedFiles) {
    const ModelConfig config = parse_model_config(config_text("qwen3.5-reap-262b-a17b-w4a16"), "262B");
    EXPECT_EQ(config.architecture, "Qwen3_5MoeForConditionalGeneration");
    EXPECT_EQ(config.text.num_experts, 333);
    EXPECT_EQ(config.text.num_experts_per_tok, 10);
    EXPECT_EQ(config.text.num_hidden_layers, 60);
    EXPECT_EQ(config.text.count(LayerKind::full_attention), 15);
    EXPECT_EQ(config.text.conv_channels(), 12288);
    EXPECT_EQ(config.quantization.method, "auto-round");
    EXPECT_TRUE(config.quantization.zero_point_minus_one);
    ASSERT_TRUE(config.vision);
    EXPECT_EQ(config.vision->depth, 27);
    // reference figures: 30 KiB of KV a token, 180 MiB of recurrent state a sequence
    EXPECT_EQ(kv_bytes_per_token(config.text, ComputeType::bf16), 30u * 1024);
    EXPECT_NEAR(static_cast<double>(state_bytes_per_sequence(config.text)) / 0x1p20, 180.0 + 2 * 3.16, 0.1);
    for (const char* name :
         {"qwen3.5-35b-a3b", "qwen3.5-122b-a10b", "qwen3.5-397b-a17b", "qwen3.5-35b-a3b-w4a16"})
        EXPECT_NO_THROW(parse_model_config(config_text(name), name)) << name;
    EXPECT_EQ(parse_model_config(config_text("qwen3.5-122b-a10b"), "").quantization.method, "fp8");
}

TEST(Config, RefusesWhatItCannotRunAndNamesTheKey) {
    const auto good = nlohmann::json::parse(config_text("qwen3.5-35b-a3b"));
    struct Case {
        const char* pointer;
        nlohmann::json value;
        const char* expected;
    };
    const std::vector<Case> cases{
        {"/architectures", {"LlamaForCausalLM"}, "LlamaForCausalLM"},
        {"/architectures", nlohmann::json::array(), "architecture"},
        {"/text_config/hidden_size", "wide", "hidden_size"},
        {"/text_config/hidden_size", -1, "hidden_size"},
        {"/text_config/hidden_size", 1e30, "hidden_size"},
        {"/text_config/num_hidden_layers", int64_t{1} << 40, "num_hidden_layers"},
        {"/text_config/layer_types", {"full_attention"}, "layer_types"},
        {"/text_config/layer_types", {"sliding"}, "sliding"},
        {"/text_config/num_key_value_heads", 3, "num_key_value_heads"},
        {"/text_config/num_experts_per_tok", 100000, "num_experts_per_tok"},
        {"/text_config/rope_parameters/rope_type", "longrope", "longrope"},
        {"/text_config/rope_parameters/partial_rotary_factor", 7, "partial_rotary_factor"},
        {"/text_config/hidden_act", "gelu", "gelu"},
        {"/text_config", nlohmann::json::array(), "text_config"},
        {"/text_config/rms_norm_eps", "small", "rms_norm_eps"},
    };
    for (const Case& test : cases) {
        auto broken = good;
        broken[nlohmann::json::json_pointer(test.pointer)] = test.value;
        try {
            parse_model_config(broken.dump(), "config.json");
            ADD_FAILURE() << test.pointer << " accepted";
        } catch (const Error& error) {
            EXPECT_NE(std::string(error.what()).find(test.expected), std::string::npos) << error.what();
        }
    }
    EXPECT_THROW(parse_model_config("{", "x"), Error);
    EXPECT_THROW(parse_model_config("[1]", "x"), Error);
}

TEST(Config, EveryMissingKeyIsAnErrorOrADefaultNeverACrash) {
    const auto good = nlohmann::json::parse(config_text("qwen3.5-35b-a3b-w4a16"));
    for (const char* part : {"", "/text_config", "/quantization_config", "/vision_config"}) {
        const nlohmann::json::json_pointer at(part);
        for (const auto& [key, value] : good[at].items()) {
            for (const nlohmann::json& replacement :
                 {nlohmann::json(), nlohmann::json("x"), nlohmann::json(-3), nlohmann::json::object()}) {
                auto changed = good;
                changed[at][key] = replacement;
                try {
                    parse_model_config(changed.dump(), "config.json");
                } catch (const Error&) {
                }
            }
        }
    }
}

TEST(Rotary, AxesInterleaveByThree) {
    RopeConfig rope;
    const auto axes = rotary_axes(rope, 32);
    for (int i = 0; i < 32; ++i)
        EXPECT_EQ(axes[i], i % 3 == 1 && i < 33 ? 1 : i % 3 == 2 && i < 30 ? 2 : 0) << i;
}

TEST(Rotary, YarnKeepsFastFrequenciesAndSlowsTheRest) {
    RopeConfig rope;
    rope.yarn = true;
    rope.factor = 4;
    rope.original_max_position_embeddings = 262144;
    float scale = 0;
    const auto slowed = rotary_frequencies(rope, 256, &scale);
    EXPECT_FLOAT_EQ(scale, 0.1f * std::log(4.0f) + 1.0f);
    rope.yarn = false;
    const auto plain = rotary_frequencies(rope, 256, &scale);
    EXPECT_EQ(scale, 1.0f);
    EXPECT_FLOAT_EQ(slowed.front(), plain.front());
    EXPECT_FLOAT_EQ(slowed.back(), plain.back() / 4);
}

TEST(ModulePattern, SearchesLikeTheQuantizersDo) {
    EXPECT_TRUE(
        matches_module("model.language_model.layers.*.mlp.gate", "model.language_model.layers.3.mlp.gate"));
    EXPECT_FALSE(matches_module("model.language_model.layers.*.mlp.gate",
                                "model.language_model.layers.3.mlp.experts.2.gate_proj"));
    EXPECT_TRUE(matches_module(".*attn.*", "model.language_model.layers.0.linear_attn.in_proj_z"));
    EXPECT_TRUE(matches_module(R"(.*model\.layers\.0\.mlp\.gate$)", "model.layers.0.mlp.gate"));
    EXPECT_FALSE(matches_module(R"(.*model\.layers\.0\.mlp\.gate$)", "model.layers.0.mlp.gate_proj"));
    EXPECT_TRUE(matches_module("^lm_head", "lm_head"));
    EXPECT_FALSE(matches_module("^head", "lm_head"));
}

TEST(RandomWeights, FollowTheConfigAndRepeat) {
    ModelConfig config = parse_model_config(config_text("qwen3.5-35b-a3b-w4a16"), "");
    config.text.num_hidden_layers = 4;
    config.text.layer_types.resize(4);
    const auto source = make_random_weights(config);
    const std::string layer = "model.language_model.layers.0.";
    EXPECT_TRUE(source->has(layer + "mlp.experts.255.down_proj.qweight"));
    EXPECT_TRUE(source->has(layer + "mlp.gate.weight"));
    EXPECT_FALSE(source->has(layer + "mlp.gate.qweight"));
    EXPECT_FALSE(source->has(layer + "mlp.shared_expert_gate.qweight"));
    EXPECT_TRUE(source->has(layer + "linear_attn.in_proj_a.qweight"));
    EXPECT_FALSE(source->has("lm_head.qweight"));
    const auto a = source->take(layer + "mlp.gate.weight"), b = source->take(layer + "mlp.gate.weight");
    EXPECT_EQ(0, std::memcmp(a.view.raw(), b.view.raw(), a.view.bytes()));
    const auto c = source->take("model.language_model.layers.1.mlp.gate.weight");
    EXPECT_NE(0, std::memcmp(a.view.raw(), c.view.raw(), a.view.bytes()));
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < a.view.elements(); ++i) {
        const auto value = static_cast<float>(a.view.data<bfloat16>()[i]);
        sum += value;
        squares += static_cast<double>(value) * value;
    }
    const auto count = static_cast<double>(a.view.elements());
    EXPECT_NEAR(sum / count, 0, 1e-3);
    EXPECT_NEAR(squares / count * 2048, 1.0, 0.02);
}

}  // namespace
}  // namespace sheaf
