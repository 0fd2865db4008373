"""Trains the demo model for a fixed time on one GPU and writes the BF16 checkpoint.

    train.py --facts FACTS.json --tokenizer FOLDER --out FOLDER --seconds 500 [--resume CHECKPOINT, BF16 or W4A16] [--try-optimizers 25]

Conversations are made on the fly by worker processes (fixed seeds) and packed into rows of 1,024 tokens; only the
assistant's turns are targets. The learning rate warms up, then falls linearly to zero at the time limit. In the later part of
the run every other step sees 4-bit rounded weights (straight-through gradients), so that the W4A16 checkpoint answers like
the BF16 one.
"""

import argparse
import json
import os
import random
import shutil
import time

BEGIN = time.time()

import numpy
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

import fast_model
import model_files
from conversations import Conversations, Renderer
from optimizers import Optimizer
from quantized_loader import load_any

PAD = 8100


class Packed(IterableDataset):
    """Endless batches: ids, position in the document, document number (rows x length each), and the flat indices of the targets."""

    def __init__(self, facts_path, tokenizer_path, rows, length, seed, mix):
        self.facts_path, self.tokenizer_path, self.rows, self.length, self.seed, self.mix = facts_path, tokenizer_path, rows, length, seed, mix

    def documents(self):
        info = get_worker_info()
        rng = random.Random(self.seed * 1000 + (info.id if info else 0))
        with open(self.facts_path, encoding="utf-8") as f:
            maker = Conversations(json.load(f), self.mix)
        with open(f"{model_files.HERE}/chat_template.jinja", encoding="utf-8") as f:
            renderer = Renderer(f.read())
        tokenizer = Tokenizer.from_file(self.tokenizer_path)
        while True:
            ids, targets = [], []
            for text, is_target in renderer.segments(maker.sample(rng)):
                part = tokenizer.encode(text).ids
                targets += range(len(ids), len(ids) + len(part)) if is_target else []
                ids += part
            if len(ids) <= self.length:
                yield ids, targets

    def __iter__(self):
        open_rows, closed = [], []  # a row: (tokens used, documents)
        for ids, targets in self.documents():
            row = next((r for r in open_rows if r[0] + len(ids) <= self.length), None)
            if row is None:
                if len(open_rows) >= 16:
                    fullest = max(range(len(open_rows)), key=lambda i: open_rows[i][0])
                    closed.append(open_rows.pop(fullest)[1])
                row = [0, []]
                open_rows.append(row)
            row[0] += len(ids)
            row[1].append((ids, targets))
            if self.length - row[0] < 24:
                open_rows.remove(row)
                closed.append(row[1])
            if len(closed) >= self.rows:
                yield self.batch(closed[:self.rows])
                closed = closed[self.rows:]

    def batch(self, rows):
        ids = numpy.full((self.rows, self.length), PAD, dtype=numpy.int16)
        position = numpy.zeros((self.rows, self.length), dtype=numpy.int16)
        document = numpy.full((self.rows, self.length), -1, dtype=numpy.int16)
        targets = []
        for r, documents in enumerate(rows):
            at = 0
            for d, (tokens, marked) in enumerate(documents):
                end = at + len(tokens)
                ids[r, at:end], position[r, at:end], document[r, at:end] = tokens, numpy.arange(len(tokens)), d
                targets += [r * self.length + at + t for t in marked]
                at = end
            position[r, at:] = numpy.arange(self.length - at)
        return tuple(torch.from_numpy(x) for x in (ids, position, document, numpy.array(targets, dtype=numpy.int64)))


class FourBitRounding:
    """Swaps the quantizable weights for their symmetric 4-bit (group 128) values and back; gradients pass straight through."""

    def __init__(self, layers):
        self.weights = []
        for layer in layers:
            for name, p in layer.named_parameters():
                small = any(part in name for part in ("in_proj_a", "in_proj_b", "shared_expert_gate", "mlp.gate.", "conv1d"))
                if p.dim() >= 2 and not small:
                    self.weights.append(p)
        self.saved = None

    @torch.no_grad()
    def apply(self):
        self.saved = [p.data for p in self.weights]
        sizes = [p.numel() for p in self.weights]
        flat = torch.cat([p.data.reshape(-1) for p in self.weights]).view(-1, 128)
        extreme = flat.gather(1, flat.abs().argmax(1, keepdim=True))
        scale = (extreme / -8).half().float()
        scale = torch.where(scale.abs() < 1e-5, torch.full_like(scale, 1e-5), scale)
        flat = ((flat / scale).round().clamp(-8, 7) * scale).view(-1)
        for p, part in zip(self.weights, flat.split(sizes)):
            p.data = part.view_as(p)

    def restore(self):
        for p, data in zip(self.weights, self.saved):
            p.data = data
        self.saved = None


def build_model(resume, device):
    from transformers import Qwen3_5MoeConfig, Qwen3_5MoeForConditionalGeneration

    if resume:
        return load_any(resume, torch.float32).to(device).train()
    model = Qwen3_5MoeForConditionalGeneration(Qwen3_5MoeConfig.from_dict(model_files.config_dict())).float()
    model.tie_weights()
    for layer in model.model.language_model.layers:
        if hasattr(layer, "linear_attn"):  # the convolution's own default: 0.02 would start the values near zero
            torch.nn.init.uniform_(layer.linear_attn.conv1d.weight, -0.5, 0.5)
    return model.to(device).train()


