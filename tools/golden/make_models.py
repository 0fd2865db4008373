"""Writes the tiny random checkpoints of tests/golden/models with Transformers' own save_pretrained.

    make_models.py [NAME...]      all of model_zoo.ZOO without a name

Run once; the checkpoints are committed, so that a test never depends on a random generator of some library's version.
"""

import json
import pathlib
import shutil
import sys

import torch

import model_zoo

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "models"


def restyle_config(path, options):
    """The original releases differ from today's save_pretrained: the vision tower's model_type repeats the whole
    model's, `torch_dtype` may stand for `dtype`, and some copies have no layer list, only its interval."""
    config = json.loads(path.read_text())
    config["vision_config"]["model_type"] = config["model_type"]
    config["transformers_version"] = "4.57.0.dev0"
    texts = config["text_config"]
    texts["mtp_num_hidden_layers"] = 1
    texts["mtp_use_dedicated_embeddings"] = False
    texts["mlp_only_layers"] = []
    if options.get("derive_layers"):
        del texts["layer_types"]
        config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2) + "\n")


def write_model(name, seed):
    cls, fields, options = model_zoo.ZOO[name]
    model = cls(model_zoo.make_config(cls, fields))
    model_zoo.draw_weights(model, seed)
    model = model.to(torch.bfloat16)
    if options.get("f32"):
        for part, p in list(model.named_parameters()):
            if part.endswith(("A_log", "linear_attn.norm.weight")):
                # Values that bfloat16 cannot hold: a loader that narrows them shows in the float32 comparison.
                exact = p.detach().float() * 1.0013
                p.data = exact
    model.config.dtype = torch.bfloat16
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, max_shard_size=options.get("shard", "50GB"),
                          save_original_format=not options.get("fused"))
    if options.get("original"):
        restyle_config(folder / "config.json", options)
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{name}: {cls.__name__}, {sum(p.numel() for p in model.parameters())} parameters, {size / 1e6:.2f} MB")


def main():
    names = sys.argv[1:] or list(model_zoo.ZOO)
    for name in names:
        write_model(name, 1 + list(model_zoo.ZOO).index(name))


if __name__ == "__main__":
    main()
