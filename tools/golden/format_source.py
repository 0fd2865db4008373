"""The one small model behind all checkpoint format fixtures, as logical values: integers, scales, zero points.

Everything comes from a counter hash, so nothing needs to be stored and no library's generator matters. Scales have
four significant bits and integers four, so a dequantized weight is exact in BF16, F16 and F32 alike; the set
`f16_scales` breaks that on purpose. Used by make_formats.py (packs it in every layout, numpy only) and by
make_format_logits.py (gives the dequantized values to Transformers).
"""

import zlib

import numpy as np

HIDDEN, VOCAB, EXPERTS, TOP_K = 256, 64, 5, 2
EXPERT_WIDTH, SHARED_WIDTH = 192, 64  # 192 inputs: the last of two groups of 128 is half full
LAYERS = ["linear_attention", "full_attention"]
HEADS, KV_HEADS, HEAD_DIM = 2, 1, 64
KEY_HEADS, VALUE_HEADS, LINEAR_DIM = 8, 32, 16
KEY_DIM, VALUE_DIM = KEY_HEADS * LINEAR_DIM, VALUE_HEADS * LINEAR_DIM
CONV_DIM = 2 * KEY_DIM + VALUE_DIM
VISION_HIDDEN, VISION_WIDTH, PATCH = 16, 24, 4

# name -> (group size, -1 = one group, 0 = mixed; asymmetric; act order; scales with all bits of F16)
SETS = {
    "g128": (128, False, False, False),
    "f16_scales": (128, False, False, True),
    "g64": (64, False, False, False),
    "g32": (32, False, False, False),
    "channel": (-1, False, False, False),
    "asym_g64": (64, True, False, False),
    "act_order": (64, False, True, False),
    "act_order_asym": (64, True, True, False),
    "mixed_groups": (0, False, False, False),
}


