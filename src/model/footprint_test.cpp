#include "model/footprint.h"

#include <gtest/gtest.h>

#include "model/random_weights.h"

namespace sheaf {
namespace {

/// The published 262B prune, as its config.json describes it.
constexpr const char* config_262b = R"({
  "architectures": ["Qwen3_5MoeForConditionalGeneration"], "model_type": "qwen3_5_moe", "dtype": "bfloat16",
  "tie_word_embeddings": false,
  "text_config": {
    "model_type": "qwen3_5_moe_text", "vocab_size": 248320, "head_dim": 256, "hidden_act": "silu",
    "rms_norm_eps": 1e-6, "full_attention_interval": 4, "hidden_size": 4096, "num_hidden_layers": 60,
    "num_attention_heads": 32, "num_key_value_heads": 2, "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_num_key_heads": 16,
    "linear_num_value_heads": 64, "num_experts": 333, "num_experts_per_tok": 10,
    "moe_intermediate_size": 1024, "shared_expert_intermediate_size": 1024,
    "max_position_embeddings": 262144, "attn_output_gate": true, "eos_token_id": 248044,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000000, "partial_rotary_factor": 0.25,
                        "mrope_section": [11, 11, 10], "mrope_interleaved": true}},
  "quantization_config": {"quant_method": "auto-round", "bits": 4, "group_size": 128, "sym": true,
                          "packing_format": "auto_round:auto_gptq",
                          "block_name_to_quantize": "model.language_model.layers"}})";

class Footprint262B : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        config = new ModelConfig(parse_model_config(config_262b, "config.json"));
        footprint = new Footprint(measure_footprint(*make_random_weights(*config), *config));
    }
    static void TearDownTestSuite() {
        delete config;
        delete footprint;
    }
    static ModelConfig* config;
    static Footprint* footprint;
};
ModelConfig* Footprint262B::config = nullptr;
Footprint* Footprint262B::footprint = nullptr;

TEST_F(Footprint262B, HasTheParametersOfItsName) {
    EXPECT_NEAR(static_cast<double>(footprint->parameters()), 261.2e9, 0.1e9);
}

TEST_F(Footprint262B, HasTheBytesOfTheCheckpoint) {
    EXPECT_NEAR(static_cast<double>((*footprint)[WeightFamily::routed_experts].file_bytes), 130.6e9, 0.1e9);
    EXPECT_NEAR(static_cast<double>((*footprint)[WeightFamily::delta_net].file_bytes), 2.76e9, 0.01e9);
    EXPECT_NEAR(static_cast<double>((*footprint)[WeightFamily::attention].file_bytes), 0.82e9, 0.01e9);
    EXPECT_NEAR(static_cast<double>(footprint->file_bytes()), 138.8e9, 0.1e9);
}

TEST_F(Footprint262B, OneTokenReadsTenAndAHalfGigabytes) {
    const StepCost cost = decode_step(*config, *footprint, {}, 1, 2048);
    EXPECT_NEAR(cost.bytes(), 10.5e9, 0.06e9);
    EXPECT_NEAR(cost.kv_bytes, 0.063e9, 0.001e9);
    // 32.6 GFLOP of matrices, 0.33 of the recurrence, 1.0 of attention over the context.
    EXPECT_NEAR(decode_step(*config, *footprint, {}, 1, 0).flops, 32.6e9 + 0.33e9, 0.1e9);
    EXPECT_NEAR(cost.flops - decode_step(*config, *footprint, {}, 1, 0).flops, 1.007e9, 0.001e9);
    // Half a recurrent state for bf16, read and written; the convolution's stays as it is.
    EXPECT_NEAR(cost.state_bytes - decode_step(*config, *footprint, {2, 2}, 1, 2048).state_bytes,
                2 * 45 * 64 * 128 * 128 * 2.0, 1);
}

TEST_F(Footprint262B, BatchesTouchMoreExperts) {
    EXPECT_NEAR(touched_experts(config->text, 1), 10.0, 1e-9);
    EXPECT_NEAR(touched_experts(config->text, 8), 72.1, 0.1);
    EXPECT_NEAR(touched_experts(config->text, 64), 285.7, 0.1);
    EXPECT_NEAR(decode_step(*config, *footprint, {}, 64, 2048).bytes(), 146e9, 1e9);
}

TEST(Family, IsReadFromTheName) {
    const std::string layer = "model.language_model.layers.3.";
    EXPECT_EQ(weight_family(layer + "mlp.experts.gate_up_proj.12.qweight"), WeightFamily::routed_experts);
    EXPECT_EQ(weight_family(layer + "mlp.shared_expert.up_proj.weight"), WeightFamily::shared_expert);
    EXPECT_EQ(weight_family(layer + "mlp.shared_expert_gate.weight"), WeightFamily::router);
    EXPECT_EQ(weight_family(layer + "mlp.gate.weight"), WeightFamily::router);
    EXPECT_EQ(weight_family(layer + "mlp.gate_proj.weight"), WeightFamily::dense_mlp);
    EXPECT_EQ(weight_family(layer + "linear_attn.norm.weight"), WeightFamily::delta_net);
    EXPECT_EQ(weight_family(layer + "input_layernorm.weight"), WeightFamily::norms);
    EXPECT_EQ(weight_family("model.language_model.norm.weight"), WeightFamily::norms);
    EXPECT_EQ(weight_family("lm_head.weight"), WeightFamily::head);
    EXPECT_EQ(weight_family("rotary.table"), WeightFamily::other);
}

}  // namespace
}  // namespace sheaf
