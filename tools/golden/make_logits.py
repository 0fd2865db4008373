"""Writes tests/golden/logits: what Transformers says about the models of tests/golden/models.

    make_logits.py [NAME...]

Per model: prompts.jsonl (input lines of `sheaf score`), greedy.jsonl (input lines of `sheaf generate`),
logits.safetensors (`ID.logits`, float32, stored positions x vocabulary, from the float32 run) and reference.json:
per prompt the spread (standard deviation of the float32 logits), the errors of Transformers' own bfloat16 run, the
stored positions, and the float32 greedy continuations with, at every step, the gap between the two best logits and
the log probability of the token taken.

A prompt is kept only if the float32 answer is a fact rather than a coin toss: no token may have two experts tied at
the edge of the top k within ROUTER_MARGIN, and the float32 run must agree with a float64 run of the same code.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import AutoConfig
import transformers

import model_zoo

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"
FIXED_LENGTHS = [1, 63, 64, 65, 257, 1000]
SHORT_LENGTHS = [5, 7, 9, 11, 14, 16, 19, 22, 24, 26, 28, 31, 33, 37, 41, 47, 52, 58]
LONG_STRIDE = 7  # of a prompt of 1,000 tokens every seventh position is stored, and the last
GREEDY_LENGTHS = [3, 20, 64, 90]
GREEDY_STEPS = 64
ROUTER_MARGIN = 1e-5  # in router logits
MAX_FLOAT64_ERROR = 1e-4  # of the spread
GREEDY_GAP = 4e-3  # of the spread: twice the tolerance of float32, so that every continuation has one right answer


class RouterWatch:
    """The narrowest gap between the last expert taken and the first one left out, over all layers and tokens."""

    def __init__(self, model):
        self.margin = float("inf")
        for module in model.modules():
            if type(module).__name__.endswith("TopKRouter"):
                module.register_forward_hook(self._see)

    def _see(self, router, inputs, outputs):
        if router.top_k < router.num_experts:
            top = torch.topk(outputs[0].float(), router.top_k + 1, dim=-1).values
            self.margin = min(self.margin, (top[:, -2] - top[:, -1]).min().item())

    def take(self):
        margin, self.margin = self.margin, float("inf")
        return margin


def load(folder, dtype, attention="eager"):
    config = AutoConfig.from_pretrained(folder)
    cls = getattr(transformers, config.architectures[0])
    model, info = cls.from_pretrained(folder, dtype=dtype, attn_implementation=attention,
                                      experts_implementation="eager", output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info.get(kind):
            raise SystemExit(f"{folder}: {kind}: {info[kind]}")
    return model.eval()


@torch.no_grad()
def logits_of(model, tokens):
    out = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0]
    return out.double().numpy() if out.dtype == torch.float64 else out.float().numpy()


class Reference:
    """One model in float32, float64 and bfloat16."""

    def __init__(self, folder):
        self.exact = load(folder, torch.float32)
        self.double = load(folder, torch.float32).double()
        self.half = load(folder, torch.bfloat16)
        self.other_half = load(folder, torch.bfloat16, "sdpa")
        self.watch = RouterWatch(self.exact)

    def prompt(self, length, seed):
        """Tokens, float32 logits and figures of the first prompt of this length that is well conditioned."""
        vocab = self.exact.get_input_embeddings().weight.shape[0]
        for attempt in range(200):
            generator = np.random.default_rng([*seed, length, attempt])
            tokens = generator.integers(0, vocab - model_zoo.SPECIAL_IDS, length).tolist()
            self.watch.take()
            logits = logits_of(self.exact, tokens)
            margin = self.watch.take()
            if margin < ROUTER_MARGIN:
                continue
            doubt = float(np.abs(logits - logits_of(self.double, tokens)).max() / logits.std())
            if doubt < MAX_FLOAT64_ERROR:
                return tokens, logits, {"router_margin": margin, "float64_error": doubt, "attempts": attempt + 1}
        raise SystemExit(f"no well conditioned prompt of {length} tokens found")

    def continuation(self, length, seed):
        """A prompt and its greedy continuation in which neither an expert nor a token is nearly tied."""
        for attempt in range(50):
            tokens, logits, _ = self.prompt(length, [seed, attempt])
            self.watch.take()
            following = self._greedy(tokens)
            if self.watch.take() >= ROUTER_MARGIN and min(following["gaps"]) > GREEDY_GAP * logits.std():
                return tokens, following
        raise SystemExit(f"no clear continuation of a prompt of {length} tokens found")

    @torch.no_grad()
    def _greedy(self, tokens):
        """By whole forward passes: no cache of the tool is trusted."""
        tokens, gaps, log_probabilities = list(tokens), [], []
        for _ in range(GREEDY_STEPS):
            last = self.exact(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1]
            top = torch.topk(last, 2)
            tokens.append(int(top.indices[0]))
            gaps.append(float(top.values[0] - top.values[1]))
            log_probabilities.append(float(torch.log_softmax(last, -1)[tokens[-1]]))
        return {"token_ids": tokens[-GREEDY_STEPS:], "gaps": gaps, "logprobs": log_probabilities}


def errors(other, exact):
    difference = np.abs(other.astype(np.float64) - exact)
    return {"mean": float(difference.mean()), "median": float(np.median(difference)), "max": float(difference.max())}


def positions_of(length):
    if length < 1000:
        return list(range(length))
    return sorted({*range(0, length, LONG_STRIDE), length - 1})


def make_model(name, number):
    reference = Reference(GOLDEN / "models" / name)
    tensors, prompts, lines = {}, {}, []
    for length in FIXED_LENGTHS + SHORT_LENGTHS:
        key = f"{'fixed' if length in FIXED_LENGTHS else 'short'}-{length}"
        tokens, logits, facts = reference.prompt(length, [number])
        positions = positions_of(length)
        stored = logits[positions]
        tensors[f"{key}.logits"] = np.ascontiguousarray(stored, dtype=np.float32)
        lines.append({"id": key, "token_ids": tokens})
        prompts[key] = {
            "tokens": length, "spread": float(stored.std()), "positions": "all" if length < 1000 else positions,
            "bfloat16": errors(logits_of(reference.half, tokens)[positions], stored),
            "bfloat16_sdpa": errors(logits_of(reference.other_half, tokens)[positions], stored),
        } | facts
    continuations, greedy_lines = {}, []
    for length in GREEDY_LENGTHS:
        key = f"greedy-{length}"
        tokens, continuations[key] = reference.continuation(length, number + 1000)
        greedy_lines.append({"id": key, "token_ids": tokens, "temperature": 0, "max_tokens": GREEDY_STEPS,
                             "ignore_eos": True})
    write(name, tensors, lines, greedy_lines, prompts, continuations)


def write(name, tensors, lines, greedy_lines, prompts, continuations):
    folder = GOLDEN / "logits" / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "logits.safetensors")
    for file, content in (("prompts.jsonl", lines), ("greedy.jsonl", greedy_lines)):
        (folder / file).write_text("".join(json.dumps(line) + "\n" for line in content))
    spread = float(np.mean([p["spread"] for p in prompts.values()]))
    made_with = {"transformers": transformers.__version__, "torch": torch.__version__, "attention": "eager"}
    report = {"made_with": made_with, "spread": spread, "prompts": prompts, "greedy": continuations}
    (folder / "reference.json").write_text(json.dumps(report, indent=1) + "\n")
    half = [p["bfloat16"]["mean"] / p["spread"] for p in prompts.values()]
    ratio = {k: np.exp(np.mean([np.log(p["bfloat16_sdpa"][k] / p["bfloat16"][k]) for p in prompts.values()]))
             for k in ("mean", "median", "max")}
    print(f"{name}: spread {spread:.2f}, bf16 mean error / spread {np.mean(half):.4f}, "
          f"worst float64 error {max(p['float64_error'] for p in prompts.values()):.1e}, "
          f"attempts {max(p['attempts'] for p in prompts.values())}, "
          f"sdpa over eager {', '.join(f'{k} {v:.3f}' for k, v in ratio.items())}", flush=True)


def main():
    transformers.logging.set_verbosity_error()
    names = sys.argv[1:] or list(model_zoo.ZOO)
    for name in names:
        make_model(name, list(model_zoo.ZOO).index(name))


if __name__ == "__main__":
    main()
