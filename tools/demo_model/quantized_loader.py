"""Loads a demo checkpoint with Transformers: BF16 folders as they are, W4A16 folders by dequantizing them first.

Transformers itself does not know the published expert names (`experts.gate_up_proj.{e}.qweight`). Used by evaluate.py.
"""

import json

import torch
from safetensors import safe_open


def unpack(qweight, qzeros, scales):
    """(out, in) fp32 of one GPTQ-packed (v1 zero points) linear: qweight [in/8, out], qzeros [groups, out/8], scales [groups, out]."""
    shifts = torch.arange(0, 32, 4, dtype=torch.int32)
    codes = (qweight.unsqueeze(1) >> shifts.view(1, 8, 1)) & 15
    codes = codes.reshape(-1, qweight.shape[1])
    zeros = ((qzeros.unsqueeze(2) >> shifts.view(1, 1, 8)) & 15).reshape(qzeros.shape[0], -1) + 1
    group = torch.arange(codes.shape[0]) // -(-codes.shape[0] // scales.shape[0])
    return ((codes - zeros[group]).float() * scales.float()[group]).T.contiguous()


def dequantized(folder):
    """All tensors of a W4A16 folder under the names of the BF16 checkpoint."""
    with open(f"{folder}/model.safetensors.index.json", encoding="utf-8") as f:
        files = sorted(set(json.load(f)["weight_map"].values()))
    raw = {}
    for file in files:
        with safe_open(f"{folder}/{file}", "pt") as f:
            raw.update({name: f.get_tensor(name) for name in f.keys()})
    out, experts = {}, {}
    for name, tensor in raw.items():
        if name.endswith((".qzeros", ".scales")):
            continue
        if not name.endswith(".qweight"):
            out[name] = tensor
            continue
        base = name[: -len(".qweight")]
        weight = unpack(tensor, raw[base + ".qzeros"], raw[base + ".scales"])
        head, _, last = base.rpartition(".")
        if last.isdigit():
            experts.setdefault(head, {})[int(last)] = weight
        else:
            out[base + ".weight"] = weight
    for head, parts in experts.items():
        out[head] = torch.stack([parts[e] for e in range(len(parts))])
    return out


def load_any(folder, dtype):
    from transformers import Qwen3_5MoeConfig, Qwen3_5MoeForConditionalGeneration

    with open(f"{folder}/config.json", encoding="utf-8") as f:
        config = json.load(f)
    if "quantization_config" not in config:
        return Qwen3_5MoeForConditionalGeneration.from_pretrained(folder, dtype=dtype)
    config.pop("quantization_config")
    model = Qwen3_5MoeForConditionalGeneration(Qwen3_5MoeConfig.from_dict(config)).to(dtype)
    missing, unexpected = model.load_state_dict(dequantized(folder), strict=False)
    missing = [name for name in missing if name != "lm_head.weight"]
    if missing or unexpected:
        raise ValueError(f"{folder}: missing {missing[:5]}, unexpected {unexpected[:5]}")
    model.tie_weights()
    return model
