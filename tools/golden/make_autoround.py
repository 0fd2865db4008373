"""Writes tests/golden/written: tiny checkpoints that the real AutoRound exported.

    make_autoround.py [NAME...]      in an environment of its own with auto-round 0.16, torchvision, Transformers

The sizes are chosen for the exporter's corners: 192 inputs (the last group of 128 is half full), 64 inputs (one short
group), in_proj_a/b with 32 rows (they are quantized), experts 48 wide (not a multiple of 32: they stay 16-bit), and a
multi-token head, which `auto_round:auto_gptq` packs by plain rounding into model_extra_tensors.safetensors (with its
inputs padded to whole groups) and `auto_gptq` copies. make_written_logits.py gives the reference logits.
"""

import json
import pathlib
import shutil
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file

import model_zoo

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "written"
L, F = "linear_attention", "full_attention"
# name -> (export format, experts, intermediate size of an expert, whether the source has a multi-token head)
EXPORTS = {
    "autoround_split": ("auto_round:auto_gptq", 5, 64, False),
    "autoround_mtp": ("auto_round:auto_gptq", 3, 192, True),
    "autoround_odd": ("auto_round:auto_gptq", 5, 48, False),
    "autogptq_mtp": ("auto_gptq", 3, 96, True),
    "autoround_awq": ("auto_awq", 5, 128, False),
    "autoround_compressed": ("llm_compressor", 5, 128, False),
}
WHOLE_GROUPS = ("auto_awq", "llm_compressor")  # these exporters refuse a last group that is not full
VOCAB = 288


def fields(form, experts, width):
    hidden, shared = (256, 128) if form in WHOLE_GROUPS else (192, 64)
    return model_zoo.text(VOCAB, hidden, [L, F], 2, 1, 64, 0.5, [6, 5, 5], (8, 32, 16, 16, 4),
                          **model_zoo.moe(experts, 2, width, shared), mtp_num_hidden_layers=1)


def tokenizer(folder):
    """Byte-level BPE without merges: enough for a calibration text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.save_pretrained(folder)
    vision = {"patch_size": 4, "temporal_patch_size": 2, "merge_size": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
              "processor_class": "Qwen3VLProcessor"}
    image = vision | {"image_processor_type": "Qwen2VLImageProcessorFast",
                      "size": {"longest_edge": 16777216, "shortest_edge": 65536}}
    video = vision | {"video_processor_type": "Qwen3VLVideoProcessor",
                      "size": {"longest_edge": 25165824, "shortest_edge": 4096}}
    (folder / "preprocessor_config.json").write_text(json.dumps(image))
    (folder / "video_preprocessor_config.json").write_text(json.dumps(video))
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}")


def mtp_tensors(config, width):
    """The head in the original layout, experts split; its values do not matter to the logits."""
    text = config.text_config
    layer = transformers.models.qwen3_5_moe.modeling_qwen3_5_moe.Qwen3_5MoeDecoderLayer(text, 1)
    with torch.no_grad():
        for number, p in enumerate(layer.parameters()):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(number)) * 0.05)
    hidden = text.hidden_size
    tensors = {"mtp.fc.weight": torch.randn(hidden, 2 * hidden) * 0.05}
    for norm in ("norm", "pre_fc_norm_embedding", "pre_fc_norm_hidden"):
        tensors[f"mtp.{norm}.weight"] = torch.randn(hidden) * 0.2
    for name, value in layer.state_dict().items():
        if name.endswith("experts.gate_up_proj"):
            for e in range(value.shape[0]):
                at = f"mtp.layers.0.mlp.experts.{e}."
                tensors |= {at + "gate_proj.weight": value[e, :width], at + "up_proj.weight": value[e, width:]}
        elif name.endswith("experts.down_proj"):
            tensors |= {f"mtp.layers.0.mlp.experts.{e}.down_proj.weight": value[e] for e in range(value.shape[0])}
        else:
            tensors[f"mtp.layers.0.{name}"] = value
    return {n: t.detach().to(torch.bfloat16).contiguous() for n, t in tensors.items()}


def write_source(folder, form, experts, width, with_mtp):
    cls = transformers.Qwen3_5MoeForConditionalGeneration
    model = cls(model_zoo.make_config(cls, fields(form, experts, width)))
    model_zoo.draw_weights(model, 77)
    model = model.to(torch.bfloat16)
    for name, p in list(model.named_parameters()):
        if name.endswith(("A_log", "linear_attn.norm.weight")):
            p.data = p.detach().float() * 1.0013
    model.config.dtype = torch.bfloat16
    model.save_pretrained(folder, save_original_format=False)
    tokenizer(folder)
    if with_mtp:
        path = folder / "model.safetensors"
        tensors = load_file(path) | mtp_tensors(model.config, width)
        save_file(tensors, path, metadata={"format": "pt"})


def export(name):
    """Runs the real tool: a few iterations, so that rounding is not plain."""
    from auto_round import AutoRound

    form, experts, width, with_mtp = EXPORTS[name]
    source = pathlib.Path("/tmp") / f"source-{name}"
    shutil.rmtree(source, ignore_errors=True)
    write_source(source, form, experts, width, with_mtp)
    texts = source / "calibration.jsonl"
    words = "the quick brown fox jumps over the lazy dog while seven bright stars fall into a quiet sea".split()
    with open(texts, "w", encoding="utf-8") as lines:
        for i in range(24):
            chosen = [words[(i * 7 + j * (j + i)) % len(words)] for j in range(60)]
            lines.write(json.dumps({"text": " ".join(chosen)}) + "\n")
    target = ROOT / name
    shutil.rmtree(target, ignore_errors=True)
    rounding = AutoRound(model=str(source), scheme="W4A16", dataset=str(texts), iters=8, nsamples=8, seqlen=64,
                         batch_size=4, device_map="cpu", enable_torch_compile=False)
    rounding.quantize_and_save(output_dir=str(target), format=form)
    for nested in [p for p in target.iterdir() if p.is_dir()]:
        for file in nested.iterdir():
            shutil.move(file, target / file.name)
        nested.rmdir()


def main():
    for name in sys.argv[1:] or EXPORTS:
        export(name)


if __name__ == "__main__":
    main()
