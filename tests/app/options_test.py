"""The option parser from outside: spellings, precedence, refusals."""
import json
import tempfile
import unittest
from pathlib import Path

from sheaf_cli import TINY, Expectations, results, sheaf


class Options(unittest.TestCase, Expectations):
    def planned(self, *arguments, env=None):
        """`plan` shows what it was given: context and streams."""
        process = sheaf("plan", TINY, "--json", *arguments, env=env)
        self.assert_done(process)
        return results(process)[0]

    def context(self, *arguments, env=None):
        return self.planned(*arguments, env=env)["context"]

    def test_commands(self):
        self.assert_error(sheaf(), 2, "a command is missing")
        self.assert_error(sheaf("serv"), 2, "unknown command serv", "did you mean serve?")
        self.assert_error(sheaf("frobnicate"), 2, "unknown command frobnicate")

    def test_unknown_flags_get_the_nearest_name(self):
        self.assert_error(sheaf("serve", TINY, "--max-modle-len", "5"), 2, "--max-modle-len", "did you mean --max-model-len?")
        self.assert_error(sheaf("serve", TINY, "--tensor_paralel_size=2"), 2, "did you mean --tensor-parallel-size?")
        self.assert_error(sheaf("serve", TINY, "--wholly-else"), 2, "unknown option --wholly-else")
        self.assert_error(sheaf("inspect", TINY, "--port", "5"), 2, "unknown option --port")

    def test_operands(self):
        self.assert_error(sheaf("inspect"), 2, "MODEL is missing")
        self.assert_error(sheaf("inspect", TINY, "another"), 2, "unexpected 'another'")
        self.assert_error(sheaf("compare", TINY), 2, "is missing")
        self.assert_error(sheaf("inspect", TINY, "--model", "another"), 2, "which one?")
        self.assert_done(sheaf("inspect", "--model", TINY))
        self.assert_done(sheaf("inspect", f"--model={TINY}"))

    def test_spellings(self):
        for arguments in (["--kv-dtype", "fp8"], ["--kv_dtype", "fp8"], ["--kv-dtype=fp8"], ["--kv_dtype=fp8"]):
            self.assertLess(self.planned(*arguments)["kv_bytes_per_token"], self.planned()["kv_bytes_per_token"])
        self.assertEqual(self.context("--max-model-len", "77"), 77)  # an alias
        self.assertEqual(self.context("--context", "5", "--context", "6"), 6)
        streams = [row["streams"] for row in self.planned("--streams", "3", "4", "--streams=5,6")["streams"]]
        self.assertEqual(streams, [3, 4, 5, 6])

    def test_sizes(self):
        for text, tokens in {"4096": 4096, "1k": 1000, "1K": 1024, "25.6k": 25600, "2M": 2 << 20, "1m": 10**6}.items():
            self.assertEqual(self.context("--context", text), tokens)
        config = json.loads((TINY / "config.json").read_text())
        longest = config.get("text_config", config)["max_position_embeddings"]
        self.assertEqual(self.context("--context", "auto"), longest)
        self.assertEqual(self.context("--context", "-1"), longest)
        for text in ("1.5K", "k", "-2", "12x", ""):
            self.assert_error(sheaf("plan", TINY, f"--context={text}"), 2, "--context", "is due")

    def test_switches(self):
        self.assertTrue(sheaf("inspect", TINY, "--json").stdout.startswith("{"))
        self.assertFalse(sheaf("inspect", TINY, "--json", "--no-json").stdout.startswith("{"))
        self.assertFalse(sheaf("inspect", TINY, "--json=false").stdout.startswith("{"))
        self.assert_error(sheaf("inspect", TINY, "--json=maybe"), 2, "true or false is due")
        self.assert_error(sheaf("plan", TINY, "--no-context"), 2, "unknown option --no-context")

    def test_missing_and_wrong_values(self):
        self.assert_error(sheaf("plan", TINY, "--context"), 2, "--context needs a value")
        self.assert_error(sheaf("plan", TINY, "--context", "--json"), 2, "--context needs a value")
        self.assert_error(sheaf("plan", TINY, "--kv-dtype", "int3"), 2, "bfloat16, float32, fp8 is due")
        self.assert_error(sheaf("serve", TINY, "--port", "70000"), 2, "the most is 65535")
        self.assert_error(sheaf("serve", TINY, "--port", "x"), 2, "a whole number is due")
        self.assert_error(sheaf("serve", TINY, "--limit-mm-per-prompt", "{"), 2, "JSON")

    def test_float16_is_refused_with_the_reason(self):
        for word in ("float16", "half"):
            self.assert_error(sheaf("serve", TINY, "--dtype", word), 2, "overflows", "bfloat16")

    def test_precedence(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "plan.yaml"
            file.write_text("context: 11\nstreams: [2, 3]\njson: true\n")
            both = {"SHEAF_CONTEXT": "22", "SHEAF_CONFIG": str(file)}
            self.assertEqual(self.context(), 2048)
            self.assertEqual(self.context("--config", file), 11)
            self.assertEqual(self.context("--config", file, env={"SHEAF_CONTEXT": "22"}), 22)
            self.assertEqual(self.context("--context", "33", env=both), 33)
            self.assertEqual(self.context(env=both), 22)
            self.assertEqual([row["streams"] for row in self.planned("--config", file)["streams"]], [2, 3])

    def test_files(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "options.yaml"

            def with_text(text):
                file.write_text(text)
                return sheaf("plan", TINY, "--config", file)

            self.assert_done(with_text(""))
            self.assert_done(with_text("max_model_len: 1K\n"))
            self.assert_error(with_text("contxt: 5\n"), 2, "contxt", "line 1", "did you mean --context?")
            self.assert_error(with_text("context: [1, 2]\n"), 2, "context")
            self.assert_error(with_text("- a\n"), 1, "map")
            self.assert_error(with_text("a: [\n"), 1, "options.yaml", "line")
            self.assert_error(sheaf("plan", TINY, "--config", folder + "/absent.yaml"), 1, "absent.yaml")
            file.write_text(f"model: {TINY}\n")
            self.assert_done(sheaf("inspect", "--config", file))

    def test_environment_names(self):
        self.assert_done(sheaf("inspect", env={"SHEAF_MODEL": str(TINY)}))
        process = sheaf("inspect", TINY, env={"SHEAF_JSON": "1"})
        self.assertEqual(len(results(process)), 1)
        self.assert_error(sheaf("plan", TINY, env={"SHEAF_CONTEXT": "x"}), 2, "SHEAF_CONTEXT")

    def test_known_flags_that_do_nothing_say_so_once(self):
        process = sheaf("serve", "/nowhere/at/all", "--trust-remote-code", "--swap-space", "4", "-O", "{}",
                        "-tp", "2", "--mm-encoder-tp-mode", "data", "--limit-mm-per-prompt.video", "0", "--no-enable-prefix-caching", "--port", "0")
        self.assertEqual(process.returncode, 1, process.stderr)
        for flag in ("--trust-remote-code", "--swap-space", "-O", "-tp", "--mm-encoder-tp-mode", "--limit-mm-per-prompt.video"):
            self.assertEqual(process.stderr.count(f"{flag} does nothing: "), 1, process.stderr)
        self.assertNotIn("prefix-caching does nothing", process.stderr)

    def test_refused_flags_give_the_reason(self):
        self.assert_error(sheaf("serve", TINY, "--ssl-keyfile", "k.pem"), 2, "plain HTTP")
        self.assert_error(sheaf("serve", TINY, "--kv-cache-dtype", "fp8_e5m2"), 2, "kv-cache-dtype")
        self.assert_error(sheaf("inspect", TINY, "--download"), 2, "downloads nothing")

    def test_help(self):
        general = sheaf("--help")
        self.assert_done(general)
        self.assertEqual(general.stdout, sheaf("help").stdout)
        for command in ("serve", "chat", "generate", "score", "compare", "prompt", "inspect", "plan", "bench", "healthcheck", "version"):
            self.assertIn(command, general.stdout)
            process = sheaf(command, "--help")
            self.assert_done(process)
            self.assertTrue(process.stdout.startswith(f"Usage: sheaf {command}"))
            self.assertEqual(process.stdout, sheaf("help", command).stdout)
        for absent in ("prune", "quantize", "doctor"):
            self.assertNotIn(absent, general.stdout)

    def test_version(self):
        process = sheaf("version")
        self.assert_done(process)
        self.assertRegex(process.stdout, r"^sheaf \d+\.\d+\.\d+ ")
        self.assertEqual(process.stdout, sheaf("--version").stdout)
        info = results(sheaf("version", "--json"))
        self.assertEqual(len(info), 1)
        self.assertIn("devices", info[0])


if __name__ == "__main__":
    unittest.main()
