"""The tiny random models of tests/golden/models: their configurations and how their weights are drawn.

Each entry covers corners that the published sizes do not meet together: odd expert counts, every head ratio, layer
lists without a pattern, tied heads, key and value widths that differ, YaRN, other convolution widths. The weights are
drawn so that a wrong formula shows: nothing is near zero, norms are far from one, experts differ, decays are spread.
"""

import math

import torch
from transformers import (
    Qwen3_5Config,
    Qwen3_5ForCausalLM,
    Qwen3_5ForConditionalGeneration,
    Qwen3_5MoeConfig,
    Qwen3_5MoeForCausalLM,
    Qwen3_5MoeForConditionalGeneration,
    Qwen3_5MoeTextConfig,
    Qwen3_5TextConfig,
)

L, F = "linear_attention", "full_attention"
SPECIAL_IDS = 8  # the last ids of every vocabulary stay out of the prompts: image and video tokens are among them


def text(vocab, hidden, layers, heads, kv_heads, head_dim, rotary, sections, linear, **more):
    """The text fields. `linear` is (key heads, value heads, key dim, value dim, conv kernel)."""
    rope = {"rope_type": "default", "rope_theta": 10000000, "partial_rotary_factor": rotary,
            "mrope_section": sections, "mrope_interleaved": True}
    rope.update(more.pop("rope", {}))
    assert sum(sections) == int(head_dim * rotary) // 2
    fields = {
        "vocab_size": vocab, "hidden_size": hidden, "num_hidden_layers": len(layers), "layer_types": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": head_dim,
        "rope_parameters": rope, "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "attn_output_gate": True,
        "linear_num_key_heads": linear[0], "linear_num_value_heads": linear[1], "linear_key_head_dim": linear[2],
        "linear_value_head_dim": linear[3], "linear_conv_kernel_dim": linear[4], "mamba_ssm_dtype": "float32",
        "tie_word_embeddings": False, "full_attention_interval": 4,
    }
    return fields | more


def moe(experts, top_k, width, shared):
    return {"num_experts": experts, "num_experts_per_tok": top_k, "moe_intermediate_size": width,
            "shared_expert_intermediate_size": shared}


REAL_SECTIONS = [11, 11, 10]

# name -> (class, text fields, options). Options: f32 = A_log and linear_attn.norm stored in F32 (as the Qwen3.5 files
# have it), fused = experts stored in one tensor per layer (as the original releases; today's save_pretrained splits
# them), shard = bytes per shard, original = config.json with the keys of the original releases, derive_layers = no
# layer list in config.json.
ZOO = {
    "moe13": (Qwen3_5MoeForConditionalGeneration,
              text(160, 48, [L, L, L, F], 4, 1, 256, 0.25, REAL_SECTIONS, (1, 4, 128, 128, 4), **moe(13, 4, 32, 32)),
              {"f32": True, "fused": True, "original": True}),
    "moe333": (Qwen3_5MoeForCausalLM,
               text(128, 32, [L, F, L], 4, 2, 32, 0.5, [3, 3, 2], (2, 4, 32, 32, 4), **moe(333, 10, 8, 24)), {"fused": True}),
    "all_full": (Qwen3_5MoeForConditionalGeneration,
                 text(128, 48, [F, F, F], 8, 1, 64, 1.0, [12, 10, 10], (2, 2, 32, 32, 4), **moe(5, 5, 24, 40),
                      tie_word_embeddings=True), {}),
    "starts_full": (Qwen3_5MoeForCausalLM,
                    text(97, 56, [F, L, L, F, F, L], 2, 2, 128, 0.25, [6, 5, 5], (1, 3, 64, 32, 4), **moe(7, 1, 20, 12),
                         rms_norm_eps=1e-5), {"f32": True}),
    "conv3": (Qwen3_5MoeForConditionalGeneration,
              text(64, 40, [L, F, L, L, F], 6, 3, 64, 0.5, [6, 5, 5], (2, 4, 32, 64, 3), **moe(3, 2, 24, 36),
                   rms_norm_eps=1e-3, rope={"rope_theta": 5000}), {}),
    "sharded": (Qwen3_5MoeForConditionalGeneration,
                text(128, 64, [L, L, L, F, L, L], 4, 2, 128, 0.25, [6, 5, 5], (2, 2, 64, 64, 4), **moe(9, 3, 32, 64)),
                {"shard": "300KB", "f32": True, "fused": True, "original": True, "derive_layers": True}),
    "dense_tied": (Qwen3_5ForConditionalGeneration,
                   text(160, 80, [L, L, L, F], 2, 1, 256, 0.25, REAL_SECTIONS, (2, 2, 128, 128, 4),
                        intermediate_size=176, tie_word_embeddings=True), {"f32": True}),
    "dense_yarn": (Qwen3_5ForCausalLM,
                   text(128, 80, [L, F, F, L], 8, 2, 64, 0.5, [6, 5, 5], (2, 6, 64, 64, 4), intermediate_size=120,
                        rope={"rope_type": "yarn", "rope_theta": 100000, "factor": 4.0,
                              "original_max_position_embeddings": 128}), {}),
    "linear_only": (Qwen3_5ForCausalLM,
                    text(96, 64, [L, L, L], 2, 1, 64, 0.25, [3, 3, 2], (3, 6, 32, 32, 4), intermediate_size=100), {}),
    "moe_yarn": (Qwen3_5MoeForConditionalGeneration,
                 text(128, 64, [F, L, F], 2, 2, 256, 0.25, REAL_SECTIONS, (1, 2, 128, 64, 4), **moe(13, 4, 16, 48),
                      rope={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}), {"f32": True}),
}


