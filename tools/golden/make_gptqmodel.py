"""Writes tests/golden/written/gptqmodel_*: tiny checkpoints that the real GPTQModel exported on the CPU.

    make_gptqmodel.py [NAME...]      in an environment of its own with gptqmodel, Transformers

Activation order, asymmetric zero points and both versions of the format come from the tool itself here.
make_written_logits.py gives the reference logits.
"""

import pathlib
import re
import shutil
import sys

import torch

import make_autoround

# name -> fields of QuantizeConfig
EXPORTS = {
    "gptqmodel_act_order": {"group_size": 64, "sym": True, "desc_act": True, "format": "gptq"},
    "gptqmodel_asym": {"group_size": 32, "sym": False, "desc_act": False, "format": "gptq_v2"},
}


def export(name):
    from gptqmodel import BACKEND, GPTQModel, QuantizeConfig

    source = pathlib.Path("/tmp") / f"source-{name}"
    shutil.rmtree(source, ignore_errors=True)
    make_autoround.write_source(source, 3, 64, False)
    config = QuantizeConfig(bits=4, device="cpu", **EXPORTS[name])
    model = GPTQModel.load(str(source), config, backend=BACKEND.TORCH)
    generator = torch.Generator().manual_seed(5)
    calibration = [{"input_ids": torch.randint(0, 256, (1, 96), generator=generator),
                    "attention_mask": torch.ones(1, 96, dtype=torch.long)} for _ in range(24)]
    model.quantize(calibration, batch_size=1, backend=BACKEND.TORCH)
    target = make_autoround.ROOT / name
    shutil.rmtree(target, ignore_errors=True)
    model.save(str(target))
    (target / "quant_log.csv").unlink(missing_ok=True)
    for name in ("config.json", "quantize_config.json"):  # the place of a scratch folder says nothing
        file = target / name
        file.write_text(re.sub(r'("offload_to_disk_path": )"[^"]*"', r'\1null', file.read_text()))


def main():
    for name in sys.argv[1:] or EXPORTS:
        export(name)


if __name__ == "__main__":
    main()
