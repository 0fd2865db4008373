"""Muon for the matrices and AdamW for the rest, as one object: what trains the demo model fastest. Used by train.py."""

import torch


def orthogonalise(g):
    """The nearest semi-orthogonal matrices of a batch (Newton-Schulz, five quintic steps, bfloat16)."""
    x = g.to(torch.bfloat16 if g.is_cuda else torch.float32)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.mT if tall else x).to(g.dtype)


class Optimizer:
    """step() with one learning rate for both parts: Muon's update is scaled to the size that AdamW's usually has."""

    def __init__(self, named, kind, decay):
        plain = ("conv1d", "embed", "gate.weight", "in_proj_a", "in_proj_b")
        matrices = {n: p for n, p in named if p.dim() >= 2 and not any(part in n for part in plain)}
        rest = [p for n, p in named if n not in matrices]
        groups = [{"params": rest, "weight_decay": 0.0}]
        self.muon = list(matrices.values()) if kind == "muon" else []
        if kind == "adamw":
            groups.append({"params": list(matrices.values()), "weight_decay": decay})
        self.adam = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.95), fused=rest[0].is_cuda)
        self.parameters = rest + list(matrices.values())
        self.decay = decay
        self.momentum = [torch.zeros_like(p) for p in self.muon]
        self.shapes = {}
        for i, p in enumerate(self.muon):
            self.shapes.setdefault(tuple(p.shape[-2:]), []).append(i)

    @torch.no_grad()
    def step(self, rate):
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        if self.muon:
            gradients = [p.grad for p in self.muon]
            torch._foreach_lerp_(self.momentum, gradients, 0.05)
            updates = list(torch._foreach_lerp(gradients, self.momentum, 0.95))  # Nesterov
            for (rows, columns), members in self.shapes.items():
                batch = torch.cat([updates[i].view(-1, rows, columns) for i in members])
                batch = orthogonalise(batch) * (0.2 * max(rows, columns) ** 0.5)
                for i, part in zip(members, batch.split([self.muon[i].numel() // (rows * columns) for i in members])):
                    updates[i] = part.view_as(self.muon[i])
            torch._foreach_mul_(self.muon, 1 - rate * self.decay)
            torch._foreach_add_(self.muon, updates, alpha=-rate)
        for p in self.parameters:
            p.grad = None
