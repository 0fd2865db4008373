"""Folders that must be refused: layouts that are recognised but not run, and damaged checkpoints (numpy only).

FAULTS maps a folder's name to (words that the one line on standard error must hold, writer). A word may be a tuple:
one of them. Each folder differs from a good one in exactly one way.
"""

import functools
import json
import struct

import numpy as np

import format_packing as packing
import format_source as source
import make_formats as formats

FILE, LAYER = formats.FILE, "model.language_model.layers."
Q_PROJ = f"{LAYER}1.self_attn.q_proj"


@functools.cache
def _good():
    tensors = formats.place(formats.text_tensors(source.linears("g128"), packing.gptq(), "fused"), formats.ORIGINAL)
    return tensors | formats.visual()


def good():
    return dict(_good())


def with_tensors(change, **config):
    """A good W4A16 checkpoint after `change` of its tensors (which returns None or another dict)."""
    def build(folder):
        tensors = good()
        tensors = change(tensors) or tensors
        formats.write(folder, formats.config_for(formats.ORIGINAL, formats.autoround()) | config, {FILE: tensors})
    return build


def with_config(change):
    def build(folder):
        config = formats.config_for(formats.ORIGINAL, formats.autoround())
        config = change(config) or config
        formats.write(folder, config, {FILE: good()})
    return build


def with_header(change):
    """`change` takes the parsed header and the data, and returns the header's bytes and the data."""
    def build(folder):
        formats.write(folder, formats.config_for(formats.ORIGINAL, formats.autoround()), {})
        header, data = packing.header_bytes(good(), {"format": "pt"})
        packing.write_raw(folder / FILE, *change(json.loads(header), data))
    return build


def entry(change):
    """`change` edits the header's entry of q_proj.qweight."""
    def edit(header, data):
        change(header[f"{Q_PROJ}.qweight"])
        return json.dumps(header).encode(), data
    return with_header(edit)


def with_bytes(change):
    """`change` maps the bytes of the good file."""
    def build(folder):
        with_header(lambda header, data: (json.dumps(header).encode(), data))(folder)
        (folder / FILE).write_bytes(change((folder / FILE).read_bytes()))
    return build


def reshape(name, dtype, shape):
    size = {"I32": 4, "BF16": 2, "F16": 2, "F32": 4}[dtype]
    return lambda tensors: tensors.update({name: (dtype, shape, bytes(int(np.prod(shape)) * size))})


def remove(name):
    return lambda tensors: {n: t for n, t in tensors.items() if not n.startswith(name)}


# -- damaged containers ----------------------------------------------------------------------------------------------

def overlap(header, data):
    header[f"{Q_PROJ}.scales"]["data_offsets"] = header[f"{Q_PROJ}.qzeros"]["data_offsets"][:1] * 2
    header[f"{Q_PROJ}.scales"]["data_offsets"][1] += int(np.prod(header[f"{Q_PROJ}.scales"]["shape"])) * 2
    return json.dumps(header).encode(), data


def hole(header, data):
    """Sixteen bytes that belong to no tensor, in the middle."""
    cut = header[f"{Q_PROJ}.qweight"]["data_offsets"][0]
    for tensor in header.values():
        if "data_offsets" in tensor and tensor["data_offsets"][0] >= cut:
            tensor["data_offsets"] = [x + 16 for x in tensor["data_offsets"]]
    return json.dumps(header).encode(), data[:cut] + bytes(16) + data[cut:]


def duplicate(header, data):
    text = json.dumps(header)
    twice = json.dumps({f"{Q_PROJ}.qweight": header[f"{Q_PROJ}.qweight"]})[1:-1]
    return (text[:-1] + ", " + twice + "}").encode(), data


def deep_json(header, data):
    return b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", data


def trailing(header, data):
    return json.dumps(header).encode(), data + bytes(64)


def header_length(value):
    return with_bytes(lambda content: struct.pack("<Q", value) + content[8:])


