"""Which devices a `sheaf` program finds; for tests that need one."""

import subprocess
import sys

SKIPPED = 77  # the exit status that CTest takes for "not run"


def require_device(program, device):
    """Ends the script as skipped where the machine has no such device."""
    if device == "cpu":
        return
    found = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout
    if not any(line.startswith(device) for line in found.splitlines()):
        print(f"skipped: {program} finds no {device} device here")
        sys.exit(SKIPPED)
