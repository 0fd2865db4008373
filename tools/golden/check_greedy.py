"""Judges the greedy continuations of `sheaf generate` on a golden model (needs nothing but Python).

    check_greedy.py REFERENCE (--output FILE | --sheaf PROGRAM --model FOLDER [--device cuda])

The tokens must be those of Transformers' float32 run up to the first step at which its two best logits lie closer
together than the float32 tolerance (2e-3 of the spread); what follows such a step is not comparable. Where the output
carries log probabilities of the tokens taken, they must agree within the same tolerance. Exit status 0 or 1.
"""

import argparse
import json
import pathlib
import subprocess
import sys

from devices import require_device

TOLERANCE = 2e-3  # of the spread of the model's logits


def generate(program, model, device, prompts):
    lines = []
    for line in prompts.read_text().splitlines():
        lines.append(json.dumps(json.loads(line) | {"logprobs": True}))
    command = [program, "generate", str(model), "--device", device, "--dtype", "float32", "--input", "-"]
    run = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\nexit status {run.returncode}\n{run.stderr}")
    return run.stdout


def log_probabilities(line):
    """Of the tokens taken, in the chat completions' form or as a plain list; None where the output has none."""
    entry = line.get("logprobs")
    if isinstance(entry, dict):
        entry = entry.get("content")
    if not entry:
        return None
    return [step["logprob"] if isinstance(step, dict) else step for step in entry]


def judge(key, line, expected, tolerance):
    """What is wrong with one continuation, or None; and how many tokens were compared."""
    if "error" in line:
        return f"error: {line['error']}", 0
    tokens = line["token_ids"]
    if len(tokens) != len(expected["token_ids"]):
        return f"{len(tokens)} tokens instead of {len(expected['token_ids'])}", 0
    given = log_probabilities(line)
    for step, (token, wanted) in enumerate(zip(tokens, expected["token_ids"])):
        if token != wanted:
            if expected["gaps"][step] > tolerance:
                return f"step {step}: token {token} instead of {wanted}, gap {expected['gaps'][step]:.4f}", step
            return None, step
        if given and abs(given[step] - expected["logprobs"][step]) > tolerance:
            return (f"step {step}: log probability {given[step]:.5f} instead of {expected['logprobs'][step]:.5f}"), step
    return None, len(tokens)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("reference", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--sheaf")
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if (options.output is None) == (options.sheaf is None) or (options.sheaf and options.model is None):
        parser.error("give either --output, or --sheaf and --model")
    if options.sheaf:
        require_device(options.sheaf, options.device)
        output = generate(options.sheaf, options.model, options.device, options.reference / "greedy.jsonl")
    else:
        output = options.output.read_text()
    lines = {line["id"]: line for line in map(json.loads, output.splitlines())}
    report = json.loads((options.reference / "reference.json").read_text())
    faults, compared, with_logprobs = 0, 0, 0
    for key, expected in report["greedy"].items():
        if key not in lines:
            fault, count = "no line in the output", 0
        else:
            fault, count = judge(key, lines[key], expected, TOLERANCE * report["spread"])
            with_logprobs += log_probabilities(lines[key]) is not None
        compared += count
        if fault:
            faults += 1
            print(f"  {key}: {fault}")
    print(f"greedy: {compared} tokens of {len(report['greedy'])} continuations agree, {with_logprobs} with log "
          f"probabilities, {faults} at fault")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
