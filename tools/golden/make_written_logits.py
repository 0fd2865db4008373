"""Writes tests/golden/written_logits: reference logits of the checkpoints that real tools wrote (tests/golden/written).

Every packed matrix is dequantized here by the tools' own definition, w = (code - zero) * scale in float32, and put into
Transformers' model; the other tensors are taken as they are. Logits in float32, eager attention.
"""

import json
import pathlib
import sys

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from safetensors.torch import load_file

import make_logits

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"
LENGTHS = [1, 7, 70]
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def split(words, order=range(8)):
    """(rows, columns) int32 -> (rows, columns, 8) numbers of 4 bits, in the order in which they count."""
    unsigned = words.to(torch.int64) & 0xFFFFFFFF
    slots = torch.stack([(unsigned >> (4 * s)) & 15 for s in range(8)], dim=-1)
    return slots[..., torch.argsort(torch.tensor(list(order)))]


def dequantize(tensors, name, config):
    """float32 (outputs, inputs) of a module packed as GPTQ or AWQ."""
    words, zeros = tensors[f"{name}.qweight"], tensors[f"{name}.qzeros"].to(torch.int64)
    scales = tensors[f"{name}.scales"].float()
    if config["quant_method"] == "awq":
        codes = split(words, AWQ_ORDER).flatten(1)
        zeros = split(zeros, AWQ_ORDER).flatten(1)
    else:
        codes = split(words).permute(0, 2, 1).flatten(0, 1)
        version_1 = (config.get("checkpoint_format") or config.get("packing_format") or "gptq") != "gptq_v2"
        zeros = split(zeros + (0x11111111 if version_1 else 0)).flatten(1)
    inputs, size = codes.shape[0], config["group_size"]
    group = torch.arange(inputs) // (inputs if size == -1 else size)
    if f"{name}.g_idx" in tensors:
        group = tensors[f"{name}.g_idx"].long()
    zeros = zeros[:, : scales.shape[1]]
    return ((codes - zeros[group]) * scales[group]).T.contiguous()


def decompress(tensors, name):
    """float32 (outputs, inputs) of a module in compressed-tensors' pack-quantized form, symmetric, by that library."""
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32

    codes = unpack_from_int32(tensors[f"{name}.weight_packed"], 4, torch.Size(tensors[f"{name}.weight_shape"].tolist()))
    scales = tensors[f"{name}.weight_scale"].float()
    return codes.float() * scales.repeat_interleave(codes.shape[1] // scales.shape[1], dim=1)


def dense_state(folder):
    """name -> float32 tensor, in the names of Transformers' modules."""
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file)
    state = {}
    for name, value in tensors.items():
        beside = (".qzeros", ".scales", ".g_idx", ".bias", ".weight_scale", ".weight_shape")
        if name.startswith("mtp.") or name.endswith(beside) and "visual" not in name:
            continue
        if name.endswith(".qweight"):
            module = name.removesuffix(".qweight")
            state[f"{module}.weight"] = dequantize(tensors, module, config)
        elif name.endswith(".weight_packed"):
            module = name.removesuffix(".weight_packed")
            state[f"{module}.weight"] = decompress(tensors, module)
        else:
            state[name] = value.float()
    return state


def stack_experts(state):
    """The per-expert matrices as Transformers holds them: gate and up in one, all experts in one tensor."""
    modules = sorted({n.split(".experts.")[0] for n in state if ".experts." in n})
    for module in modules:
        count = 1 + max(int(n.split(".experts.")[1].split(".")[0]) for n in state if n.startswith(f"{module}.experts."))
        parts = {m: [state.pop(f"{module}.experts.{e}.{m}.weight") for e in range(count)]
                 for m in ("gate_proj", "up_proj", "down_proj")}
        state[f"{module}.experts.gate_up_proj"] = torch.stack(
            [torch.cat(pair) for pair in zip(parts["gate_proj"], parts["up_proj"])])
        state[f"{module}.experts.down_proj"] = torch.stack(parts["down_proj"])
    return state


def model_of(folder):
    config = transformers.AutoConfig.from_pretrained(folder)
    del config.quantization_config
    config._attn_implementation = config._experts_implementation = "eager"
    cls = getattr(transformers, config.architectures[0])
    model = cls(config).float().eval()
    state = stack_experts(dense_state(folder))
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or [m for m in missing if "rotary" not in m]:
        raise SystemExit(f"{folder.name}: missing {missing}, unexpected {unexpected}")
    return model


def write(folder):
    model = model_of(folder)
    watch = make_logits.RouterWatch(model)
    vocab = model.get_input_embeddings().weight.shape[0]
    tensors, lines, prompts = {}, [], {}
    for length in LENGTHS:
        for attempt in range(100):
            generator = np.random.default_rng([length, attempt])
            tokens = generator.integers(0, vocab - 32, length).tolist()
            watch.take()
            logits = make_logits.logits_of(model, tokens)
            if watch.take() >= make_logits.ROUTER_MARGIN:
                break
        key = f"fixed-{length}"
        tensors[f"{key}.logits"] = logits
        lines.append({"id": key, "token_ids": tokens})
        prompts[key] = {"tokens": length, "spread": float(logits.std()), "positions": "all"}
    out = GOLDEN / "written_logits" / folder.name
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / "logits.safetensors")
    (out / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made_with = {"transformers": transformers.__version__, "torch": torch.__version__, "attention": "eager"}
    (out / "reference.json").write_text(json.dumps({"made_with": made_with, "prompts": prompts}, indent=1) + "\n")
    print(f"{folder.name}: spread {logits.std():.3f}")


def main():
    transformers.logging.set_verbosity_error()
    names = sys.argv[1:] or [p.name for p in sorted((GOLDEN / "written").iterdir())]
    for name in names:
        write(GOLDEN / "written" / name)


if __name__ == "__main__":
    main()
