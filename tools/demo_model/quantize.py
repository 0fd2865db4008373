"""Quantizes the BF16 demo checkpoint with AutoRound (W4A16) and rewrites the result in the layout of the published
Qwen3.5-REAP-262B-A17B-W4A16: gate and up of an expert fused again, explicit names of what stays in 16 bit, the vision
encoder in a file of its own.

    quantize.py BF16_FOLDER CALIBRATION.jsonl WORK_FOLDER OUT_FOLDER [--iters 200] [--nsamples 128] [--seqlen 512]
"""

import argparse
import glob
import json
import os
import re
import shutil

import torch
from safetensors import safe_open
from safetensors.torch import save_file

import model_files

SIDE_FILES = ("chat_template.jinja", "generation_config.json", "preprocessor_config.json", "video_preprocessor_config.json",
              "tokenizer.json", "tokenizer_config.json")
SPLIT = re.compile(r"(.*\.mlp\.experts)\.(\d+)\.(gate|up|down)_proj\.(qweight|qzeros|scales)$")


def run_autoround(source, dataset, out, args):
    from auto_round import AutoRound

    rounder = AutoRound(model=source, scheme="W4A16", dataset=dataset, iters=args.iters, nsamples=args.nsamples, seqlen=args.seqlen,
                        batch_size=8, seed=42, device_map=args.device, enable_torch_compile=False)
    rounder.quantize_and_save(output_dir=out, format="auto_round:auto_gptq")


def read_folder(folder):
    tensors = {}
    for path in sorted(glob.glob(f"{folder}/**/*.safetensors", recursive=True)):
        with safe_open(path, "pt") as f:
            tensors.update({name: f.get_tensor(name) for name in f.keys()})
    return tensors


def published_names(tensors, source):
    """AutoRound's tensors under the published names; 16-bit tensors and dtypes as in the source."""
    out, halves = {}, {}
    for name, tensor in tensors.items():
        if name.startswith("model.layers."):  # versions differ in the prefix
            name = "model.language_model." + name[len("model."):]
        match = SPLIT.match(name)
        if not match:
            out[name] = tensor
            continue
        head, expert, part, kind = match.groups()
        if part == "down":
            out[f"{head}.down_proj.{expert}.{kind}"] = tensor
        else:
            halves.setdefault((head, expert, kind), {})[part] = tensor
    for (head, expert, kind), pair in halves.items():  # columns are output features: gate first, then up
        out[f"{head}.gate_up_proj.{expert}.{kind}"] = torch.cat([pair["gate"], pair["up"]], dim=1).contiguous()
    for name, tensor in source.items():
        quantized = name.removesuffix(".weight") + ".qweight"
        fused = any(key.startswith(name + ".0.") for key in (f"{name}.0.qweight",) if key in out)
        if quantized in out or fused:
            continue
        out[name] = tensor
    unknown = [n for n in out if n not in source and not n.endswith((".qweight", ".qzeros", ".scales"))]
    for name in unknown:
        if name != "lm_head.weight":
            raise ValueError(f"AutoRound wrote {name}, which the source does not have")
        del out[name]
    return out


def quantization_config(tensors, layers, args, version):
    extra = {}
    for i in range(layers):
        for part in ("mlp.gate", "mlp.shared_expert_gate", "linear_attn.in_proj_a", "linear_attn.in_proj_b"):
            name = f"model.language_model.layers.{i}.{part}"
            if name + ".weight" in tensors:
                extra[name] = {"bits": 16, "data_type": "float"}
    return {"quant_method": "auto-round", "bits": 4, "group_size": 128, "sym": True, "data_type": "int", "iters": args.iters,
            "nsamples": args.nsamples, "seqlen": args.seqlen, "autoround_version": version,
            "packing_format": "auto_round:auto_gptq", "block_name_to_quantize": "model.language_model.layers", "extra_config": extra}


def write_folder(tensors, source_folder, out, args, version):
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    vision = {n: t for n, t in tensors.items() if n.startswith("model.visual.")}
    text = {n: t for n, t in tensors.items() if n not in vision}
    save_file(dict(sorted(text.items())), f"{out}/model.safetensors", metadata={"format": "pt"})
    save_file(dict(sorted(vision.items())), f"{out}/visual-encoder-clean.safetensors", metadata={"format": "pt"})
    index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in tensors.values())},
             "weight_map": {n: "visual-encoder-clean.safetensors" if n in vision else "model.safetensors" for n in sorted(tensors)}}
    model_files.write_json(f"{out}/model.safetensors.index.json", index)
    with open(f"{source_folder}/config.json", encoding="utf-8") as f:
        config = json.load(f)
    config["quantization_config"] = quantization_config(tensors, config["text_config"]["num_hidden_layers"], args, version)
    model_files.write_json(f"{out}/config.json", config)
    model_files.write_json(f"{out}/quantization_config.json", config["quantization_config"])
    for name in SIDE_FILES:
        shutil.copyfile(f"{source_folder}/{name}", f"{out}/{name}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("dataset")
    parser.add_argument("work")
    parser.add_argument("out")
    parser.add_argument("--iters", type=int, default=200)
    parser.add_argument("--nsamples", type=int, default=128)
    parser.add_argument("--seqlen", type=int, default=512)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--convert-only", action="store_true", help="AutoRound's own output is already in WORK_FOLDER")
    args = parser.parse_args()
    if not args.convert_only:
        run_autoround(args.source, args.dataset, args.work, args)
    import importlib.metadata

    source = read_folder(args.source)
    tensors = published_names(read_folder(args.work), source)
    write_folder(tensors, args.source, args.out, args, importlib.metadata.version("auto-round"))
    quantized = sum(n.endswith(".qweight") for n in tensors)
    negative = torch.cat([t.flatten() for n, t in tensors.items() if n.endswith(".scales")]).lt(0).float().mean()
    print(f"{len(tensors)} tensors, {quantized} quantized linears, {negative:.1%} of the scales negative")


if __name__ == "__main__":
    main()
