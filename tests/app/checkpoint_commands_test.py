"""inspect, plan, score, compare and bench on small checkpoints without a tokenizer."""
import json
import math
import shutil
import struct
import tempfile
import unittest
from pathlib import Path

from sheaf_cli import TINY, TINY_LOGITS, Expectations, results, sheaf


def read_safetensors(path):
    """name -> (dtype, shape, bytes)"""
    data = Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"], data[8 + size + entry["data_offsets"][0]:8 + size + entry["data_offsets"][1]])
            for name, entry in header.items()}


def write_lines(folder, lines):
    path = Path(folder) / "lines.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return path


class Inspect(unittest.TestCase, Expectations):
    def test_json(self):
        process = sheaf("inspect", TINY, "--json", "--tensors")
        self.assert_done(process)
        info, = results(process)
        config = json.loads((TINY / "config.json").read_text())
        text = config.get("text_config", config)
        self.assertEqual(info["architecture"], config["architectures"][0])
        self.assertEqual(info["text"]["experts"], text["num_experts"])
        self.assertEqual(info["text"]["layers"], text["num_hidden_layers"])
        stored = read_safetensors(TINY / "model.safetensors")
        self.assertEqual(info["tensors"], len(stored))
        self.assertEqual(len(info["tensor_list"]), len(stored))
        self.assertEqual(info["bytes"], sum(len(data) for _, _, data in stored.values()))
        self.assertEqual(sum(family["bytes"] for family in info["families"]), info["bytes"])

    def test_table(self):
        process = sheaf("inspect", TINY)
        self.assert_done(process)
        self.assertIn("routed experts", process.stdout)
        self.assertNotIn("layers.0", process.stdout)
        self.assertIn("layers.0", sheaf("inspect", TINY, "--tensors").stdout)

    def test_what_is_not_there(self):
        self.assert_error(sheaf("inspect", "/nowhere/at/all"), 1, "/nowhere/at/all", "no such folder")
        self.assert_error(sheaf("inspect", TINY / "config.json"), 1, "--random-weights")
        self.assert_error(sheaf("inspect", "some/model", env={"HF_HUB_CACHE": "/nowhere"}), 1, "some/model", "/nowhere")

    def test_truncated_shard(self):
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "model"
            shutil.copytree(TINY, copy)
            shard = copy / "model.safetensors"
            data = shard.read_bytes()
            shard.write_bytes(data[:-100])
            self.assert_error(sheaf("inspect", copy), 1, "model.safetensors")
            shard.write_bytes(data[:5])
            self.assert_error(sheaf("inspect", copy), 1, "model.safetensors")
            (copy / "config.json").write_text("{")
            self.assert_error(sheaf("inspect", copy), 1, "config.json")

    def test_hugging_face_cache(self):
        with tempfile.TemporaryDirectory() as folder:
            repository = Path(folder) / "hub" / "models--some--model"
            for commit in ("aaa", "bbb"):
                shutil.copytree(TINY, repository / "snapshots" / commit)
            (repository / "refs").mkdir()
            (repository / "refs" / "main").write_text("bbb\n")

            def found(*arguments, **env):
                process = sheaf("inspect", "some/model", "--json", *arguments, env=env)
                self.assert_done(process)
                return results(process)[0]["model"]

            self.assertTrue(found(HF_HUB_CACHE=folder + "/hub").endswith("snapshots/bbb"))
            self.assertTrue(found(HF_HOME=folder).endswith("snapshots/bbb"))
            self.assertTrue(found("--revision", "aaa", HF_HOME=folder).endswith("snapshots/aaa"))
            self.assertTrue(found(HF_HOME="/nowhere", HF_HUB_CACHE=folder + "/hub").endswith("snapshots/bbb"))
            self.assert_error(sheaf("inspect", "some/model", "--revision", "ccc", env={"HF_HOME": folder}), 1, "ccc")


