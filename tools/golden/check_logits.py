"""Judges the logits that `sheaf score` gives for a golden model against Transformers' (needs numpy and safetensors only).

    check_logits.py REFERENCE --dtype float32|bfloat16 (--logits FILE | --sheaf PROGRAM --model FOLDER [--device cuda])

REFERENCE is a folder of tests/golden/logits. With --sheaf the program is run first, on REFERENCE/prompts.jsonl.

float32: at every stored position the largest error is below 2e-3 of the prompt's spread (its logits' standard
deviation). bfloat16: rounding sends single tokens to other experts, so the errors are compared with those of
Transformers' own bfloat16 run, as the geometric mean of the ratio over all prompts (at least 20): at most 1.25 for
the mean and the median, at most 1.4 for the maximum. Exit status 0 if the bars hold, 1 if not.
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
BFLOAT16_BARS = {"mean": 1.25, "median": 1.25, "max": 1.4}
LEAST_PROMPTS = 20


def prompts_of(reference):
    with open(reference / "prompts.jsonl", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def checked_logits(ours, prompt, vocab):
    """The logits of one prompt, all positions, after a check of their form."""
    key, tokens = prompt["id"], prompt["token_ids"]
    for name in (f"{key}.token_ids", f"{key}.logits"):
        if name not in ours:
            raise SystemExit(f"no tensor {name} in the output")
    ids, logits = ours[f"{key}.token_ids"], ours[f"{key}.logits"]
    if ids.dtype != np.int32 or ids.tolist() != tokens:
        raise SystemExit(f"{key}.token_ids ({ids.dtype}, {ids.shape}) is not the prompt")
    if logits.dtype != np.float32 or logits.shape != (len(tokens), vocab):
        raise SystemExit(f"{key}.logits is {logits.dtype} {logits.shape}, expected float32 {(len(tokens), vocab)}")
    if not np.isfinite(logits).all():
        raise SystemExit(f"{key}.logits holds {np.count_nonzero(~np.isfinite(logits))} values that are not finite")
    return logits.astype(np.float64)


def differences(reference, ours):
    """Per prompt: id, |ours - Transformers' float32| over stored positions x vocabulary, positions, its figures."""
    truth = load_file(reference / "logits.safetensors")
    facts = json.loads((reference / "reference.json").read_text())["prompts"]
    for prompt in prompts_of(reference):
        key = prompt["id"]
        expected, positions = truth[f"{key}.logits"], facts[key]["positions"]
        if positions == "all":
            positions = list(range(len(prompt["token_ids"])))
        logits = checked_logits(ours, prompt, expected.shape[1])
        yield key, np.abs(logits[positions] - expected), positions, facts[key]


def judge_float32(reference, ours):
    worst = (0.0, "", 0)
    for key, difference, positions, facts in differences(reference, ours):
        by_position = difference.max(axis=1) / facts["spread"]
        place = int(by_position.argmax())
        worst = max(worst, (float(by_position[place]), key, positions[place]))
        bad = np.flatnonzero(by_position >= FLOAT32_BAR)
        if bad.size:
            print(f"  {key}: {bad.size} of {len(positions)} positions beyond the bar, the first at token "
                  f"{positions[bad[0]]} (error {by_position[bad[0]]:.2e} of the spread)")
    error, key, position = worst
    print(f"float32: worst error {error:.2e} of the spread, at token {position} of {key}; bar {FLOAT32_BAR:.0e}")
    return error < FLOAT32_BAR


def judge_bfloat16(reference, ours):
    logs = {kind: [] for kind in BFLOAT16_BARS}
    for key, difference, _, facts in differences(reference, ours):
        mine = {"mean": difference.mean(), "median": np.median(difference), "max": difference.max()}
        ratios = {kind: mine[kind] / facts["bfloat16"][kind] for kind in logs}
        for kind, ratio in ratios.items():
            logs[kind].append(np.log(max(ratio, 1e-6)))
        print(f"  {key}: " + ", ".join(f"{kind} {ratio:.3f}" for kind, ratio in ratios.items()))
    count = len(logs["mean"])
    if count < LEAST_PROMPTS:
        raise SystemExit(f"{count} prompts are too few for the bfloat16 bar, which wants {LEAST_PROMPTS}")
    means = {kind: float(np.exp(np.mean(values))) for kind, values in logs.items()}
    print(f"bfloat16: error over that of Transformers' bfloat16 run, geometric mean of {count} prompts: "
          + ", ".join(f"{kind} {means[kind]:.3f} (bar {bar})" for kind, bar in BFLOAT16_BARS.items()))
    return all(means[kind] <= bar for kind, bar in BFLOAT16_BARS.items())


def score(program, model, device, prompts, dtype, output):
    """Runs `sheaf score`; a failure ends the check with the program's own words."""
    command = [program, "score", str(model), "--device", device, "--dtype", dtype, "--input", str(prompts),
               "--logits", str(output)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\nexit status {run.returncode}\n{run.stderr}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("reference", type=pathlib.Path)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), required=True)
    parser.add_argument("--logits", type=pathlib.Path)
    parser.add_argument("--sheaf")
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if (options.logits is None) == (options.sheaf is None) or (options.sheaf and options.model is None):
        parser.error("give either --logits, or --sheaf and --model")
    with tempfile.TemporaryDirectory() as scratch:
        output = options.logits or pathlib.Path(scratch) / "logits.safetensors"
        if options.sheaf:
            require_device(options.sheaf, options.device)
            score(options.sheaf, options.model, options.device, options.reference / "prompts.jsonl", options.dtype, output)
        ours = load_file(output)
    judge = judge_float32 if options.dtype == "float32" else judge_bfloat16
    if not judge(options.reference, ours):
        sys.exit("the bar is not met")


if __name__ == "__main__":
    main()