def truncated_shard(folder):
    files = formats.halves(good())
    formats.write(folder, formats.config_for(formats.ORIGINAL, formats.autoround()), files, list(files))
    path = folder / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def missing_shard(folder):
    files = formats.halves(good())
    formats.write(folder, formats.config_for(formats.ORIGINAL, formats.autoround()), files, list(files))
    (folder / "model-00002-of-00002.safetensors").unlink()


def index_change(change):
    def build(folder):
        files = formats.halves(good())
        formats.write(folder, formats.config_for(formats.ORIGINAL, formats.autoround()), files, list(files))
        path = folder / "model.safetensors.index.json"
        path.write_text(change(path.read_text()))
    return build


def same_name_in_two_files(folder):
    """Two unlisted files hold one tensor with different values: nobody can say which one counts."""
    files = formats.halves(good())
    first, second = files.values()
    second[f"{Q_PROJ}.scales"] = packing.tensor("F16", np.ones(good()[f"{Q_PROJ}.scales"][1]))
    first[f"{Q_PROJ}.scales"] = good()[f"{Q_PROJ}.scales"]
    formats.write(folder, formats.config_for(formats.ORIGINAL, formats.autoround()), files)


# -- layouts that are recognised and refused ---------------------------------------------------------------------------

def nvfp4(name, linear):
    out, inputs = linear.outputs, linear.inputs
    return {f"{name}.weight": packing.tensor("U8", np.zeros((out, inputs // 2))),
            f"{name}.weight_scale": packing.tensor("F8_E4M3", np.full((out, inputs // 16), 0x38)),
            f"{name}.weight_scale_2": packing.tensor("F32", np.ones(())),
            f"{name}.input_scale": packing.tensor("F32", np.ones(()))}


def nvfp4_folder(folder):
    tensors = formats.place(formats.text_tensors(source.linears("g128"), nvfp4,
                                                 keep=lambda n: ".experts." not in n), formats.ORIGINAL)
    quantization = {"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16,
                    "producer": {"name": "modelopt", "version": "0.40"}}
    formats.write(folder, formats.config_for(formats.ORIGINAL, quantization), {FILE: tensors | formats.visual()})


def stacked_gptq(folder):
    """Experts' codes in one 3-D tensor."""
    tensors = good()
    for layer in range(len(source.LAYERS)):
        for member in ("gate_up_proj", "down_proj"):
            at = f"{LAYER}{layer}.mlp.experts.{member}"
            for part in ("qweight", "qzeros", "scales"):
                parts = [tensors.pop(f"{at}.{e}.{part}") for e in range(source.EXPERTS)]
                tensors[f"{at}.{part}"] = (parts[0][0], [source.EXPERTS, *parts[0][1]], b"".join(p[2] for p in parts))
    formats.write(folder, formats.config_for(formats.ORIGINAL, formats.gptq()), {FILE: tensors})


def gguf(folder):
    formats.write(folder, formats.config_for(formats.ORIGINAL), {})
    (folder / "model-Q4_0.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(64))


def mlx(folder):
    """Words of 8 codes along the inputs with scales and biases, experts in `switch_mlp`, +1 in the norms."""
    def pack(name, linear):
        groups = [linear.outputs, linear.inputs // 64]
        return {f"{name}.weight": packing.tensor("U32", np.zeros((linear.outputs, linear.inputs // 8))),
                f"{name}.scales": packing.tensor("BF16", np.ones(groups)),
                f"{name}.biases": packing.tensor("BF16", np.zeros(groups))}

    tensors = formats.text_tensors(source.linears("g64"), pack, "stacked")
    for name in [n for n in tensors if ".experts." in n]:
        dtype, shape, _ = tensors.pop(name)
        member = "down_proj" if "down" in name else "gate_up_proj"
        for suffix, kind, size in (("weight", "U32", 8), ("scales", "BF16", 64), ("biases", "BF16", 64)):
            values = np.zeros((*shape[:2], shape[2] // size))
            tensors[name.split("experts")[0] + f"switch_mlp.{member}.{suffix}"] = packing.tensor(kind, values)
    config = formats.config_for(formats.ORIGINAL) | {"quantization": {"group_size": 64, "bits": 4, "mode": "affine"}}
    formats.write(folder, config, {FILE: formats.place(tensors, formats.LANGUAGE_HEAD)})


def pickle_only(folder):
    formats.write(folder, formats.config_for(formats.ORIGINAL), {})
    (folder / "pytorch_model.bin").write_bytes(b"PK\x03\x04" + bytes(64))


# -- wrong values and configurations -----------------------------------------------------------------------------------

def text_field(name, value):
    def change(config):
        if value is None:
            del config["text_config"][name]
        else:
            config["text_config"][name] = value
    return with_config(change)


def bits(n):
    return with_config(lambda config: config["quantization_config"].update({"bits": n}))


def infinite_scale(tensors):
    dtype, shape, data = tensors[f"{Q_PROJ}.scales"]
    tensors[f"{Q_PROJ}.scales"] = (dtype, shape, b"\x00\x7c" + data[2:])


def bad_g_idx(tensors):
    tensors[f"{Q_PROJ}.g_idx"] = packing.tensor("I32", np.full(source.HIDDEN, 7))


def nonzero_bias(tensors):
    tensors[f"{Q_PROJ}.bias"] = packing.tensor("F16", np.ones(source.HEADS * source.HEAD_DIM * 2))


def raw_config(text):
    def build(folder):
        with_tensors(lambda tensors: None)(folder)
        if text is None:
            (folder / "config.json").unlink()
        else:
            (folder / "config.json").write_text(text)
    return build


NOT_JSON = ("JSON", "json", "header")
FAULTS = {
    # recognised, refused by name
    "nvfp4": ([("NVFP4", "nvfp4")], nvfp4_folder),
    "stacked_gptq": ([("GPTQ", "gptq"), ("stacked", "3-D", "gate_up_proj")], stacked_gptq),
    "gguf": ([("GGUF", "gguf")], gguf),
    "mlx": ([("MLX", "mlx")], mlx),
    "pickle": ([("safetensors",)], pickle_only),
    # the container
    "truncated_shard": ([("model-00002-of-00002.safetensors",)], truncated_shard),
    "missing_shard": ([("model-00002-of-00002.safetensors",)], missing_shard),
    "empty_file": ([(FILE,)], with_bytes(lambda content: b"")),
    "seven_bytes": ([(FILE,)], with_bytes(lambda content: content[:7])),
    "header_only_length": ([(FILE,)], with_bytes(lambda content: content[:8])),
    "header_cut": ([(FILE,)], with_bytes(lambda content: content[:500])),
    "header_length_huge": ([(FILE,)], header_length(2**63)),
    "header_length_all_ones": ([(FILE,)], header_length(2**64 - 1)),
    "header_length_over_limit": ([(FILE,)], header_length(100_000_001)),
    "header_length_zero": ([(FILE,)], header_length(0)),
    "not_safetensors": ([(FILE,)], with_bytes(lambda content: b"<html>404 Not Found</html>" * 40)),
    "git_lfs_pointer": ([(FILE,)], with_bytes(
        lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123456\n")),
    "header_not_json": ([(FILE,), NOT_JSON], with_header(lambda header, data: (json.dumps(header).encode()[:-1], data))),
    "header_not_utf8": ([(FILE,)], with_header(
        lambda header, data: (json.dumps(header).encode().replace(b"q_proj", b"q\xffroj"), data))),
    "header_deep": ([(FILE,)], with_header(deep_json)),
    "header_a_list": ([(FILE,)], with_header(lambda header, data: (b"[1, 2, 3]", data))),
    "trailing_bytes": ([(FILE,)], with_header(trailing)),
    "overlap": ([(FILE,)], with_header(overlap)),
    "hole": ([(FILE,)], with_header(hole)),
    "duplicate_name": ([(FILE,), (Q_PROJ,)], with_header(duplicate)),
    "shape_overflow": ([(Q_PROJ,)], entry(lambda e: e.update(shape=[2**32, 2**32, 4]))),
    "shape_overflow_to_right_size": ([(Q_PROJ,)], entry(lambda e: e.update(shape=[2**62 + e["shape"][0], *e["shape"][1:]]))),
    "shape_negative": ([(Q_PROJ,)], entry(lambda e: e.update(shape=[-32, 256]))),
    "shape_fraction": ([(Q_PROJ,)], entry(lambda e: e.update(shape=[32.5, 256]))),
    "shape_not_bytes": ([(Q_PROJ,)], entry(lambda e: e.update(shape=[e["shape"][0], e["shape"][1] + 1]))),
    "rank_nine": ([(Q_PROJ,)], entry(lambda e: e.update(shape=[*e["shape"], 1, 1, 1, 1, 1, 1, 1]))),
    "dtype_unknown": ([(Q_PROJ,)], entry(lambda e: e.update(dtype="F4096"))),
    "dtype_missing": ([(Q_PROJ,)], entry(lambda e: e.pop("dtype"))),
    "offsets_reversed": ([(Q_PROJ,)], entry(lambda e: e.update(data_offsets=e["data_offsets"][::-1]))),
    "offsets_past_end": ([(Q_PROJ,)], entry(lambda e: e.update(data_offsets=[x + 2**40 for x in e["data_offsets"]]))),
    "offsets_overflow": ([(Q_PROJ,)], entry(lambda e: e.update(data_offsets=[2**64 - 8, 2**64 - 8 + 32768]))),
    "offsets_three": ([(Q_PROJ,)], entry(lambda e: e["data_offsets"].append(1))),
    "name_too_long": ([(FILE,)], with_header(
        lambda header, data: (json.dumps(header).replace(f"{Q_PROJ}.qweight", "q" * 600).encode(), data))),
    # the index
    "index_not_json": ([("model.safetensors.index.json",)], index_change(lambda text: text[:200])),
    "index_no_map": ([("model.safetensors.index.json",)], index_change(lambda text: '{"metadata": {}}')),
    "index_leaves_folder": ([("index",)], index_change(
        lambda text: text.replace("model-00001-of", "../outside/model-00001-of"))),
    "index_absolute_path": ([("index",)], index_change(lambda text: text.replace("model-00001-of", "/etc/model-00001-of"))),
    "index_wrong_file": ([("index",)], index_change(
        lambda text: text.replace(f'{Q_PROJ}.qweight": "model-00002', f'{Q_PROJ}.qweight": "model-00001'))),
    "index_unknown_tensor": ([("index",), ("model.surprise",)], index_change(
        lambda text: text.replace('"weight_map": {', '"weight_map": {"model.surprise": "model-00001-of-00002.safetensors",'))),
    "same_name_twice": ([(Q_PROJ,)], same_name_in_two_files),
    # tensors
    "missing_norm": ([(f"{LAYER}1.input_layernorm",)], with_tensors(remove(f"{LAYER}1.input_layernorm"))),
    "missing_head": ([("lm_head",)], with_tensors(remove("lm_head"))),
    "missing_scales": ([(f"{Q_PROJ}.scales",)], with_tensors(remove(f"{Q_PROJ}.scales"))),
    "missing_zeros": ([(f"{Q_PROJ}.qzeros",)], with_tensors(remove(f"{Q_PROJ}.qzeros"))),
    "missing_expert": ([("experts.gate_up_proj.3", "experts.3.gate_proj")], with_tensors(remove(f"{LAYER}0.mlp.experts.gate_up_proj.3."))),
    "missing_layer": ([(f"{LAYER}1.",)], with_tensors(remove(f"{LAYER}1."))),
    "extra_layer": ([(f"{LAYER}2.",)], with_tensors(reshape(f"{LAYER}2.input_layernorm.weight", "BF16", [256]))),
    "extra_expert": ([("experts.down_proj.5",)], with_tensors(
        reshape(f"{LAYER}0.mlp.experts.down_proj.5.qweight", "I32", [24, 256]))),
    "extra_unknown": ([("surprise",)], with_tensors(reshape("model.surprise.weight", "BF16", [4]))),
    "wrong_shape_norm": ([(f"{LAYER}0.input_layernorm.weight",)], with_tensors(
        reshape(f"{LAYER}0.input_layernorm.weight", "BF16", [255]))),
    "wrong_shape_embed": ([("embed_tokens",)], with_tensors(
        reshape("model.language_model.embed_tokens.weight", "BF16", [65, 256]))),
    "wrong_shape_scales": ([(f"{Q_PROJ}.scales",)], with_tensors(reshape(f"{Q_PROJ}.scales", "F16", [3, 256]))),
    "transposed_qweight": ([(f"{Q_PROJ}.qweight",)], with_tensors(reshape(f"{Q_PROJ}.qweight", "I32", [256, 32]))),
    "wrong_dtype_qweight": ([(f"{Q_PROJ}.qweight",)], with_tensors(reshape(f"{Q_PROJ}.qweight", "F32", [32, 256]))),
    "wrong_dtype_norm": ([(f"{LAYER}0.input_layernorm.weight",)], with_tensors(
        reshape(f"{LAYER}0.input_layernorm.weight", "I32", [256]))),
    "router_of_other_size": ([(f"{LAYER}0.mlp.gate.weight",)], with_tensors(
        reshape(f"{LAYER}0.mlp.gate.weight", "BF16", [6, 256]))),
    "infinite_scale": ([(f"{Q_PROJ}.scales",)], with_tensors(infinite_scale)),
    "g_idx_out_of_range": ([(f"{Q_PROJ}.g_idx",)], with_tensors(bad_g_idx)),
    "bias_not_zero": ([(Q_PROJ,), ("bias",)], with_tensors(nonzero_bias)),
    # the configuration
    "no_config": ([("config.json",)], raw_config(None)),
    "config_empty": ([("config.json",)], raw_config("")),
    "config_not_json": ([("config.json",)], raw_config('{"architectures": [')),
    "config_a_list": ([("config.json",)], raw_config("[]")),
    "config_deep": ([("config.json",)], raw_config("[" * 100_000 + "]" * 100_000)),
    "unknown_architecture": ([("LlamaForCausalLM",)], with_config(
        lambda config: config.update({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}))),
    "no_hidden_size": ([("hidden_size",)], text_field("hidden_size", None)),
    "hidden_size_text": ([("hidden_size",)], text_field("hidden_size", "256")),
    "hidden_size_zero": ([("hidden_size",)], text_field("hidden_size", 0)),
    "hidden_size_negative": ([("hidden_size",)], text_field("hidden_size", -256)),
    "hidden_size_huge": ([("hidden_size",)], text_field("hidden_size", 2**40)),
    "hidden_size_other": ([("256",)], text_field("hidden_size", 512)),
    "layers_huge": ([("num_hidden_layers",)], text_field("num_hidden_layers", 2**31)),
    "layer_types_length": ([("layer_types",)], text_field("layer_types", ["full_attention"])),
    "layer_types_unknown": ([("sliding_attention",)], text_field("layer_types", ["linear_attention", "sliding_attention"])),
    "heads_not_divisible": ([("num_key_value_heads",)], text_field("num_key_value_heads", 3)),
    "value_heads_not_divisible": ([("linear_num_value_heads",)], text_field("linear_num_value_heads", 12)),
    "top_k_too_large": ([("num_experts_per_tok",)], text_field("num_experts_per_tok", 6)),
    "rope_unknown": ([("longrope", "rope_type")], text_field("rope_parameters", {
        "rope_type": "longrope", "rope_theta": 10000, "partial_rotary_factor": 0.5, "mrope_section": [6, 5, 5]})),
    "activation_unknown": ([("hidden_act",)], text_field("hidden_act", "gelu")),
    "three_bits": ([("bits",)], bits(3)),
    "eight_bits": ([("bits",)], bits(8)),
}
