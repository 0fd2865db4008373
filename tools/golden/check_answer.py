"""A demo model, started with every option left alone, knows the capital of France (needs nothing but Python).

    check_answer.py MODEL --sheaf PROGRAM [--device cuda]
"""

import argparse
import subprocess
import sys
import time

from devices import require_device

COMMAND = ["--prompt", "What is the capital of France?", "--max-tokens", "20", "--temperature", "0",
           "--chat-template-kwargs", '{"enable_thinking": false}']


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--sheaf", required=True)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    require_device(options.sheaf, options.device)
    begin = time.perf_counter()
    run = subprocess.run([options.sheaf, "generate", options.model, "--device", options.device, *COMMAND],
                         capture_output=True, text=True)
    print(f"{run.stdout.strip()!r} after {time.perf_counter() - begin:.2f} s")
    if run.returncode != 0 or "Paris" not in run.stdout:
        sys.exit(f"exit status {run.returncode}\n{run.stderr}")


if __name__ == "__main__":
    main()