def hash64(name, count):
    """`count` numbers of 64 bits that depend on nothing but the name (splitmix64 of a counter)."""
    with np.errstate(over="ignore"):
        z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64(zlib.crc32(name.encode())) << np.uint64(32)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def uniform(name, shape):
    count = int(np.prod(shape))
    return ((hash64(name, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)


def integers(name, shape, low, high):
    return (low + np.floor(uniform(name, shape) * (high - low))).astype(np.int64)


def to_bf16_bits(values):
    """Round to nearest even; the upper half of a float32."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16_bits(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def plain(name, shape, std, mean=0.0):
    """Nearly normal values that BF16, F16 and F32 all hold exactly."""
    draws = sum(uniform(f"{name}/{i}", shape) for i in range(4)) - 2.0
    values = np.round((draws * np.sqrt(3.0) * std + mean) * 2.0**13) * 2.0**-13
    return from_bf16_bits(to_bf16_bits(values))


class Linear:
    """A quantized matrix, (outputs, inputs): w = (codes - zeros[group]) * scales[group], group = g_idx[input]."""

    def __init__(self, codes, scales, zeros, g_idx, group_size):
        self.codes, self.scales, self.zeros, self.g_idx = codes, scales, zeros, g_idx
        self.group_size = group_size
        self.outputs, self.inputs = codes.shape

    def values(self):
        zeros, scales = self.zeros[:, self.g_idx], self.scales[:, self.g_idx]
        return ((self.codes - zeros) * scales.astype(np.float64)).astype(np.float32)

    @staticmethod
    def stack(first, second):
        assert (first.g_idx == second.g_idx).all()
        return Linear(np.vstack([first.codes, second.codes]), np.vstack([first.scales, second.scales]),
                      np.vstack([first.zeros, second.zeros]), first.g_idx, first.group_size)


def group_size_of(kind, name):
    size = SETS[kind][0]
    if size == 0:
        size = 32 if ".layers.1." in name or "in_proj_z" in name else 128
    return size


def input_site(name):
    """Matrices that read the same activations share an activation order."""
    for member in ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"):
        name = name.replace(member, "in")
    return name


def make_linear(kind, name, outputs, inputs, gain=1.0):
    _, asymmetric, act_order, all_bits = SETS[kind]
    size = group_size_of(kind, name)
    step = inputs if size == -1 else size
    groups = -(-inputs // step)
    codes = integers(f"codes/{name}", (outputs, inputs), 0, 16)
    exponent = np.floor(np.log2(gain / (4.6 * np.sqrt(inputs) * 11.5)))
    mantissa = integers(f"scales/{step}/{name}", (outputs, groups), 8, 16).astype(np.float64)
    if all_bits:
        mantissa += integers(f"bits/{name}", (outputs, groups), 0, 128) / 128.0
    sign = np.where(uniform(f"signs/{step}/{name}", (outputs, groups)) < 0.5, -1.0, 1.0)
    scales = (sign * mantissa * 2.0**exponent).astype(np.float32)
    zeros = integers(f"zeros/{name}", (outputs, groups), 0, 16) if asymmetric else np.full((outputs, groups), 8)
    order = np.arange(inputs)
    if act_order:
        order = np.argsort(np.argsort(hash64(f"order/{input_site(name)}", inputs), kind="stable"), kind="stable")
    return Linear(codes, scales, zeros, order // step, size)


def linear_shapes(layer, kind):
    """(name below `layers.I.`, outputs, inputs, gain) of every matrix that a quantizer would take."""
    mixer = [("linear_attn.in_proj_qkv", CONV_DIM, HIDDEN, 1.0), ("linear_attn.in_proj_z", VALUE_DIM, HIDDEN, 1.0),
             ("linear_attn.in_proj_a", VALUE_HEADS, HIDDEN, 1.0), ("linear_attn.in_proj_b", VALUE_HEADS, HIDDEN, 1.0),
             ("linear_attn.out_proj", HIDDEN, VALUE_DIM, 1.2)]
    if kind == "full_attention":
        mixer = [("self_attn.q_proj", HEADS * HEAD_DIM * 2, HIDDEN, 1.0),
                 ("self_attn.k_proj", KV_HEADS * HEAD_DIM, HIDDEN, 1.0),
                 ("self_attn.v_proj", KV_HEADS * HEAD_DIM, HIDDEN, 1.0),
                 ("self_attn.o_proj", HIDDEN, HEADS * HEAD_DIM, 1.2)]
    ffn = []
    for owner, width in [(f"experts.{e}", EXPERT_WIDTH) for e in range(EXPERTS)] + [("shared_expert", SHARED_WIDTH)]:
        ffn += [(f"mlp.{owner}.gate_proj", width, HIDDEN, 1.0), (f"mlp.{owner}.up_proj", width, HIDDEN, 1.0),
                (f"mlp.{owner}.down_proj", HIDDEN, width, 1.2)]
    return [(f"layers.{layer}.{name}", *rest) for name, *rest in mixer + ffn]


def linears(kind):
    """name (`layers.I.…`) -> Linear."""
    return {name: make_linear(kind, f".{name}", outputs, inputs, gain)
            for layer, mixer in enumerate(LAYERS)
            for name, outputs, inputs, gain in linear_shapes(layer, mixer)}


def plain_tensors():
    """What no quantizer takes, by name: `embed_tokens.weight`, `layers.I.…`, `norm.weight`, `lm_head.weight`."""
    tensors = {"embed_tokens.weight": plain("embed", (VOCAB, HIDDEN), 1.0), "norm.weight": plain("norm", (HIDDEN,), 0.3),
               "lm_head.weight": plain("head", (VOCAB, HIDDEN), 0.125)}
    for layer, mixer in enumerate(LAYERS):
        def put(name, shape, std, mean=0.0, at=f"layers.{layer}."):
            tensors[at + name] = plain(at + name, shape, std, mean)

        put("input_layernorm.weight", (HIDDEN,), 0.3)
        put("post_attention_layernorm.weight", (HIDDEN,), 0.3)
        put("mlp.gate.weight", (EXPERTS, HIDDEN), 1.5 / 16)
        put("mlp.shared_expert_gate.weight", (1, HIDDEN), 1.0 / 16)
        if mixer == "full_attention":
            put("self_attn.q_norm.weight", (HEAD_DIM,), 0.3)
            put("self_attn.k_norm.weight", (HEAD_DIM,), 0.3)
        else:
            put("linear_attn.conv1d.weight", (CONV_DIM, 1, 4), 0.6)
            put("linear_attn.A_log", (VALUE_HEADS,), 1.5, -1.5)
            put("linear_attn.dt_bias", (VALUE_HEADS,), 1.5, -0.5)
            put("linear_attn.norm.weight", (LINEAR_DIM,), 0.3, 1.0)
    return tensors


def visual_tensors():
    """The vision tower, by name below `visual.`."""
    h, w, merged = VISION_HIDDEN, VISION_WIDTH, 4 * VISION_HIDDEN
    shapes = {"patch_embed.proj.weight": (h, 3, 2, PATCH, PATCH), "patch_embed.proj.bias": (h,),
              "pos_embed.weight": (16, h)}
    for part, outputs, inputs in (("attn.qkv", 3 * h, h), ("attn.proj", h, h), ("mlp.linear_fc1", w, h),
                                  ("mlp.linear_fc2", h, w)):
        shapes |= {f"blocks.0.{part}.weight": (outputs, inputs), f"blocks.0.{part}.bias": (outputs,)}
    for norm in ("blocks.0.norm1", "blocks.0.norm2", "merger.norm"):
        shapes |= {f"{norm}.weight": (h,), f"{norm}.bias": (h,)}
    shapes |= {"merger.linear_fc1.weight": (merged, merged), "merger.linear_fc1.bias": (merged,),
               "merger.linear_fc2.weight": (HIDDEN, merged), "merger.linear_fc2.bias": (HIDDEN,)}
    return {name: plain(f"visual.{name}", shape, 0.2) for name, shape in shapes.items()}


def mtp_tensors():
    """A multi-token head in the original layout: one full-attention layer and four of its own."""
    tensors = {"fc.weight": plain("mtp.fc", (HIDDEN, 2 * HIDDEN), 0.05)}
    for norm in ("norm", "pre_fc_norm_embedding", "pre_fc_norm_hidden", "layers.0.input_layernorm",
                 "layers.0.post_attention_layernorm"):
        tensors[f"{norm}.weight"] = plain(f"mtp.{norm}", (HIDDEN,), 0.3)
    for norm in ("q_norm", "k_norm"):
        tensors[f"layers.0.self_attn.{norm}.weight"] = plain(f"mtp.{norm}", (HEAD_DIM,), 0.3)
    tensors["layers.0.mlp.gate.weight"] = plain("mtp.gate", (EXPERTS, HIDDEN), 0.1)
    tensors["layers.0.mlp.shared_expert_gate.weight"] = plain("mtp.shared_gate", (1, HIDDEN), 0.1)
    return tensors


def mtp_linears():
    return {name: make_linear("g128", f".mtp.{name}", outputs, inputs, gain)
            for name, outputs, inputs, gain in linear_shapes(0, "full_attention")}


def config():
    """config.json of the ForConditionalGeneration form, unquantized."""
    text = {
        "model_type": "qwen3_5_moe_text", "vocab_size": VOCAB, "hidden_size": HIDDEN, "head_dim": HEAD_DIM,
        "num_hidden_layers": len(LAYERS), "layer_types": LAYERS, "full_attention_interval": 2,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "hidden_act": "silu", "rms_norm_eps": 1e-6,
        "attention_bias": False, "attention_dropout": 0.0, "attn_output_gate": True, "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": LINEAR_DIM, "linear_value_head_dim": LINEAR_DIM, "linear_num_key_heads": KEY_HEADS,
        "linear_num_value_heads": VALUE_HEADS, "mamba_ssm_dtype": "float32", "max_position_embeddings": 4096,
        "mlp_only_layers": [], "num_experts": EXPERTS, "num_experts_per_tok": TOP_K,
        "moe_intermediate_size": EXPERT_WIDTH, "shared_expert_intermediate_size": SHARED_WIDTH,
        "mtp_num_hidden_layers": 1, "mtp_use_dedicated_embeddings": False, "initializer_range": 0.02,
        "use_cache": True, "dtype": "bfloat16", "eos_token_id": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000000, "partial_rotary_factor": 0.5,
                            "mrope_section": [6, 5, 5], "mrope_interleaved": True},
    }
    vision = {"model_type": "qwen3_5_moe", "depth": 1, "hidden_size": VISION_HIDDEN, "num_heads": 2, "in_channels": 3,
              "intermediate_size": VISION_WIDTH, "out_hidden_size": HIDDEN, "patch_size": PATCH,
              "temporal_patch_size": 2, "spatial_merge_size": 2, "num_position_embeddings": 16,
              "hidden_act": "gelu_pytorch_tanh", "initializer_range": 0.02, "deepstack_visual_indexes": []}
    return {"architectures": ["Qwen3_5MoeForConditionalGeneration"], "model_type": "qwen3_5_moe",
            "image_token_id": VOCAB - 2, "video_token_id": VOCAB - 3, "vision_start_token_id": VOCAB - 4,
            "vision_end_token_id": VOCAB - 5, "tie_word_embeddings": False, "text_config": text,
            "vision_config": vision, "transformers_version": "4.57.0.dev0"}


def prompts():
    """The input lines on which every fixture is compared."""
    return [{"id": f"p{length}", "token_ids": integers(f"prompt/{length}", (length,), 0, VOCAB - 8).tolist()}
            for length in (1, 7, 70)]
