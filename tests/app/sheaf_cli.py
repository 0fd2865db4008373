"""Runs the program under test as a user does, in an environment without SHEAF_ and HF_ variables."""
import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SHEAF_PROGRAM", str(ROOT / "build/release/sheaf"))
TINY = ROOT / "tests/golden/models/moe13"  # no tokenizer
TINY_LOGITS = ROOT / "tests/golden/logits/moe13"
TALKER = next(folder for folder in (ROOT / "models/demo", ROOT / "models/demo-bf16") if folder.exists())


def environment(extra=None):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SHEAF_", "HF_", "VLLM_"))}
    return clean | (extra or {})


def start(*arguments, env=None, **options):
    return subprocess.Popen([PROGRAM, *map(str, arguments)], env=environment(env), cwd=ROOT, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def sheaf(*arguments, env=None, text="", timeout=120):
    """The finished process; its output must be UTF-8."""
    return subprocess.run([PROGRAM, *map(str, arguments)], env=environment(env), cwd=ROOT, text=True, input=text,
                          capture_output=True, timeout=timeout)


def results(process):
    """The JSON values on standard output, one per line; nothing else may be there."""
    return [json.loads(line) for line in process.stdout.splitlines()]


class Expectations:
    """Assertions that several test classes share."""

    def assert_done(self, process):
        self.assertEqual(process.returncode, 0, process.stderr)

    def assert_error(self, process, status, *words):
        """Exit status, one error line on standard error, nothing on standard output."""
        self.assertEqual(process.returncode, status, process.stderr)
        errors = [line for line in process.stderr.splitlines() if line.startswith("sheaf: error: ")]
        self.assertEqual(len(errors), 1, process.stderr)
        for word in words:
            self.assertIn(word, errors[0])
        self.assertEqual(process.stdout, "")