class Plan(unittest.TestCase, Expectations):
    def plan(self, *arguments):
        process = sheaf("plan", TINY, "--json", *arguments)
        self.assert_done(process)
        return results(process)[0]

    def test_arithmetic(self):
        info = results(sheaf("inspect", TINY, "--json"))[0]
        plan = self.plan("--gpus", "2", "--gpu-memory", "4GiB", "--context", "100", "--bandwidth", "100", "--streams", "1", "7")
        self.assertEqual(plan["memory_bytes"], 8 << 30)
        self.assertEqual(plan["weights_bytes"], info["memory"]["weights_bytes"])
        self.assertEqual(plan["cache_bytes"], plan["memory_bytes"] - plan["weights_bytes"] - plan["working_bytes"])
        each = plan["state_bytes_per_sequence"] + 100 * plan["kv_bytes_per_token"]
        self.assertEqual(plan["sequences_that_fit"], plan["cache_bytes"] // each)
        self.assertEqual(plan["placement"], "device")
        row = plan["streams"][1]
        self.assertAlmostEqual(row["ceiling_tokens_per_second"], 7 * 200e9 / row["bytes_per_step"], delta=1)

    def test_what_does_not_fit(self):
        plan = self.plan("--gpus", "1", "--gpu-memory", "1MiB")
        self.assertEqual(plan["placement"], "does not fit")
        self.assertGreater(plan["missing_bytes"], 0)
        self.assertEqual(plan["sequences_that_fit"], 0)
        self.assert_error(sheaf("plan", TINY, "--gpus", "2"), 2, "--gpu-memory")

    def test_bare_config(self):
        process = sheaf("plan", TINY / "config.json", "--json")
        self.assert_done(process)
        self.assertGreater(results(process)[0]["weights_bytes"], 0)


class Score(unittest.TestCase, Expectations):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.lines = [json.loads(line) for line in (TINY_LOGITS / "prompts.jsonl").read_text().splitlines()][:3]
        self.input = write_lines(self.folder.name, self.lines)

    def score(self, *arguments):
        process = sheaf("score", TINY, "--input", self.input, "--dtype", "float32", *arguments)
        self.assert_done(process)
        return process

    def test_logits_and_summary_agree(self):
        out = Path(self.folder.name) / "out.safetensors"
        summary, = results(self.score("--logits", out, "--json"))
        stored = read_safetensors(out)
        likelihood, count = 0.0, 0
        for line in self.lines:
            dtype, shape, data = stored[line["id"] + ".logits"]
            ids = struct.unpack(f"<{len(line['token_ids'])}i", stored[line["id"] + ".token_ids"][2])
            self.assertEqual((dtype, shape[0], list(ids)), ("F32", len(ids), line["token_ids"]))
            for position in range(len(ids) - 1):
                row = struct.unpack_from(f"<{shape[1]}f", data, 4 * shape[1] * position)
                top = max(row)
                likelihood += top + math.log(sum(math.exp(x - top) for x in row)) - row[ids[position + 1]]
                count += 1
        self.assertEqual(summary["tokens"], count)
        self.assertAlmostEqual(summary["negative_log_likelihood"], likelihood, delta=1e-4 * likelihood)
        self.assertAlmostEqual(summary["perplexity"], math.exp(likelihood / count), delta=1e-3 * math.exp(likelihood / count))

    def test_last_positions(self):
        every, last = (Path(self.folder.name) / name for name in ("every.safetensors", "last.safetensors"))
        self.score("--logits", every)
        self.score("--logits", last, "--positions", "last")
        every, last = read_safetensors(every), read_safetensors(last)
        for line in self.lines:
            shape, data = last[line["id"] + ".logits"][1:]
            self.assertEqual(shape[0], 1)
            self.assertEqual(data, every[line["id"] + ".logits"][2][-len(data):])

    def test_bad_lines(self):
        for line, words in (({"token_ids": []}, "token_ids"), ({"token_ids": [10**6]}, "vocabulary"), ({"token_ids": [-1]}, "token id"),
                            ({"token_ids": "x"}, "token_ids")):
            bad = write_lines(self.folder.name, [line])
            self.assert_error(sheaf("score", TINY, "--input", bad, "--log-level", "error"), 1, words)
        self.assert_error(sheaf("score", TINY, "--input", "/nowhere.jsonl"), 1, "/nowhere.jsonl")
        self.assert_error(sheaf("score", TINY), 2, "--prompt", "--input")
        self.assert_error(sheaf("score", TINY, "--input", "-", text="{oops\n"), 1, "line 1")
        self.assert_error(sheaf("score", TINY, "--input", "-", text=""), 1, "no lines")

    def test_an_unwritable_result(self):
        self.assert_error(sheaf("score", TINY, "--input", self.input, "--logits", "/nowhere/out.safetensors", "--log-level", "error"), 1, "/nowhere")

    def test_compare_with_itself_and_with_a_file(self):
        out = Path(self.folder.name) / "out.safetensors"
        self.score("--logits", out)
        for other in (TINY, out):
            process = sheaf("compare", TINY, other, "--input", self.input, "--dtype", "float32", "--json", "--max-kl", "0")
            self.assert_done(process)
            result, = results(process)
            self.assertEqual(result["kl"], {"mean": 0, "p99": 0, "max": 0})
            self.assertEqual(result["top1_agreement"], 1)
            self.assertEqual(result["perplexity"][0], result["perplexity"][1])
            self.assertEqual(result["tokens"], sum(len(line["token_ids"]) for line in self.lines))
        self.assert_done(sheaf("compare", TINY, out, "--dtype", "float32", "--max-kl", "0"))

    def test_compare_finds_a_difference(self):
        out = Path(self.folder.name) / "out.safetensors"
        self.score("--logits", out)
        process = sheaf("compare", TINY, out, "--dtype", "bfloat16", "--json", "--max-kl", "0")
        self.assertEqual(process.returncode, 3, process.stderr)
        self.assertGreater(results(process)[0]["kl"]["mean"], 0)
        self.assert_done(sheaf("compare", TINY, out, "--dtype", "bfloat16", "--max-kl", "100"))


class Bench(unittest.TestCase, Expectations):
    def test_rows(self):
        process = sheaf("bench", TINY / "config.json", "--random-weights", "--layers", "2", "--batch", "1,3", "--context", "16",
                        "--prefill", "32", "--repeat", "1", "--json", "-", "--log-level", "error")
        self.assert_done(process)
        rows = json.loads(process.stdout)
        self.assertEqual([(row["phase"], row["batch"], row["context"]) for row in rows],
                         [("prefill", 1, 32), ("decode", 1, 16), ("decode", 3, 16)])
        for row in rows:
            self.assertEqual(row["layers"], 2)
            self.assertGreater(row["peak_bandwidth"], 0)
            expected = max(row["bytes_per_step"] / row["peak_bandwidth"], row["flops_per_step"] / row["peak_flops"]) / row["seconds_per_step"]
            self.assertAlmostEqual(row["fraction_of_peak"], expected, delta=1e-6 + 1e-3 * expected)
        for key in ("tokens_per_second", "device", "threads", "dtype"):
            self.assertIn(key, rows[0])


if __name__ == "__main__":
    unittest.main()
