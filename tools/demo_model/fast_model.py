"""Training-time forward passes for Transformers' Qwen3_5Moe layers: the same mathematics, several times faster.

`speed_up(model)` replaces the forward of the DeltaNet, the MoE block and nothing else; parameters and names stay, so a
saved checkpoint is an ordinary one. test_fast_model.py-style check: run this file, it compares both on the CPU.
"""

import types

import torch
import torch.nn.functional as F


def unit_lower_inverse(a):
    """(I + a)^-1 for strictly lower triangular a of shape (..., 64, 64): 16-wide blocks by doubling, then merged."""
    n, width = a.shape[-1], 16
    eye = torch.eye(width, device=a.device, dtype=a.dtype)
    blocks = a.unflatten(-1, (n // width, width)).unflatten(-3, (n // width, width))  # (..., R, 16, C, 16)
    diagonal = torch.stack([blocks[..., i, :, i, :] for i in range(n // width)], dim=-3)
    inverse, power = eye - diagonal, diagonal
    for _ in range(3):
        power = power @ power
        inverse = inverse + inverse @ power
    parts = [inverse[..., i, :, :] for i in range(n // width)]
    starts = list(range(0, n, width))
    while len(parts) > 1:
        merged = []
        for i in range(0, len(parts), 2):
            upper, lower = parts[i], parts[i + 1]
            corner = a[..., starts[i] + width:starts[i] + 2 * width, starts[i]:starts[i] + width]
            left = -(lower @ corner @ upper)
            top = torch.cat([upper, torch.zeros_like(upper)], dim=-1)
            merged.append(torch.cat([top, torch.cat([left, lower], dim=-1)], dim=-2))
        parts, starts, width = merged, starts[::2], width * 2
    return parts[0]


def gated_delta_rule(q, k, v, g, beta, chunk=64):
    """Chunked gated delta rule, fp32, q/k normalised here; (batch, tokens, heads, dim), g and beta (batch, tokens, heads)."""
    batch, tokens, heads, dim = k.shape
    q, k, v = (x.float().transpose(1, 2) for x in (q, k, v))
    q = q * torch.rsqrt(q.pow(2).sum(-1, keepdim=True) + 1e-6) * dim ** -0.5
    k = k * torch.rsqrt(k.pow(2).sum(-1, keepdim=True) + 1e-6)
    g, beta = g.float().transpose(1, 2), beta.float().transpose(1, 2)
    pad = -tokens % chunk
    if pad:
        q, k, v = (F.pad(x, (0, 0, 0, pad)) for x in (q, k, v))
        g, beta = F.pad(g, (0, pad)), F.pad(beta, (0, pad))
    q, k, v = (x.unflatten(2, (-1, chunk)) for x in (q, k, v))
    g, beta = g.unflatten(2, (-1, chunk)).cumsum(-1), beta.unflatten(2, (-1, chunk))
    lower = torch.ones(chunk, chunk, dtype=torch.bool, device=q.device).tril()
    decay = (g.unsqueeze(-1) - g.unsqueeze(-2)).masked_fill(~lower, float("-inf")).exp()
    k_beta = k * beta.unsqueeze(-1)
    strict = lower.tril(-1)
    inverse = unit_lower_inverse((k_beta @ k.transpose(-1, -2) * decay).masked_fill(~strict, 0))
    u = inverse @ (v * beta.unsqueeze(-1))
    w = inverse @ (k_beta * g.exp().unsqueeze(-1))
    attention = q @ k.transpose(-1, -2) * decay
    q = q * g.exp().unsqueeze(-1)
    last = g[..., -1:]
    k = k * (last - g).exp().unsqueeze(-1)
    state, outputs = None, []
    for i in range(q.shape[2]):
        if state is None:
            value = u[:, :, i]
            outputs.append(attention[:, :, i] @ value)
            state = k[:, :, i].transpose(-1, -2) @ value
        else:
            value = u[:, :, i] - w[:, :, i] @ state
            outputs.append(q[:, :, i] @ state + attention[:, :, i] @ value)
            state = state * last[:, :, i].exp().unsqueeze(-1) + k[:, :, i].transpose(-1, -2) @ value
    out = torch.cat(outputs, dim=2)[:, :, :tokens]
    return out.transpose(1, 2)


def delta_net_forward(self, hidden_states, cache_params=None, attention_mask=None, **kwargs):
    batch, tokens, _ = hidden_states.shape
    x = self.in_proj_qkv(hidden_states)
    z = self.in_proj_z(hidden_states)
    weight = self.conv1d.weight.squeeze(1).to(x.dtype)  # (channels, 4)
    padded = F.pad(x, (0, 0, 3, 0))
    x = sum(padded[:, j:j + tokens] * weight[:, j] for j in range(4))
    x = F.silu(x)
    q, k, v = torch.split(x, [self.key_dim, self.key_dim, self.value_dim], dim=-1)
    q, k = (t.unflatten(-1, (-1, self.head_k_dim)) for t in (q, k))
    v = v.unflatten(-1, (-1, self.head_v_dim))
    repeat = self.num_v_heads // self.num_k_heads
    q, k = (t.repeat_interleave(repeat, dim=2) for t in (q, k))
    beta = self.in_proj_b(hidden_states).sigmoid()
    g = -self.A_log.float().exp() * F.softplus(self.in_proj_a(hidden_states).float() + self.dt_bias)
    with torch.autocast(hidden_states.device.type, enabled=False):
        out = gated_delta_rule(q, k, v, g, beta)
        out = self.norm(out.reshape(-1, self.head_v_dim), z.reshape(-1, self.head_v_dim).float())
    return self.out_proj(out.reshape(batch, tokens, -1))


def moe_forward(self, hidden_states):
    """All experts for all tokens, weighted by the sparse routing: with experts this small, two plain matrix products win."""
    batch, tokens, hidden = hidden_states.shape
    x = hidden_states.reshape(-1, hidden)
    with torch.autocast(x.device.type, enabled=False):
        logits = F.linear(x.float(), self.gate.weight.float())
        probabilities = logits.softmax(-1)
        top, chosen = probabilities.topk(self.gate.top_k, dim=-1)
        routing = torch.zeros_like(probabilities).scatter(1, chosen, top / top.sum(-1, keepdim=True))
    self.router_record = (probabilities, chosen)
    experts = self.experts
    wide = F.linear(x, experts.gate_up_proj.flatten(0, 1)).unflatten(-1, (experts.num_experts, -1))
    gate, up = wide.chunk(2, dim=-1)
    inner = F.silu(gate) * up * routing.to(wide.dtype).unsqueeze(-1)
    routed = F.linear(inner.flatten(1), experts.down_proj.permute(1, 0, 2).flatten(1))
    shared = F.sigmoid(self.shared_expert_gate(x)) * self.shared_expert(x)
    return (routed + shared).reshape(batch, tokens, hidden)


def balance_loss(layers, keep):
    """Load-balancing loss over the tokens in `keep` (bool, flat): experts x sum of share chosen x mean probability."""
    losses = []
    for layer in layers:
        probabilities, chosen = layer.mlp.router_record
        weight = keep.float().unsqueeze(-1)
        total = weight.sum()
        share = torch.zeros_like(probabilities).scatter(1, chosen, 1.0)
        share = (share * weight).sum(0) / total
        mean = (probabilities * weight).sum(0) / total
        losses.append(probabilities.shape[-1] * (share * mean).sum() / chosen.shape[-1])
    return torch.stack(losses).mean()


def speed_up(model):
    for layer in model.model.language_model.layers:
        if hasattr(layer, "linear_attn"):
            layer.linear_attn.forward = types.MethodType(delta_net_forward, layer.linear_attn)
        layer.mlp.forward = types.MethodType(moe_forward, layer.mlp)
    return model


def slow_down(model):
    for layer in model.model.language_model.layers:
        if hasattr(layer, "linear_attn"):
            layer.linear_attn.__dict__.pop("forward", None)
        layer.mlp.__dict__.pop("forward", None)
        layer.mlp.__dict__.pop("router_record", None)
    return model
