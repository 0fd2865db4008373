"""Writes a large W4A16 checkpoint of random numbers in the published layout, for measuring how it loads (needs numpy only).

    make_large.py CONFIG FOLDER --layers N [--shard-gb 4]

CONFIG is a config.json; its first N layers are written, in shards with an index, as AutoRound exports them: int4 codes
in groups with f16 scales, gate and up of an expert fused, router and gates in bf16. The numbers of one tensor repeat in
others of its shape, so writing is as fast as the disk. `sheaf score FOLDER --layers N` reads it.
"""

import argparse
import json
import pathlib
import shutil

import numpy as np

ROOT = "model.language_model."


class Writer:
    def __init__(self, folder, shard_bytes):
        self.folder, self.shard_bytes = folder, shard_bytes
        self.random = np.random.default_rng(1)
        self.known, self.shards, self.current, self.size = {}, [], [], 0

    def numbers(self, dtype, shape, spread):
        key = (dtype, shape, spread)
        if key not in self.known:
            count = int(np.prod(shape))
            if dtype == "I32":
                data = self.random.integers(-2**31, 2**31, count, dtype=np.int32)
            elif dtype == "Z8":  # a stored zero point of 7 in every nibble
                data = np.full(count, 0x77777777, dtype=np.int32)
            else:
                data = (spread * self.random.uniform(-1, 1, count)).astype(np.float32)
                if dtype == "F16":
                    data = data.astype(np.float16)
                elif dtype == "BF16":
                    data = (data.view(np.uint32) >> 16).astype(np.uint16)
            self.known[key] = data.tobytes()
        return self.known[key]

    def add(self, name, dtype, shape, spread=0.0):
        data = self.numbers(dtype, shape, spread)
        self.current.append((name, "I32" if dtype == "Z8" else dtype, shape, data))
        self.size += len(data)
        if self.size >= self.shard_bytes:
            self.end_shard()

    def end_shard(self):
        if not self.current:
            return
        header, place = {}, 0
        for name, dtype, shape, data in self.current:
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + len(data)]}
            place += len(data)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self.shards.append((f"part-{len(self.shards)}.safetensors", list(header)))
        with open(self.folder / self.shards[-1][0], "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for _, _, _, data in self.current:
                file.write(data)
        self.current, self.size = [], 0

    def linear(self, module, out, inputs, group):
        if group == 0:
            return self.add(module + ".weight", "BF16", (out, inputs), (3 / inputs) ** 0.5)
        groups = -(-inputs // group)
        self.add(module + ".qweight", "I32", (inputs // 8, out))
        self.add(module + ".qzeros", "Z8", (groups, out // 8))
        self.add(module + ".scales", "F16", (groups, out), 1 / (4.6 * inputs**0.5))


def write_layer(to, text, index, group):
    prefix, hidden = f"{ROOT}layers.{index}.", text["hidden_size"]
    if text["layer_types"][index] == "full_attention":
        mixer, heads, size = prefix + "self_attn.", text["num_attention_heads"], text["head_dim"]
        for name, out in (("q", 2 * heads * size), ("k", text["num_key_value_heads"] * size),
                          ("v", text["num_key_value_heads"] * size)):
            to.linear(f"{mixer}{name}_proj", out, hidden, group)
        to.linear(mixer + "o_proj", hidden, heads * size, group)
        for name in ("q", "k"):
            to.add(f"{mixer}{name}_norm.weight", "BF16", (size,), 0.1)
    else:
        mixer, heads = prefix + "linear_attn.", text["linear_num_value_heads"]
        values = heads * text["linear_value_head_dim"]
        channels = values + 2 * text["linear_num_key_heads"] * text["linear_key_head_dim"]
        to.linear(mixer + "in_proj_qkv", channels, hidden, group)
        to.linear(mixer + "in_proj_z", values, hidden, group)
        for name in "ab":
            to.linear(f"{mixer}in_proj_{name}", heads, hidden, 0)
        to.linear(mixer + "out_proj", hidden, values, group)
        to.add(mixer + "conv1d.weight", "BF16", (channels, 1, text["linear_conv_kernel_dim"]), 0.5)
        to.add(mixer + "A_log", "F32", (heads,), 1.0)
        to.add(mixer + "dt_bias", "BF16", (heads,), 0.1)
        to.add(mixer + "norm.weight", "F32", (text["linear_value_head_dim"],), 1.0)
    for name in ("input_layernorm", "post_attention_layernorm"):
        to.add(f"{prefix}{name}.weight", "BF16", (hidden,), 0.1)
    mlp, inner, shared = prefix + "mlp.", text["moe_intermediate_size"], text["shared_expert_intermediate_size"]
    to.linear(mlp + "gate", text["num_experts"], hidden, 0)
    to.linear(mlp + "shared_expert_gate", 1, hidden, 0)
    for name in ("gate", "up"):
        to.linear(f"{mlp}shared_expert.{name}_proj", shared, hidden, group)
    to.linear(mlp + "shared_expert.down_proj", hidden, shared, group)
    for expert in range(text["num_experts"]):
        to.linear(f"{mlp}experts.gate_up_proj.{expert}", 2 * inner, hidden, group)
        to.linear(f"{mlp}experts.down_proj.{expert}", hidden, inner, group)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--layers", type=int, required=True)
    parser.add_argument("--shard-gb", type=float, default=4)
    options = parser.parse_args()
    config = json.loads(options.config.read_text())
    text = config.get("text_config", config)
    group = config["quantization_config"]["group_size"]
    options.folder.mkdir(parents=True)
    shutil.copy(options.config, options.folder / "config.json")
    to = Writer(options.folder, int(options.shard_gb * 1e9))
    to.add(ROOT + "embed_tokens.weight", "BF16", (text["vocab_size"], text["hidden_size"]), 1.0)
    for index in range(options.layers):
        write_layer(to, text, index, group)
    to.add(ROOT + "norm.weight", "BF16", (text["hidden_size"],), 0.1)
    if not config.get("tie_word_embeddings"):
        to.linear("lm_head", text["vocab_size"], text["hidden_size"], 0)
    to.end_shard()
    weight_map = {name: shard for shard, names in to.shards for name in names}
    index = {"metadata": {}, "weight_map": weight_map}
    (options.folder / "model.safetensors.index.json").write_text(json.dumps(index))
    print(f"{sum((options.folder / shard).stat().st_size for shard, _ in to.shards) / 1e9:.1f} GB in {len(to.shards)} shards")


if __name__ == "__main__":
    main()
