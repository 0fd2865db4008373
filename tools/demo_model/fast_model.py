"""The training-time forward pass of the demo model: Transformers' Qwen3_5Moe mathematics on packed rows of fixed shape.

Many conversations share a row of the batch and do not see one another: positions restart, attention is masked to the
document, the convolution does not reach back, and the DeltaNet's decay is driven to zero at each first token. The pieces
are compiled once for all layers (their weights are arguments). It reads the parameters of an ordinary
Qwen3_5MoeForConditionalGeneration; train.py uses it, check_fast_model.py compares the two.
"""

import torch
import torch.nn.functional as F

CHUNK = 64
FORGET = -50.0  # log decay at a document's first token: e^-50 leaves nothing of the row's earlier state


def linear(x, weight):
    return F.linear(x.to(weight_type(x)), weight.to(weight_type(x)))


def weight_type(x):
    return torch.bfloat16 if x.is_cuda else torch.float32


def rms_norm(x, weight):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1.0 + weight)


def unit_lower_inverse(a):
    """(I + a)^-1 for strictly lower triangular a of shape (..., 64, 64): 16-wide blocks by doubling, then merged."""
    n, width = a.shape[-1], 16
    eye = torch.eye(width, device=a.device, dtype=a.dtype)
    diagonal = torch.stack([a[..., i:i + width, i:i + width] for i in range(0, n, width)], dim=-3)
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


def delta_before(x, reach, first, norm, w_qkv, w_z, w_b, w_a, conv, a_log, dt_bias):
    """Everything of the DeltaNet that needs no state of an earlier chunk. x (tokens, hidden); reach (3, tokens): whether the
    token 1, 2, 3 before is of the same document; first (tokens): starts a document."""
    h = rms_norm(x, norm)
    mixed = linear(h, w_qkv)
    taps = conv.squeeze(1).to(mixed.dtype)
    total = mixed * taps[:, 3]
    for back in (1, 2, 3):
        shifted = F.pad(mixed[:-back], (0, 0, back, 0))
        total = total + shifted * reach[back - 1].unsqueeze(-1).to(mixed.dtype) * taps[:, 3 - back]
    mixed = F.silu(total.float())
    value_heads = a_log.shape[0]
    key_width = (mixed.shape[-1] - value_heads * 128) // 2
    q, k, v = mixed.split([key_width, key_width, value_heads * 128], dim=-1)
    q, k, v = (t.unflatten(-1, (-1, 128)) for t in (q, k, v))
    q = q * torch.rsqrt(q.pow(2).sum(-1, keepdim=True) + 1e-6) * 128 ** -0.5
    k = k * torch.rsqrt(k.pow(2).sum(-1, keepdim=True) + 1e-6)
    repeat = value_heads // q.shape[1]
    q, k, v = (t.unflatten(0, (-1, CHUNK)).transpose(1, 2) for t in (q.repeat_interleave(repeat, 1), k.repeat_interleave(repeat, 1), v))
    beta = linear(h, w_b).float().sigmoid().unflatten(0, (-1, CHUNK)).transpose(1, 2)
    g = -a_log.exp() * F.softplus(linear(h, w_a).float() + dt_bias)
    g = torch.where(first.unsqueeze(-1), FORGET, g).unflatten(0, (-1, CHUNK)).transpose(1, 2).cumsum(-1)
    lower = torch.ones(CHUNK, CHUNK, dtype=torch.bool, device=x.device).tril()
    decay = torch.where(lower, g.unsqueeze(-1) - g.unsqueeze(-2), float("-inf")).exp()
    k_beta = k * beta.unsqueeze(-1)
    inverse = unit_lower_inverse((k_beta @ k.transpose(-1, -2) * decay).tril(-1))
    u = inverse @ (v * beta.unsqueeze(-1))
    w = inverse @ (k_beta * g.exp().unsqueeze(-1))
    attention = q @ k.transpose(-1, -2) * decay
    last = g[..., -1:]
    return (q * g.exp().unsqueeze(-1), attention, u, w, k * (last - g).exp().unsqueeze(-1), last.exp().unsqueeze(-1), linear(h, w_z))


def delta_scan(rows, q, attention, u, w, k, carry):
    """The recurrence over chunks; leading axis rows x chunks."""
    q, attention, u, w, k, carry = (t.unflatten(0, (rows, -1)) for t in (q, attention, u, w, k, carry))
    state, outputs = None, []
    for i in range(q.shape[1]):
        if state is None:
            value = u[:, i]
            outputs.append(attention[:, i] @ value)
            state = k[:, i].transpose(-1, -2) @ value
        else:
            value = u[:, i] - w[:, i] @ state
            outputs.append(q[:, i] @ state + attention[:, i] @ value)
            state = state * carry[:, i] + k[:, i].transpose(-1, -2) @ value
    return torch.stack(outputs, dim=1).flatten(0, 1)


def delta_after(x, out, z, norm, w_out):
    out = out.transpose(1, 2).flatten(0, 1)  # (tokens, heads, 128)
    out = norm * (out * torch.rsqrt(out.pow(2).mean(-1, keepdim=True) + 1e-6))
    out = out * F.silu(z.float().unflatten(-1, (-1, 128)))
    return x + linear(out.flatten(1), w_out).float()


