"""Writes the format fixtures: one small model in every checkpoint layout that must load (numpy only).

    make_formats.py OUT [VARIANT...]

VARIANTS maps a folder's name to the set of logical weights it holds (its reference logits), the group whose members
must give the very same bytes (or None), and its writer. format_faults.py adds what must be refused.
"""

import json
import pathlib
import sys

import numpy as np

import format_packing as packing
import format_source as source

FILE = "model.safetensors"
ORIGINAL = {"text": "model.language_model.", "head": "lm_head.weight", "visual": "model.visual."}
TEXT_ONLY = {"text": "model.", "head": "lm_head.weight", "visual": None}
RAW_AUTOROUND = {"text": "model.", "head": "lm_head.weight", "visual": "model.visual."}
LANGUAGE_FIRST = {"text": "language_model.model.", "head": "lm_head.weight", "visual": "model.visual."}
LANGUAGE_HEAD = {"text": "language_model.model.", "head": "language_model.lm_head.weight", "visual": "model.visual."}
INNER_HEAD = {"text": "model.language_model.", "head": "model.language_model.lm_head.weight", "visual": "model.visual."}


def place(names, at):
    """The names of a checkpoint from those of format_source."""
    result = {}
    for name, value in names.items():
        result[at["head"] if name == "lm_head.weight" else at["text"] + name] = value
    return result


def arrange(linears, experts, layer):
    """The matrices of one layer under the names of a naming variant: `split`, `fused` (gate and up of one expert in
    one matrix), or `stacked` (all experts in one; those become 3-D tensors, see stacked())."""
    mine = {n: w for n, w in linears.items() if n.startswith(f"layers.{layer}.")}
    if experts == "fused":
        for e in range(source.EXPERTS):
            at = f"layers.{layer}.mlp.experts."
            both = source.Linear.stack(mine.pop(f"{at}{e}.gate_proj"), mine.pop(f"{at}{e}.up_proj"))
            mine |= {f"{at}gate_up_proj.{e}": both, f"{at}down_proj.{e}": mine.pop(f"{at}{e}.down_proj")}
    if experts == "stacked":
        mine = {n: w for n, w in mine.items() if ".experts." not in n}
    return mine


def stacked(linears, layer, dtype):
    """The 3-D expert tensors of the original releases: (experts, 2 x width, hidden) and (experts, hidden, width)."""
    at = f"layers.{layer}.mlp.experts."

    def all_of(member):
        return np.stack([linears[f"{at}{e}.{member}"].values() for e in range(source.EXPERTS)])

    gate_up = np.concatenate([all_of("gate_proj"), all_of("up_proj")], axis=1)
    return {f"{at}gate_up_proj": packing.tensor(dtype, gate_up),
            f"{at}down_proj": packing.tensor(dtype, all_of("down_proj"))}


def text_tensors(linears, pack, experts="split", dtype="BF16", keep=lambda name: False):
    """All text tensors under format_source's names. `keep` says which matrices stay 16-bit; `experts` may be a
    list, one entry per layer."""
    result = {name: packing.tensor(dtype, values) for name, values in source.plain_tensors().items()}
    for layer in range(len(source.LAYERS)):
        mode = experts if isinstance(experts, str) else experts[layer]
        for name, linear in arrange(linears, mode, layer).items():
            result |= (packing.dense(dtype) if keep(name) else pack)(name, linear)
        if mode == "stacked":
            result |= stacked(linears, layer, dtype)
    return result


def visual(at=ORIGINAL, dtype="BF16"):
    return {at["visual"] + n: packing.tensor(dtype, v) for n, v in source.visual_tensors().items()}


def mtp(pack):
    """The multi-token head's tensors; `pack` takes its matrices, all experts split."""
    result = {f"mtp.{n}": packing.tensor("BF16", v) for n, v in source.mtp_tensors().items()}
    for name, linear in source.mtp_linears().items():
        result |= {f"mtp.{n}": t for n, t in pack(name, linear).items()}
    return result


# -- quantization_config ---------------------------------------------------------------------------------------------

def autoround(form="auto_round:auto_gptq", group=128, sym=True, extra=None):
    entry = {"bits": 4, "group_size": group, "sym": sym, "data_type": "int", "quant_method": "auto-round",
             "packing_format": form, "autoround_version": "0.10.2",
             "block_name_to_quantize": "model.language_model.layers"}
    return entry | ({"extra_config": extra} if extra else {})


