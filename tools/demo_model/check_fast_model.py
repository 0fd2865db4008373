"""Checks fast_model.py against Transformers: packed documents must give the hidden states they have when run alone."""

import torch
from transformers import Qwen3_5MoeConfig, Qwen3_5MoeForConditionalGeneration

import fast_model
import model_files


def main():
    torch.manual_seed(0)
    model = Qwen3_5MoeForConditionalGeneration(Qwen3_5MoeConfig.from_dict(model_files.config_dict())).float().eval()
    for name, p in model.named_parameters():  # away from the initial values, where zero-centred norms and gates hide faults
        torch.nn.init.normal_(p, 0, 0.05) if p.dim() > 1 else p.data.add_(torch.randn_like(p) * 0.1)
    lengths = [[70, 3, 1, 54], [5, 100, 23]]
    ids = torch.randint(0, 8000, (2, 128))
    position = torch.stack([torch.cat([torch.arange(n) for n in row]) for row in lengths])
    document = torch.stack([torch.cat([torch.full((n,), i) for i, n in enumerate(row)]) for row in lengths])
    with torch.no_grad():
        got, _ = fast_model.PackedModel(model, compiled=False).hidden(ids, position, document)
        got, worst = got.view(2, 128, -1), 0.0
        for r, row in enumerate(lengths):
            start = 0
            for n in row:
                want = model.model.language_model(input_ids=ids[r:r + 1, start:start + n], use_cache=False).last_hidden_state[0]
                worst = max(worst, float((got[r, start:start + n] - want).abs().max()))
                start += n
    print(f"largest difference {worst:.2e}")
    assert worst < 1e-3


if __name__ == "__main__":
    main()
