"""A sequence whose numbers stop being numbers ends with an error, the ones beside it as if they were alone.

    check_nan.py MODEL --sheaf PROGRAM [--device cuda]

MODEL is a golden model with a bf16 embedding; one row of a copy becomes NaN (needs nothing but Python).
"""

import argparse
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

from devices import require_device

POISONED = 7


def poison(folder):
    """Writes NaN into the embedding of token POISONED."""
    for path in folder.glob("*.safetensors"):
        data = bytearray(path.read_bytes())
        length = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8:8 + length])
        for name, entry in header.items():
            if not name.endswith("embed_tokens.weight"):
                continue
            row = entry["shape"][1] * 2
            begin = 8 + length + entry["data_offsets"][0] + POISONED * row
            data[begin:begin + row] = b"\xc0\x7f" * (row // 2)
            path.write_bytes(data)
            return
    sys.exit("the model has no embedding")


def generate(program, device, model, lines):
    text = "".join(json.dumps(line | {"temperature": 0, "max_tokens": 12, "ignore_eos": True}) + "\n" for line in lines)
    run = subprocess.run([program, "generate", str(model), "--device", device, "--max-model-len", "128", "--max-num-seqs",
                          "8", "--input", "-"], input=text, capture_output=True, text=True)
    return {line["id"]: line for line in map(json.loads, run.stdout.splitlines())}, run


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--sheaf", required=True)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    require_device(options.sheaf, options.device)
    healthy = [{"id": f"healthy-{i}", "token_ids": [1 + i, 20 + i, 33]} for i in range(3)]
    ill = [{"id": f"ill-{i}", "token_ids": [30, POISONED, 40 + i]} for i in range(2)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "model"
        shutil.copytree(options.model, folder)
        wanted, _ = generate(options.sheaf, options.device, folder, healthy)
        poison(folder)
        given, run = generate(options.sheaf, options.device, folder, [ill[0], *healthy, ill[1]])
    faults = 0
    for line in healthy:
        if given.get(line["id"], {}).get("token_ids") != wanted[line["id"]]["token_ids"]:
            faults += 1
            print(f"{line['id']}: {given.get(line['id'])} instead of {wanted[line['id']]['token_ids']}")
    for line in ill:
        if "error" not in given.get(line["id"], {}):
            faults += 1
            print(f"{line['id']}: no error, but {given.get(line['id'])}")
    print(f"{faults} faults; {given.get('ill-0', {}).get('error')}; {run.stderr.strip()[-300:] if faults else ''}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
