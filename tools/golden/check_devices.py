"""Holds a GPU's logits against the CPU's on random weights in a published model's head shapes (needs numpy and safetensors).

    check_devices.py CONFIG --sheaf PROGRAM [--device cuda] [--layers 4] [--experts 24] [--vocabulary 4096] [--tokens N...]

CONFIG is a config.json; layers, experts and vocabulary are cut down so that the CPU is done in seconds, everything
else keeps its size. One prompt of each length is scored by the CPU in float32, and by the device in float32 (every
position below 2e-3 of the spread of the logits) and in bfloat16 (mean error over all positions below 2.9 % of the spread:
1.25 times that of Transformers' own bfloat16 run of the golden model with most experts). Greedy tokens in float32 are
the CPU's.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import load_file

from devices import require_device

FLOAT32_BAR = 2e-3
BFLOAT16_MEAN_BAR = 1.25 * 0.0231


def smaller(path, layers, experts, vocabulary):
    config = json.loads(path.read_text())
    text = config.get("text_config", config)
    text["num_hidden_layers"], text["layer_types"] = layers, text["layer_types"][:layers]
    text["vocab_size"], text["eos_token_id"] = vocabulary, vocabulary - 1
    if text.get("num_experts", 0):
        text["num_experts"] = experts
    return config


def run(command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\nexit status {result.returncode}\n{result.stderr}")
    return result.stdout


def errors(ours, truth, name):
    expected = truth[name]
    difference = np.abs(ours[name].astype(np.float64) - expected) / expected.std()
    if not np.isfinite(difference).all():
        raise SystemExit(f"{name}: logits that are not finite")
    return difference


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=pathlib.Path)
    parser.add_argument("--sheaf", required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--experts", type=int, default=24)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 9, 130, 600])
    options = parser.parse_args()
    require_device(options.sheaf, options.device)
    faults = 0
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        model = scratch / "config.json"
        model.write_text(json.dumps(smaller(options.config, options.layers, options.experts, options.vocabulary)))
        random = np.random.default_rng(5)
        prompts = [{"id": f"{count}", "token_ids": random.integers(0, options.vocabulary - 1, count).tolist()}
                   for count in options.tokens]
        lines = scratch / "prompts.jsonl"
        lines.write_text("".join(json.dumps(p) + "\n" for p in prompts))

        def score(device, dtype):
            output = scratch / f"{device}-{dtype}.safetensors"
            run([options.sheaf, "score", str(model), "--random-weights", "--device", device, "--dtype", dtype,
                 "--input", str(lines), "--logits", str(output)])
            return load_file(output)

        def greedy(device):
            few = "".join(json.dumps(p | {"max_tokens": 16, "temperature": 0, "ignore_eos": True}) + "\n" for p in prompts[:3])
            (scratch / "few.jsonl").write_text(few)
            out = run([options.sheaf, "generate", str(model), "--random-weights", "--device", device, "--dtype", "float32",
                       "--max-model-len", "1024", "--max-num-seqs", "4", "--input", str(scratch / "few.jsonl")])
            return {line["id"]: line["token_ids"] for line in map(json.loads, out.splitlines())}

        truth = score("cpu", "float32")
        for dtype in ("float32", "bfloat16"):
            ours, means, largest = score(options.device, dtype), [], 0.0
            for prompt in prompts:
                key = f"{prompt['id']}.logits"
                difference = errors(ours, truth, key)
                same = (ours[key].argmax(1) == truth[key].argmax(1)).mean()
                means += list(difference.mean(axis=1))
                largest = max(largest, difference.max())
                print(f"  {dtype}, {prompt['id']} tokens: mean {difference.mean():.2e}, largest {difference.max():.2e} of the "
                      f"spread, same best token {100 * same:.1f} %")
            if not (largest < FLOAT32_BAR if dtype == "float32" else np.mean(means) < BFLOAT16_MEAN_BAR):
                faults += 1
                print(f"  {dtype}: mean {np.mean(means):.2e}, largest {largest:.2e}: beyond the bar")
        wanted, given = greedy("cpu"), greedy(options.device)
        for key, tokens in wanted.items():
            if given.get(key) != tokens:
                faults += 1
                print(f"  greedy, prompt of {key}: {given.get(key)} instead of {tokens}")
    print(f"{options.config.name}: {faults} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
