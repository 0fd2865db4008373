"""Writes tests/golden/formats: the logits of Transformers in float32 for every set of weights of format_source.py.

The dequantized values are put straight into the model's parameters; no file and no loader is between them and the
reference, so a fixture cannot be wrong in the same way as its reference.
"""

import json
import pathlib

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

import format_packing as packing
import format_source as source
from make_logits import RouterWatch, logits_of

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "formats"
LEAST_MARGIN = 1e-4  # between the last expert taken and the first left out


def weights_of(name):
    if name == "fp8":
        return packing.fp8_linears()
    return source.linears("g128" if name == "tied" else name)


def fill(model, linears):
    """Every text parameter exactly once; the vision tower keeps its random values, no prompt has an image."""
    values = dict(source.plain_tensors()) | {f"{n}.weight": w.values() for n, w in linears.items()}
    for layer in range(len(source.LAYERS)):
        at = f"layers.{layer}.mlp.experts."
        experts = [{m: values.pop(f"{at}{e}.{m}.weight") for m in ("gate_proj", "up_proj", "down_proj")}
                   for e in range(source.EXPERTS)]
        values[f"{at}gate_up_proj"] = np.stack([np.concatenate([x["gate_proj"], x["up_proj"]]) for x in experts])
        values[f"{at}down_proj"] = np.stack([x["down_proj"] for x in experts])
    if model.config.tie_word_embeddings:
        del values["lm_head.weight"]
    parameters = {n.removeprefix("model.language_model."): p for n, p in model.named_parameters() if "visual" not in n}
    assert parameters.keys() == values.keys(), parameters.keys() ^ values.keys()
    with torch.no_grad():
        for name, parameter in parameters.items():
            assert parameter.shape == values[name].shape, name
            parameter.copy_(torch.from_numpy(values[name]))


def reference(name):
    config = transformers.Qwen3_5MoeConfig(**(source.config() | {"tie_word_embeddings": name == "tied"}))
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    model = transformers.Qwen3_5MoeForConditionalGeneration(config).float().eval()
    fill(model, weights_of(name))
    watch = RouterWatch(model)
    tensors = {f"{name}.{p['id']}.logits": logits_of(model, p["token_ids"]) for p in source.prompts()}
    margin = watch.take()
    spread = float(np.std(tensors[f"{name}.p70.logits"]))
    doubled = logits_of(model.double(), source.prompts()[-1]["token_ids"])
    doubt = float(np.abs(doubled - tensors[f"{name}.p70.logits"]).max() / spread)
    print(f"{name}: spread {spread:.3f}, router margin {margin:.1e}, float64 error {doubt:.1e} of the spread")
    if margin < LEAST_MARGIN:
        raise SystemExit(f"{name}: two experts are nearly tied; change a prompt")
    return tensors


def main():
    transformers.logging.set_verbosity_error()
    OUT.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name in [*source.SETS, "fp8", "tied"]:
        tensors |= reference(name)
    save_file(tensors, OUT / "logits.safetensors")
    (OUT / "prompts.jsonl").write_text("".join(json.dumps(p) + "\n" for p in source.prompts()))


if __name__ == "__main__":
    main()