def gptq(form="gptq", group=128, sym=True, desc_act=False):
    return {"quant_method": "gptq", "bits": 4, "group_size": group, "sym": sym, "desc_act": desc_act, "lm_head": False,
            "checkpoint_format": form, "pack_dtype": "int32", "true_sequential": False, "damp_percent": 0.01}


def awq(group=64):
    return {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True, "version": "gemm",
            "modules_to_not_convert": ["mlp.gate", "shared_expert_gate", "visual"]}


def compressed(group=64, symmetric=True):
    weights = {"num_bits": 4, "type": "int", "symmetric": symmetric, "strategy": "group", "group_size": group,
               "dynamic": False, "actorder": None, "observer": "minmax"}
    return {"quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed",
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": None,
                                          "output_activations": None}},
            "ignore": ["lm_head", "re:.*mlp.gate$", "re:.*shared_expert_gate$", "re:.*visual.*"]}


def fp8():
    return {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_per_tensor": False, "act_per_tensor": False,
            "weight_block_size": [128, 128], "modules_to_not_convert": ["lm_head", "model.language_model.embed_tokens"]}


# -- writing a folder ------------------------------------------------------------------------------------------------

def config_for(at, quantization=None, **changes):
    config = source.config()
    if at["visual"] is None:
        config = config["text_config"] | {"architectures": ["Qwen3_5MoeForCausalLM"], "tie_word_embeddings": False}
    if quantization:
        config["quantization_config"] = quantization
    return config | changes