def one_step(packed, batch, device, balance_weight):
    """Gradients of one batch; returns its mean loss."""
    ids, position, document, targets = (t.to(device, non_blocking=True) for t in batch)
    ids = ids.long()
    hidden, balance = packed.hidden(ids, position.long(), document)
    logits = fast_model.linear(hidden[targets - 1], packed.text.embed_tokens.weight).float()
    loss = F.cross_entropy(logits, ids.flatten()[targets])
    (loss + balance_weight * balance).backward()
    return loss.detach()


def train(model, packed, loader, args, device, kind, peak, limit, round_from):
    """Steps until `limit` seconds from now; returns the last logged mean loss."""
    text = model.model.language_model
    optimizer = Optimizer(list(text.named_parameters()), kind, args.decay)
    rounding = FourBitRounding(text.layers)
    begin, step, tokens, total, recent, waited = time.time(), 0, 0, 0.0, 0, 0.0
    mean, saved = 0.0, False
    while True:
        part = (time.time() - begin) / limit
        if part >= 1 or (args.steps and step >= args.steps):
            break
        if args.save_at and part >= args.save_at and not saved:
            saved = True
            os.makedirs(f"{args.out}/partial", exist_ok=True)
            model_files.save_bf16(model, f"{args.out}/partial")
        rate = peak * min(1.0, (step + 1) / args.warmup) * (1 - part)
        asked = time.time()
        batch = next(loader)
        waited += time.time() - asked
        rounded = part >= round_from and step % 2 == 0
        if rounded:
            rounding.apply()
        loss = one_step(packed, batch, device, args.balance)
        if rounded:
            rounding.restore()
        torch.nn.utils.clip_grad_norm_(optimizer.parameters, 1.0)
        optimizer.step(rate)
        total, recent, step, tokens = total + loss, recent + 1, step + 1, tokens + batch[0].numel()
        if step % args.log == 0:
            mean, total, recent = float(total) / recent, 0.0, 0
            now = time.time() - begin
            print(f"{kind} step {step} {now:.0f}s loss {mean:.4f} rate {rate:.2e} {tokens / now / 1000:.0f}k tokens/s, waited {waited:.1f}s"
                  + (f", {torch.cuda.max_memory_allocated() / 2**30:.0f} GiB" if device == "cuda" else ""), flush=True)
    print(f"{kind}: {step} steps, {tokens} tokens, {time.time() - begin:.0f} s", flush=True)
    return mean


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--facts", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seconds", type=float, default=500, help="from the start of this program to the end of training")
    parser.add_argument("--resume")
    parser.add_argument("--try-optimizers", type=float, default=0, help="first train from scratch for so many seconds with each, and take the better")
    parser.add_argument("--optimizer", default="muon", choices=["muon", "adamw"])
    parser.add_argument("--peak", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--decay", type=float, default=0.1)
    parser.add_argument("--balance", type=float, default=0.01)
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--round-from", type=float, default=0.4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mix", type=json.loads, help='shares of the kinds of conversation, e.g. {"tools": 30}')
    parser.add_argument("--compile", type=int, default=1)
    parser.add_argument("--save-at", type=float, default=0, help="share of the run after which the weights so far go to OUT/partial, which the end removes")
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--log", type=int, default=50)
    args = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.manual_seed(args.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    compiled = bool(args.compile) and device == "cuda"
    data = Packed(args.facts, f"{args.tokenizer}/tokenizer.json", args.rows, args.length, args.seed, args.mix)
    loader = iter(DataLoader(data, batch_size=None, num_workers=args.workers, prefetch_factor=8 if args.workers else None, pin_memory=device == "cuda"))
    first = next(loader)  # the workers start while the model compiles
    model = build_model(args.resume, device)
    print(f"{sum(p.numel() for p in model.model.language_model.parameters()):,} text parameters, "
          f"{sum(p.numel() for p in model.model.visual.parameters()):,} vision parameters", flush=True)
    kind, peak = args.optimizer, args.peak
    one_step(fast_model.PackedModel(model, compiled), first, device, 0.0)
    model.zero_grad(set_to_none=True)
    print(f"ready after {time.time() - BEGIN:.0f} s", flush=True)
    if args.try_optimizers:
        results = {}
        for name, rate in (("muon", args.peak), ("adamw", 1.5e-3)):
            trial = build_model(None, device)
            results[name] = (train(trial, fast_model.PackedModel(trial, compiled), loader, args, device, name, rate, args.try_optimizers, 2.0), rate)
        kind = min(results, key=lambda name: results[name][0])
        peak = results[kind][1]
    train(model, fast_model.PackedModel(model, compiled), loader, args, device, kind, peak, args.seconds - (time.time() - BEGIN), args.round_from)
    model_files.write_side_files(args.out, args.tokenizer, model_files.config_dict())
    model_files.save_bf16(model, args.out)
    shutil.rmtree(f"{args.out}/partial", ignore_errors=True)


if __name__ == "__main__":
    main()
