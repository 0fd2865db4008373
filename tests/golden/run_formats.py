"""Every checkpoint layout gives the reference logits; everything else is refused in one clear line.

    run_formats.py --sheaf PROGRAM [--device cuda] [--only NAME...] [--keep FOLDER]

Good fixtures (tools/golden/make_formats.py) are scored in float32 and held against Transformers' logits of the same
weights, below 2e-3 of the spread; those of one group must give the same bytes; and `inspect` must count the same
parameters in each. Bad ones (format_faults.py) must end with exit status 1 and exactly one line on standard error
that names the culprit, and `inspect` must come to an orderly end, too.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import load_file

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tools" / "golden"))

import format_faults  # noqa: E402
import format_source  # noqa: E402
import make_formats  # noqa: E402
from devices import require_device  # noqa: E402

BAR = 2e-3
SECONDS = 120
PROMPTS = HERE / "formats" / "prompts.jsonl"


def score(program, model, output, device="cpu"):
    command = [program, "score", str(model), "--device", device, "--dtype", "float32", "--log-level", "error",
               "--input", str(PROMPTS), "--logits", str(output)]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)


def inspect(program, model):
    return subprocess.run([program, "inspect", str(model), "--json", "--log-level", "error"], capture_output=True,
                          text=True, errors="replace", timeout=SECONDS)


def parameters_of(name):
    """How many numbers the file holds for the text model, whatever they are stored as; a copied head and the biases
    that a quantizer added count, for they are there."""
    shapes = [shape for layer, mixer in enumerate(format_source.LAYERS)
              for shape in format_source.linear_shapes(layer, mixer)]
    plain = sum(v.size for n, v in format_source.plain_tensors().items() if n != "lm_head.weight")
    head = 0 if name == "tied_absent" else format_source.VOCAB * format_source.HIDDEN
    biases = sum(outputs for _, outputs, _, _ in shapes) if name == "gptq_zero_bias" else 0
    return plain + head + biases + sum(outputs * inputs for _, outputs, inputs, _ in shapes)


def check_inspect(program, name, folder):
    run = inspect(program, folder)
    if run.returncode != 0:
        return f"inspect: exit status {run.returncode}: {run.stderr.strip()[-400:]}"
    count = json.loads(run.stdout)["parameters"]
    if count != parameters_of(name):
        return f"inspect counts {count} parameters instead of {parameters_of(name)}"
    return None


def check_good(program, name, folder, truth, groups, device):
    """What is wrong with a fixture that must load, or None."""
    kind, group, build = make_formats.VARIANTS[name]
    build(folder)
    fault = check_inspect(program, name, folder)
    if fault:
        return fault
    output = folder / "logits.out"
    run = score(program, folder, output, device)
    if run.returncode != 0:
        return f"exit status {run.returncode}: {run.stderr.strip()[-400:]}"
    ours, worst = load_file(output), 0.0
    for prompt in format_source.prompts():
        expected = truth[f"{kind}.{prompt['id']}.logits"]
        logits = ours[f"{prompt['id']}.logits"]
        if logits.shape != expected.shape or not np.isfinite(logits).all():
            return f"{prompt['id']}: shape {logits.shape}, finite: {bool(np.isfinite(logits).all())}"
        worst = max(worst, float(np.abs(logits - expected).max() / expected.std()))
    if worst >= BAR:
        return f"error {worst:.2e} of the spread, bar {BAR:.0e}"
    content = b"".join(ours[f"{p['id']}.logits"].tobytes() for p in format_source.prompts())
    if group is not None:
        first, bytes_of_first = groups.setdefault(group, (name, content))
        if content != bytes_of_first:
            return f"logits differ in their bytes from those of {first}"
    print(f"  {name}: {worst:.1e}")
    return None


def check_bad(program, name, folder):
    """What is wrong with the refusal of a fixture, or None."""
    words, build = format_faults.FAULTS[name]
    build(folder)
    run = score(program, folder, folder / "logits.out")
    lines = run.stderr.strip().splitlines()
    if run.returncode != 1:
        return f"exit status {run.returncode} instead of 1: {run.stderr.strip()[-400:]}"
    if len(lines) != 1:
        return f"{len(lines)} lines on standard error instead of one: {run.stderr.strip()[-400:]}"
    for word in words:
        choices = (word,) if isinstance(word, str) else word
        if not any(choice in lines[0] for choice in choices):
            return f"none of {choices} in: {lines[0]}"
    if run.stdout.strip():
        return f"standard output is not empty: {run.stdout[:200]}"
    look = inspect(program, folder)
    if look.returncode not in (0, 1) or (look.returncode == 1) != (len(look.stderr.strip().splitlines()) == 1):
        return f"inspect: exit status {look.returncode}: {look.stderr.strip()[-400:]}"
    print(f"  {name}: {lines[0][:200]}")
    return None


def check_command_lines(program):
    """A wrong command line is status 2, a folder that is not there status 1, each with one line."""
    faults = []
    for arguments, status in ((["score"], 2), (["score", "x", "--no-such-flag"], 2), (["no-such-command"], 2),
                              (["score", "/no/such/folder", "--input", str(PROMPTS)], 1),
                              (["inspect", "/no/such/folder"], 1), (["inspect", str(PROMPTS)], 1)):
        run = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=SECONDS)
        if run.returncode != status or not run.stderr.strip():
            faults.append(f"{' '.join(arguments)}: exit status {run.returncode} instead of {status}: {run.stderr[:300]}")
    return faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sheaf", required=True)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--device", default="cpu", help="where the good ones are scored")
    parser.add_argument("--part", choices=("good", "bad"))
    parser.add_argument("--keep", type=pathlib.Path, help="write the fixtures here and leave them")
    options = parser.parse_args()
    require_device(options.sheaf, options.device)
    truth = load_file(HERE / "formats" / "logits.safetensors")
    names = [n for part, table in (("good", make_formats.VARIANTS), ("bad", format_faults.FAULTS)) for n in table
             if (not options.only or n in options.only) and options.part in (None, part)]
    faults, groups = [], {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            folder = (options.keep or pathlib.Path(scratch)) / name
            try:
                if name in make_formats.VARIANTS:
                    fault = check_good(options.sheaf, name, folder, truth, groups, options.device)
                else:
                    fault = check_bad(options.sheaf, name, folder)
            except subprocess.TimeoutExpired:
                fault = f"no end within {SECONDS} s"
            if fault:
                faults.append(f"{name}: {fault}")
            if not options.keep:
                subprocess.run(["rm", "-rf", str(folder)], check=True)
    if not options.only and options.part != "good":
        faults += check_command_lines(options.sheaf)
    for fault in faults:
        print(f"FAULT {fault}")
    print(f"{len(names) - len(faults)} of {len(names)} fixtures as they should be")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