def attention_before(x, cos, sin, norm, w_q, w_k, w_v, q_norm, k_norm):
    """q, k, v (tokens, heads, 256) and the gate; cos, sin (tokens, 64)."""
    h = rms_norm(x, norm)
    q, gate = linear(h, w_q).unflatten(-1, (-1, 512)).chunk(2, dim=-1)
    k, v = (linear(h, w).unflatten(-1, (-1, 256)) for w in (w_k, w_v))
    q, k = rms_norm(q.float(), q_norm), rms_norm(k.float(), k_norm)

    def turn(t):
        part, rest = t[..., :64], t[..., 64:]
        rotated = torch.cat([-part[..., 32:], part[..., :32]], dim=-1)
        return torch.cat([part * cos.unsqueeze(1) + rotated * sin.unsqueeze(1), rest], dim=-1)

    return turn(q).to(v.dtype), turn(k).to(v.dtype), v, gate


def attention_after(x, out, gate, w_o):
    return x + linear((out * gate.sigmoid()).flatten(1), w_o).float()


def experts(x, norm, router, gate_up, down, shared_gate, shared_up, shared_down, shared_scale):
    """The MoE block with all experts for all tokens, weighted by the sparse routing (with experts this small two plain
    matrix products win); returns the new residual stream and the load-balancing loss."""
    h = rms_norm(x, norm)
    probabilities = F.linear(h, router).softmax(-1)
    top, chosen = probabilities.topk(4, dim=-1)
    routing = torch.zeros_like(probabilities).scatter(1, chosen, top / top.sum(-1, keepdim=True))
    count = gate_up.shape[0]
    wide = linear(h, gate_up.flatten(0, 1)).unflatten(-1, (count, -1))
    gate, up = wide.chunk(2, dim=-1)
    inner = F.silu(gate) * up * routing.to(wide.dtype).unsqueeze(-1)
    routed = linear(inner.flatten(1), down.permute(1, 0, 2).flatten(1))
    shared = linear(F.silu(linear(h, shared_gate)) * linear(h, shared_up), shared_down)
    shared = shared * linear(h, shared_scale).sigmoid()
    balance = count * ((routing > 0).float().mean(0) * probabilities.mean(0)).sum() / 4
    return x + routed.float() + shared.float(), balance


class PackedModel:
    """Hidden states of packed rows, from the parameters of a Transformers model."""

    def __init__(self, model, compiled):
        self.text = model.model.language_model
        wrap = torch.compile if compiled else (lambda f: f)
        self.delta_before, self.delta_after = wrap(delta_before), wrap(delta_after)
        self.attention_before, self.attention_after = wrap(attention_before), wrap(attention_after)
        self.experts = wrap(experts)

    def delta(self, x, net, norm, rows, reach, first):
        *parts, z = self.delta_before(x, reach, first, norm, net.in_proj_qkv.weight, net.in_proj_z.weight, net.in_proj_b.weight,
                                      net.in_proj_a.weight, net.conv1d.weight, net.A_log, net.dt_bias)
        return self.delta_after(x, delta_scan(rows, *parts), z, net.norm.weight, net.out_proj.weight)

    def attend(self, x, net, norm, rows, cos, sin, mask):
        q, k, v, gate = self.attention_before(x, cos, sin, norm, net.q_proj.weight, net.k_proj.weight, net.v_proj.weight, net.q_norm.weight, net.k_norm.weight)
        q, k, v = (t.unflatten(0, (rows, -1)).transpose(1, 2) for t in (q, k, v))
        groups = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=256 ** -0.5)
        return self.attention_after(x, out.transpose(1, 2).flatten(0, 1), gate, net.o_proj.weight)

    def hidden(self, ids, position, document):
        """ids, position (within the document), document (number within the row): all (rows, length). Returns (tokens, hidden)
        after the final norm, and the mean balance loss."""
        rows, length = ids.shape
        first = (position == 0).flatten()
        reach = torch.stack([(position >= back).flatten() for back in (1, 2, 3)])
        frequency = 10000000.0 ** (-torch.arange(0, 64, 2, device=ids.device, dtype=torch.float32) / 64)
        angle = position.flatten().unsqueeze(-1).float() * frequency
        cos, sin = (torch.cat([t, t], dim=-1) for t in (angle.cos(), angle.sin()))
        mask = (document.unsqueeze(-1) == document.unsqueeze(-2)).tril().unsqueeze(1)
        x = F.embedding(ids.flatten(), self.text.embed_tokens.weight)
        total = 0.0
        for layer in self.text.layers:
            if hasattr(layer, "linear_attn"):
                x = self.delta(x, layer.linear_attn, layer.input_layernorm.weight, rows, reach, first)
            else:
                x = self.attend(x, layer.self_attn, layer.input_layernorm.weight, rows, cos, sin, mask)
            mlp = layer.mlp
            x, balance = self.experts(x, layer.post_attention_layernorm.weight, mlp.gate.weight, mlp.experts.gate_up_proj, mlp.experts.down_proj,
                                      mlp.shared_expert.gate_proj.weight, mlp.shared_expert.up_proj.weight, mlp.shared_expert.down_proj.weight,
                                      mlp.shared_expert_gate.weight)
            total = total + balance
        return rms_norm(x, self.text.norm.weight), total / len(self.text.layers)
