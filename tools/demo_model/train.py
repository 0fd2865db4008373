"""Trains the demo model for a fixed number of minutes on one GPU and writes the BF16 checkpoint.

    train.py --facts FACTS.json --tokenizer FOLDER --out FOLDER --minutes 7.5 [--resume CHECKPOINT] [--peak 1.5e-3]

Conversations are made on the fly by worker processes (fixed seeds); only the assistant's last turn is a target. The
learning rate warms up, then falls linearly to zero at the time limit. In the second part of the run every other micro-batch
sees 4-bit rounded weights (straight-through gradients), so that the W4A16 checkpoint answers like the BF16 one.
"""

import argparse
import json
import os
import random
import time

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

import fast_model
import model_files
from conversations import Conversations, Renderer

LENGTHS = [64, 128, 192, 256, 320, 384, 512, 640, 768, 1024]
PAD = 8100


class MicroBatches(IterableDataset):
    """Endless micro-batches of (ids, first target index of each row, length of each row), every row one conversation."""

    def __init__(self, facts_path, tokenizer_path, budget, seed):
        self.facts_path, self.tokenizer_path, self.budget, self.seed = facts_path, tokenizer_path, budget, seed

    def __iter__(self):
        info = get_worker_info()
        rng = random.Random(self.seed * 1000 + (info.id if info else 0))
        with open(self.facts_path, encoding="utf-8") as f:
            maker = Conversations(json.load(f))
        with open(f"{model_files.HERE}/chat_template.jinja", encoding="utf-8") as f:
            renderer = Renderer(f.read())
        tokenizer = Tokenizer.from_file(self.tokenizer_path)
        pools = {length: [] for length in LENGTHS}
        while True:
            prompt, completion = renderer.texts(maker.sample(rng))
            head, tail = tokenizer.encode(prompt).ids, tokenizer.encode(completion).ids
            total = len(head) + len(tail)
            if total > LENGTHS[-1]:
                continue
            length = next(n for n in LENGTHS if n >= total)
            pool = pools[length]
            pool.append((head + tail, len(head)))
            if len(pool) * length >= self.budget:
                ids = torch.full((len(pool), length), PAD, dtype=torch.int32)
                for row, (tokens, _) in enumerate(pool):
                    ids[row, :len(tokens)] = torch.tensor(tokens, dtype=torch.int32)
                starts = torch.tensor([s for _, s in pool])
                sizes = torch.tensor([len(t) for t, _ in pool])
                pools[length] = []
                yield ids, starts, sizes


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
        model = Qwen3_5MoeForConditionalGeneration.from_pretrained(resume, dtype=torch.float32)
    else:
        config = Qwen3_5MoeConfig.from_dict(model_files.config_dict())
        config._attn_implementation = "sdpa"
        model = Qwen3_5MoeForConditionalGeneration(config).float()
        model.tie_weights()
        for layer in model.model.language_model.layers:
            if hasattr(layer, "linear_attn"):  # the convolution's own default: 0.02 would start the values near zero
                torch.nn.init.uniform_(layer.linear_attn.conv1d.weight, -0.5, 0.5)
    return fast_model.speed_up(model.to(device)).train()


def loss_of(model, batch, device, balance):
    ids, starts, sizes = (t.to(device, non_blocking=True) for t in batch)
    ids = ids.long()
    text = model.model.language_model
    hidden = text(input_ids=ids, use_cache=False).last_hidden_state
    index = torch.arange(ids.shape[1], device=device)
    target = (index[None] >= starts[:, None]) & (index[None] < sizes[:, None])
    rows = hidden[:, :-1][target[:, 1:]]
    logits = F.linear(rows, text.embed_tokens.weight).float()
    loss = F.cross_entropy(logits, ids[:, 1:][target[:, 1:]], reduction="sum")
    keep = (index[None] < sizes[:, None]).flatten()
    return loss, target[:, 1:].sum(), balance * fast_model.balance_loss(text.layers, keep)


def parameter_groups(model, decay):
    matrices = [p for n, p in model.model.language_model.named_parameters() if p.dim() >= 2 and "conv1d" not in n and "embed" not in n]
    others = [p for n, p in model.model.language_model.named_parameters() if not (p.dim() >= 2 and "conv1d" not in n and "embed" not in n)]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def train(model, args, device):
    loader = iter(DataLoader(MicroBatches(args.facts, f"{args.tokenizer}/tokenizer.json", args.tokens, args.seed), batch_size=None,
                             num_workers=args.workers, prefetch_factor=6 if args.workers else None, pin_memory=device == "cuda"))
    groups = parameter_groups(model, args.decay)
    optimizer = torch.optim.AdamW(groups, lr=args.peak, betas=(0.9, 0.95), fused=device == "cuda")
    parameters = [p for g in groups for p in g["params"]]
    rounding = FourBitRounding(model.model.language_model.layers)
    next(loader)
    begin, step, seen, logged = time.time(), 0, 0, 0.0
    limit = args.minutes * 60
    while True:
        elapsed = time.time() - begin
        part = elapsed / limit
        if part >= 1 or (args.steps and step >= args.steps):
            break
        rate = args.peak * min(1.0, (step + 1) / args.warmup) * (1 - part)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batches = [next(loader) for _ in range(args.micro)]
        targets = sum(int((b[2] - b[1]).sum()) for b in batches)
        total = torch.zeros((), device=device)
        for i, batch in enumerate(batches):
            rounded = part >= args.round_from and (i + step) % 2 == 0
            if rounded:
                rounding.apply()
            with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
                loss, _, balance = loss_of(model, batch, device, args.balance)
            (loss / targets + balance / len(batches)).backward()
            if rounded:
                rounding.restore()
            total += loss.detach()
            seen += batch[0].numel()
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % args.log == 0:
            value = float(total) / targets
            now = time.time() - begin
            print(f"step {step} {now:.0f}s loss {value:.4f} norm {float(norm):.2f} lr {rate:.2e} {seen / now / 1000:.0f}k tokens/s"
                  + (f" {torch.cuda.max_memory_allocated() / 2**30:.0f} GiB" if device == "cuda" else ""), flush=True)
    print(f"trained {step} steps, {seen} tokens, {time.time() - begin:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--facts", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument("--resume")
    parser.add_argument("--peak", type=float, default=1.5e-3)
    parser.add_argument("--warmup", type=int, default=150)
    parser.add_argument("--decay", type=float, default=0.1)
    parser.add_argument("--balance", type=float, default=0.01)
    parser.add_argument("--tokens", type=int, default=32768)
    parser.add_argument("--micro", type=int, default=2)
    parser.add_argument("--workers", type=int, default=13)
    parser.add_argument("--round-from", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--log", type=int, default=100)
    args = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.manual_seed(args.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build_model(args.resume, device)
    print(f"{sum(p.numel() for p in model.model.language_model.parameters()):,} text parameters, "
          f"{sum(p.numel() for p in model.model.visual.parameters()):,} vision parameters", flush=True)
    train(model, args, device)
    model_files.write_side_files(args.out, args.tokenizer, model_files.config_dict())
    model_files.save_bf16(model, args.out)


if __name__ == "__main__":
    main()