def make_config(cls, fields):
    """The configuration object of a model class, with a minimal vision tower where the class has one."""
    is_moe = "Moe" in cls.__name__
    if not cls.__name__.endswith("ForConditionalGeneration"):
        return (Qwen3_5MoeTextConfig if is_moe else Qwen3_5TextConfig)(**fields)
    vocab = fields["vocab_size"]
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "patch_size": 4,
              "out_hidden_size": fields["hidden_size"], "num_position_embeddings": 16}
    return (Qwen3_5MoeConfig if is_moe else Qwen3_5Config)(
        text_config=fields, vision_config=vision, tie_word_embeddings=fields["tie_word_embeddings"],
        image_token_id=vocab - 2, video_token_id=vocab - 3, vision_start_token_id=vocab - 4,
        vision_end_token_id=vocab - 5)


@torch.no_grad()
def draw_weights(model, seed):
    """Fills every parameter; each has its own generator, seeded by the model's seed and the place in the list."""
    for number, (name, p) in enumerate(model.named_parameters()):
        generator = torch.Generator().manual_seed(seed * 100003 + number)
        p.copy_(_draw(name, p.shape, generator))


def _draw(name, shape, generator):
    def normal(std, mean=0.0):
        return torch.randn(shape, generator=generator) * std + mean

    def uniform(low, high):
        return torch.rand(shape, generator=generator) * (high - low) + low

    if name.endswith("A_log"):
        return uniform(-4.0, 1.5)
    if name.endswith("dt_bias"):
        return uniform(-3.0, 2.0)
    if name.endswith("linear_attn.norm.weight"):
        return normal(0.3, 1.0)
    if "norm" in name and name.endswith("bias"):
        return normal(0.2)
    if "visual" in name and "norm" in name:
        return normal(0.3, 1.0)
    if "norm" in name:
        return normal(0.3)
    if name.endswith("embed_tokens.weight"):
        return normal(1.0)
    if name.endswith("conv1d.weight"):
        return normal(0.6)
    if len(shape) == 1:
        return normal(0.2)
    gain = 1.0
    if name.endswith("mlp.gate.weight"):
        gain = 1.5
    if name.endswith("lm_head.weight"):
        gain = 2.0
    if name.endswith(("o_proj.weight", "out_proj.weight", "down_proj.weight", "down_proj")):
        gain = 1.2
    return normal(gain / math.sqrt(shape[-1]))