def write(folder, config, files, index=None):
    """`files`: file name -> tensors. `index`: None, or the names of the files that the index lists."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for name, tensors in files.items():
        packing.write_safetensors(folder / name, tensors)
    if index is not None:
        weight_map = {tensor: name for name in index for tensor in files[name]}
        total = sum(len(t[2]) for name in index for t in files[name].values())
        text = json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2)
        (folder / "model.safetensors.index.json").write_text(text + "\n")


def simple(kind, pack, experts="split", at=ORIGINAL, quantization=None, dtype="BF16", **more):
    """A variant of one file."""
    def build(folder):
        tensors = place(text_tensors(source.linears(kind), pack, experts, dtype, **more), at)
        if at["visual"]:
            tensors |= visual(at, dtype)
        write(folder, config_for(at, quantization), {FILE: tensors})
    return build


def halves(tensors):
    """Two shards that cut the list in the middle of a layer."""
    names = list(tensors)
    middle = len(names) // 2
    return {"model-00001-of-00002.safetensors": {n: tensors[n] for n in names[:middle]},
            "model-00002-of-00002.safetensors": {n: tensors[n] for n in names[middle:]}}


def with_files(extra, listed=True, index=True):
    """The W4A16 form of the published checkpoint in two shards, with further files: name -> tensors. Unlisted ones
    are missing from the index, as when a user drops a file into a folder."""
    def build(folder):
        tensors = place(text_tensors(source.linears("g128"), packing.gptq(), "fused"), ORIGINAL)
        shards = halves(tensors)
        files = shards | extra()
        names = (list(files) if listed else list(shards)) if index else None
        write(folder, config_for(ORIGINAL, autoround()), files, names)
    return build


def visual_file():
    return {"visual-encoder-clean.safetensors": visual()}


def extra_file(pack):
    return lambda: visual_file() | {"model_extra_tensors.safetensors": mtp(pack)}


def separate_quantization_file(folder):
    """quantization_config.json alone says how the tensors are packed."""
    simple("g128", packing.gptq(), "fused")(folder)
    (folder / "quantization_config.json").write_text(json.dumps(autoround(), indent=2) + "\n")


def tied(copy):
    """A tied head, absent from the file or there as a copy of the embedding (both are published)."""
    def build(folder):
        tensors = place(text_tensors(source.linears("g128"), packing.dense(), "stacked"), ORIGINAL)
        del tensors["lm_head.weight"]
        if copy:
            tensors["lm_head.weight"] = tensors[ORIGINAL["text"] + "embed_tokens.weight"]
        write(folder, config_for(ORIGINAL, tie_word_embeddings=True), {FILE: tensors | visual()})
    return build


def partial_matrices(name):
    """About a third of the matrices, the same ones on every machine: gate apart from up, one expert whole."""
    return ".0.mlp.experts.2." in name or source.hash64(f"keep/{name}", 1)[0] % 3 == 0


def not_experts(name):
    return ".experts." not in name


def block_fp8(scales):
    def build(folder):
        tensors = place(text_tensors(packing.fp8_linears(), packing.block_fp8(scales)), ORIGINAL)
        write(folder, config_for(ORIGINAL, fp8()), {FILE: tensors | visual()})
    return build


MIXED = {ORIGINAL["text"] + name: {"group_size": 32}
         for layer, mixer in enumerate(source.LAYERS) for name, *_ in source.linear_shapes(layer, mixer)
         if source.group_size_of("mixed_groups", f".{name}") == 32}
V1, V2, TRIVIAL = packing.gptq(), packing.gptq(0), packing.gptq(g_idx=True)

VARIANTS = {
    # 16 and 32 bits: original stacked experts, per-expert names, every prefix
    "stacked_bf16": ("g128", "dense", simple("g128", packing.dense(), "stacked")),
    "stacked_f32": ("g128", "dense_f32", simple("g128", packing.dense("F32"), "stacked", dtype="F32")),
    "stacked_f16": ("g128", "dense_f16", simple("g128", packing.dense("F16"), "stacked", dtype="F16")),
    "split_bf16": ("g128", "dense", simple("g128", packing.dense())),
    "split_f32": ("g128", "dense_f32", simple("g128", packing.dense("F32"), dtype="F32")),
    "fused_bf16": ("g128", "dense", simple("g128", packing.dense(), "fused")),
    "prefix_text_only": ("g128", "dense", simple("g128", packing.dense(), "stacked", TEXT_ONLY)),
    "prefix_raw_autoround": ("g128", "int4_g128", simple("g128", V1, "split", RAW_AUTOROUND, autoround())),
    "prefix_language_first": ("g128", "dense", simple("g128", packing.dense(), "split", LANGUAGE_FIRST)),
    "prefix_language_head": ("g128", "dense", simple("g128", packing.dense(), "split", LANGUAGE_HEAD)),
    "prefix_inner_head": ("g128", "dense", simple("g128", packing.dense(), "stacked", INNER_HEAD)),
    "tied_absent": ("tied", "tied", tied(copy=False)),
    "tied_copy": ("tied", "tied", tied(copy=True)),
    # int4, groups of 128, the last of 192 inputs ragged
    "autoround_fused": ("g128", "int4_g128", simple("g128", V1, "fused", quantization=autoround())),
    "autoround_split": ("g128", "int4_g128", simple("g128", V1, quantization=autoround())),
    "autoround_gptqmodel": ("g128", "int4_g128", simple(
        "g128", packing.gptq(0, g_idx=True), quantization=autoround("auto_round:gptqmodel"))),
    "autoround_bare": ("g128", "int4_g128", simple("g128", V2, quantization=autoround("auto_round"))),
    "gptq_v1": ("g128", "int4_g128", simple("g128", TRIVIAL, quantization=gptq())),
    "gptq_v1_no_g_idx": ("g128", "int4_g128", simple("g128", V1, quantization=gptq())),
    "gptq_v2": ("g128", "int4_g128", simple("g128", packing.gptq(0, g_idx=True), quantization=gptq("gptq_v2"))),
    "gptq_zero_bias": ("g128", "int4_g128", simple("g128", packing.gptq(1, True, zero_bias=True), quantization=gptq())),
    "gptq_bf16_scales": ("g128", "int4_g128", simple("g128", packing.gptq(scales="BF16"), quantization=gptq())),
    "gptq_f32_scales": ("g128", "int4_g128", simple("g128", packing.gptq(scales="F32"), quantization=gptq())),
    "gptq_experts_only": ("g128", None, simple("g128", TRIVIAL, quantization=gptq(), keep=not_experts)),
    "partial_split": ("g128", None, simple("g128", V1, quantization=autoround(), keep=partial_matrices)),
    "partial_fused": ("g128", None, simple("g128", V1, "fused", quantization=autoround(), keep=partial_matrices)),
    "partial_layer": ("g128", None, simple("g128", V1, ["stacked", "split"], quantization=autoround(),
                                           keep=lambda name: name.startswith("layers.0."))),
    "f16_scales_int4": ("f16_scales", None, simple("f16_scales", V1, "fused", quantization=autoround())),
    "f16_scales_f32": ("f16_scales", None, simple("f16_scales", packing.dense("F32"), "stacked", dtype="F32")),
    # int4, other groups; zero points; activation order
    "g64_autoround": ("g64", "int4_g64", simple("g64", V1, "fused", quantization=autoround(group=64))),
    "g64_gptq_v1": ("g64", "int4_g64", simple("g64", TRIVIAL, quantization=gptq(group=64))),
    "g64_awq": ("g64", "int4_g64", simple("g64", packing.awq(), quantization=awq())),
    "g64_awq_autoround": ("g64", "int4_g64", simple(
        "g64", packing.awq(), quantization=autoround("auto_round:auto_awq", 64))),
    "g64_compressed": ("g64", "int4_g64", simple("g64", packing.compressed_tensors(), quantization=compressed())),
    "g64_compressed_f16": ("g64", "int4_g64", simple(
        "g64", packing.compressed_tensors("F16"), quantization=compressed())),
    "g64_compressed_partial": ("g64", None, simple("g64", packing.compressed_tensors(), quantization=compressed(),
                                                   keep=partial_matrices)),
    "g32_gptq": ("g32", "int4_g32", simple("g32", V1, quantization=gptq(group=32))),
    "g32_autoround": ("g32", "int4_g32", simple("g32", V1, "fused", quantization=autoround(group=32))),
    "channel_gptq": ("channel", "int4_channel", simple("channel", TRIVIAL, quantization=gptq(group=-1))),
    "channel_autoround": ("channel", "int4_channel", simple("channel", V1, "fused", quantization=autoround(group=-1))),
    "mixed_groups": ("mixed_groups", None, simple("mixed_groups", V1, quantization=autoround(extra=MIXED))),
    "asym_gptq_v1": ("asym_g64", "asym_g64", simple("asym_g64", TRIVIAL, quantization=gptq(group=64, sym=False))),
    "asym_gptq_v2": ("asym_g64", "asym_g64", simple(
        "asym_g64", packing.gptq(0, True), quantization=gptq("gptq_v2", 64, False))),
    "asym_autoround": ("asym_g64", "asym_g64", simple(
        "asym_g64", V1, "fused", quantization=autoround(group=64, sym=False))),
    "asym_awq": ("asym_g64", "asym_g64", simple("asym_g64", packing.awq(), quantization=awq())),
    "asym_compressed": ("asym_g64", "asym_g64", simple(
        "asym_g64", packing.compressed_tensors(asymmetric=True), quantization=compressed(symmetric=False))),
    "act_order_v1": ("act_order", "act_order", simple(
        "act_order", TRIVIAL, quantization=gptq(group=64, desc_act=True))),
    "act_order_v2": ("act_order", "act_order", simple(
        "act_order", packing.gptq(0, True), quantization=gptq("gptq_v2", 64, desc_act=True))),
    "act_order_undeclared": ("act_order", "act_order", simple("act_order", TRIVIAL, quantization=gptq(group=64))),
    "act_order_asym": ("act_order_asym", None, simple(
        "act_order_asym", TRIVIAL, quantization=gptq(group=64, sym=False, desc_act=True))),
    # official block FP8
    "fp8": ("fp8", "fp8", block_fp8("BF16")),
    "fp8_f32_scales": ("fp8", "fp8", block_fp8("F32")),
    # files: shards, the published extra files, MTP in 16 bits and packed
    "sharded_no_index": ("g128", "int4_g128", with_files(visual_file, index=False)),
    "visual_listed": ("g128", "int4_g128", with_files(visual_file)),
    "visual_unlisted": ("g128", "int4_g128", with_files(visual_file, listed=False)),
    "no_visual": ("g128", "int4_g128", with_files(dict)),
    "mtp_bf16": ("g128", "int4_g128", with_files(extra_file(packing.dense()))),
    "mtp_int4": ("g128", "int4_g128", with_files(extra_file(packing.gptq()))),
    "quantization_file": ("g128", "int4_g128", separate_quantization_file),
}


def main():
    out = pathlib.Path(sys.argv[1])
    for name in sys.argv[2:] or VARIANTS:
        VARIANTS[name][2](out / name)


if __name__ == "__main__":
    main()
