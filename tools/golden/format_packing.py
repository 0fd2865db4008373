"""Packs the logical values of format_source.py into the tensors of each published layout, and writes safetensors.

numpy only: the fixtures are generated when the tests run. A tensor here is (dtype name, shape, bytes). The layouts are
those of reference tools; tests/golden/autoround holds files that the tools themselves wrote.
"""

import json

import numpy as np

import format_source as source

NUMPY = {"F32": np.float32, "F16": np.float16, "I32": np.int32, "U8": np.uint8, "U32": np.uint32, "I64": np.int64}
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def tensor(dtype, values):
    """One tensor; a value that the dtype cannot hold exactly is an error, so that fixtures stay exact."""
    values = np.asarray(values)
    if dtype == "BF16":
        bits = source.to_bf16_bits(values)
        if not np.array_equal(source.from_bf16_bits(bits), values.astype(np.float32)):
            raise ValueError("value not exact in BF16")
        return dtype, list(values.shape), bits.tobytes()
    if dtype == "F8_E4M3":
        return dtype, list(values.shape), values.astype(np.uint8).tobytes()
    stored = values.astype(NUMPY[dtype])
    if not np.array_equal(stored.astype(np.float64), values.astype(np.float64)):
        raise ValueError(f"value not exact in {dtype}")
    return dtype, list(values.shape), np.ascontiguousarray(stored).tobytes()


def pack_rows(codes):
    """(rows, columns) of 4-bit numbers -> (rows/8, columns) int32; the lowest nibble is the first row."""
    rows, columns = codes.shape
    nibbles = codes.astype(np.uint32).reshape(rows // 8, 8, columns) << (4 * np.arange(8, dtype=np.uint32))[:, None]
    return np.bitwise_or.reduce(nibbles, axis=1).view(np.int32)


def pack_columns(codes, order=range(8)):
    """(rows, columns) -> (rows, columns/8) int32; nibble slot s of a word holds column 8c + order[s]."""
    rows, columns = codes.shape
    nibbles = codes.astype(np.uint32).reshape(rows, columns // 8, 8)[:, :, list(order)]
    return np.bitwise_or.reduce(nibbles << 4 * np.arange(8, dtype=np.uint32), axis=2).view(np.int32)


def dense(dtype="BF16"):
    return lambda name, linear: {f"{name}.weight": tensor(dtype, linear.values())}


def gptq(stored_offset=1, g_idx=False, scales="F16", zero_bias=False):
    """GPTQ and AutoRound. In version 1 of the format the packed words of zero points are stored less 0x11111111, as
    whole words: a zero point of 0 borrows from its neighbour (GPTQModel, utils/model.py)."""
    def pack(name, linear):
        zeros = pack_columns(linear.zeros.T).view(np.uint32) - np.uint32(0x11111111 * stored_offset)
        tensors = {
            f"{name}.qweight": tensor("I32", pack_rows(linear.codes.T)),
            f"{name}.qzeros": tensor("I32", zeros.view(np.int32)),
            f"{name}.scales": tensor(scales, linear.scales.T),
        }
        if g_idx:
            tensors[f"{name}.g_idx"] = tensor("I32", linear.g_idx)
        if zero_bias:
            tensors[f"{name}.bias"] = tensor("F16", np.zeros(linear.outputs))
        return tensors
    return pack


def awq():
    def pack(name, linear):
        return {f"{name}.qweight": tensor("I32", pack_columns(linear.codes.T, AWQ_ORDER)),
                f"{name}.qzeros": tensor("I32", pack_columns(linear.zeros.T, AWQ_ORDER)),
                f"{name}.scales": tensor("F16", linear.scales.T)}
    return pack


def compressed_tensors(scales="BF16", asymmetric=False):
    """pack-quantized: nibbles offset by 8 along the inputs; zero points packed along the outputs, offset by 8 too."""
    def pack(name, linear):
        tensors = {f"{name}.weight_packed": tensor("I32", pack_columns(linear.codes)),
                   f"{name}.weight_scale": tensor(scales, linear.scales),
                   f"{name}.weight_shape": tensor("I64", np.array([linear.outputs, linear.inputs]))}
        if asymmetric:
            tensors[f"{name}.weight_zero_point"] = tensor("I32", pack_rows(linear.zeros))
        return tensors
    return pack


def fp8_table():
    """The value of each of the 256 codes of F8_E4M3 (no infinities; two NaN)."""
    codes = np.arange(256)
    exponent, fraction = (codes >> 3) & 15, codes & 7
    magnitude = np.where(exponent == 0, fraction * 2.0**-9, (8 + fraction) * 2.0 ** (exponent - 10.0))
    magnitude[(codes & 127) == 127] = np.nan
    return np.where(codes < 128, magnitude, -magnitude).astype(np.float32)


class BlockFp8:
    """A matrix in blocks of 128 x 128: w = fp8 * scale of its block. Stands where a Linear stands."""

    def __init__(self, name, outputs, inputs, gain):
        self.outputs, self.inputs = outputs, inputs
        low = source.integers(f"fp8/{name}", (outputs, inputs), 0, 112)  # the finite magnitudes up to 208
        sign = source.integers(f"fp8 sign/{name}", (outputs, inputs), 0, 2)
        self.codes = low + 128 * sign
        blocks = (-(-outputs // 128), -(-inputs // 128))
        mantissa = source.integers(f"fp8 scale/{name}", blocks, 128, 256)
        self.scales = (mantissa * 2.0 ** np.floor(np.log2(gain / (50 * np.sqrt(inputs) * 180)))).astype(np.float32)

    def values(self):
        spread = np.repeat(np.repeat(self.scales, 128, axis=0), 128, axis=1)[: self.outputs, : self.inputs]
        return fp8_table()[self.codes] * spread


def block_fp8(scales="BF16"):
    def pack(name, linear):
        if not isinstance(linear, BlockFp8):
            return dense()(name, linear)
        return {f"{name}.weight": tensor("F8_E4M3", linear.codes),
                f"{name}.weight_scale_inv": tensor(scales, linear.scales)}
    return pack


def fp8_linears():
    """The matrices of the official FP8 releases: all but in_proj_a and in_proj_b, which stay 16-bit."""
    result = {}
    for layer, mixer in enumerate(source.LAYERS):
        for name, outputs, inputs, gain in source.linear_shapes(layer, mixer):
            if name.endswith(("in_proj_a", "in_proj_b")):
                result[name] = source.make_linear("g128", f".{name}", outputs, inputs, gain)
            else:
                result[name] = BlockFp8(name, outputs, inputs, gain)
    return result


def header_bytes(tensors, metadata=None):
    """The JSON header for tensors laid out one after another, and their data."""
    header, offset = {}, 0
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    return json.dumps(header, separators=(",", ":")).encode(), b"".join(t[2] for t in tensors.values())


def write_raw(path, header, data):
    """A safetensors file from a ready header, padded to eight bytes as the library does."""
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def write_safetensors(path, tensors):
    write_raw(path, *header_bytes(tensors, {"format": "pt"}))
