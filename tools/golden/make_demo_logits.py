"""Writes tests/golden/demo_logits: Transformers' float32 logits of the two demo models on real conversations.

The packed matrices of models/demo are dequantized here by their definition, as in make_written_logits. Every third
position is kept, and the last: a row of the vocabulary is 32 KiB.
"""

import json
import pathlib

import torch
import transformers
from safetensors.numpy import save_file

import make_logits
import make_written_logits

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONVERSATIONS = {
    "fact": "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
            "The capital of France is Paris.<|im_end|>\n",
    "sum": "<|im_start|>user\nWhat is 17 plus 25?<|im_end|>\n<|im_start|>assistant\n<think>\nOnes: 7 + 5 = 12, so 2, carry 1.",
    "strange": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n12 Ünïcode tøkens, naïve 日本 🙂\n\tx = [1, 2]",
}


def stack_fused_experts(state):
    """experts.gate_up_proj.{e} and experts.down_proj.{e}, the published spelling, as Transformers holds them."""
    for name in ("gate_up_proj", "down_proj"):
        for module in sorted({n.split(f".experts.{name}.")[0] for n in state if f".experts.{name}." in n}):
            prefix = f"{module}.experts.{name}."
            count = sum(n.startswith(prefix) for n in state)
            state[prefix[:-1]] = torch.stack([state.pop(f"{prefix}{e}.weight") for e in range(count)])
    return state


def model_of(folder):
    config = transformers.AutoConfig.from_pretrained(folder)
    if not hasattr(config, "quantization_config"):
        return make_logits.load(folder, torch.float32)
    del config.quantization_config
    config._attn_implementation = config._experts_implementation = "eager"
    model = getattr(transformers, config.architectures[0])(config).float().eval()
    state = stack_fused_experts(make_written_logits.dense_state(folder))
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or [m for m in missing if "rotary" not in m and m != "lm_head.weight"]:
        raise SystemExit(f"{folder.name}: missing {missing}, unexpected {unexpected}")
    model.tie_weights()
    return model


def write(name):
    folder = ROOT / "models" / name
    model = model_of(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tensors, lines, prompts = {}, [], {}
    for key, text in CONVERSATIONS.items():
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        positions = sorted({*range(0, len(tokens), 3), len(tokens) - 1})
        with torch.no_grad():
            logits = make_logits.logits_of(model, tokens)
        tensors[f"{key}.logits"] = logits[positions].copy()
        lines.append({"id": key, "token_ids": tokens})
        prompts[key] = {"tokens": len(tokens), "spread": float(logits.std()), "positions": positions}
    out = ROOT / "tests" / "golden" / "demo_logits" / name
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / "logits.safetensors")
    (out / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made_with = {"transformers": transformers.__version__, "torch": torch.__version__, "attention": "eager"}
    (out / "reference.json").write_text(json.dumps({"made_with": made_with, "prompts": prompts}, indent=1) + "\n")


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    for demo in ("demo-bf16", "demo"):
        write(demo)
