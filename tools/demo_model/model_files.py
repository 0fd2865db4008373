"""The demo model's configuration and the files of its checkpoint folder, BF16 and W4A16.

Used by train.py and quantize.py. Layout and names follow the published Qwen3.5-MoE checkpoints.
"""

import json
import os
import shutil

import torch
from safetensors.torch import save_file

LAYER_TYPES = ["linear_attention", "linear_attention", "linear_attention", "full_attention"] * 2
HERE = os.path.dirname(os.path.abspath(__file__))
SHARD_BYTES = 14 << 20


def config_dict():
    text = {
        "attention_bias": False, "attention_dropout": 0.0, "attn_output_gate": True, "dtype": "bfloat16", "eos_token_id": 8100,
        "full_attention_interval": 4, "head_dim": 256, "hidden_act": "silu", "hidden_size": 256, "initializer_range": 0.02,
        "layer_types": LAYER_TYPES, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_num_key_heads": 2,
        "linear_num_value_heads": 4, "linear_value_head_dim": 128, "mamba_ssm_dtype": "float32", "max_position_embeddings": 4096,
        "mlp_only_layers": [], "model_type": "qwen3_5_moe_text", "moe_intermediate_size": 128, "num_attention_heads": 4,
        "num_experts": 15, "num_experts_per_tok": 4, "num_hidden_layers": 8, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
        "rope_parameters": {"mrope_interleaved": True, "mrope_section": [11, 11, 10], "partial_rotary_factor": 0.25,
                            "rope_theta": 10000000, "rope_type": "default"},
        "router_aux_loss_coef": 0.001, "shared_expert_intermediate_size": 128, "tie_word_embeddings": True, "use_cache": True, "vocab_size": 8192}
    vision = {
        "deepstack_visual_indexes": [], "depth": 4, "hidden_act": "gelu_pytorch_tanh", "hidden_size": 128, "in_channels": 3,
        "initializer_range": 0.02, "intermediate_size": 384, "model_type": "qwen3_5_moe", "num_heads": 2, "num_position_embeddings": 2304,
        "out_hidden_size": 256, "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2}
    return {"architectures": ["Qwen3_5MoeForConditionalGeneration"], "image_token_id": 8112, "model_type": "qwen3_5_moe",
            "text_config": text, "tie_word_embeddings": True, "transformers_version": "5.17.0", "video_token_id": 8113,
            "vision_config": vision, "vision_end_token_id": 8110, "vision_start_token_id": 8109}


PREPROCESSOR = {
    "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "Qwen2VLImageProcessorFast", "image_std": [0.5, 0.5, 0.5], "merge_size": 2, "patch_size": 16,
    "processor_class": "Qwen3VLProcessor", "resample": 3, "rescale_factor": 0.00392156862745098,
    "size": {"longest_edge": 16777216, "shortest_edge": 65536}, "temporal_patch_size": 2}
VIDEO_PREPROCESSOR = {
    "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True, "do_sample_frames": True, "fps": 2,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "max_frames": 768, "merge_size": 2, "min_frames": 4,
    "patch_size": 16, "processor_class": "Qwen3VLProcessor", "resample": 3, "rescale_factor": 0.00392156862745098,
    "size": {"longest_edge": 25165824, "shortest_edge": 4096}, "temporal_patch_size": 2, "video_processor_type": "Qwen3VLVideoProcessor"}
GENERATION = {"bos_token_id": 8100, "do_sample": True, "eos_token_id": [8102, 8100], "pad_token_id": 8100, "temperature": 0.6,
              "top_k": 20, "top_p": 0.95, "transformers_version": "5.17.0"}


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=2)
        f.write("\n")


def write_side_files(folder, tokenizer_folder, config):
    """Everything beside the weights."""
    os.makedirs(folder, exist_ok=True)
    write_json(f"{folder}/config.json", config)
    write_json(f"{folder}/generation_config.json", GENERATION)
    write_json(f"{folder}/preprocessor_config.json", PREPROCESSOR)
    write_json(f"{folder}/video_preprocessor_config.json", VIDEO_PREPROCESSOR)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(f"{tokenizer_folder}/{name}", f"{folder}/{name}")
    shutil.copyfile(f"{HERE}/chat_template.jinja", f"{folder}/chat_template.jinja")


def stored_dtype(name):
    """As the published BF16 files: everything BF16 except A_log and the DeltaNet norm."""
    return torch.float32 if name.endswith(("A_log", "linear_attn.norm.weight")) else torch.bfloat16


def save_bf16(model, folder):
    """Sharded safetensors with the published tensor names; the tied head is not stored."""
    tensors = {n: t.detach().to(stored_dtype(n)).cpu().contiguous() for n, t in model.state_dict().items() if n != "lm_head.weight"}
    shards, size = [{}], 0
    for name in sorted(tensors):
        tensor = tensors[name]
        amount = tensor.numel() * tensor.element_size()
        if size + amount > SHARD_BYTES and shards[-1]:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += amount
    index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in tensors.values())}, "weight_map": {}}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, f"{folder}/{file}", metadata={"format": "pt"})
        index["weight_map"].update({name: file for name in shard})
    write_json(f"{folder}/model.safetensors.index.json", index)
