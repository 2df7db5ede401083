"""Small quantized checkpoints, packed bit by bit as the formats describe it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantkit.checkpoint.folder import Checkpoint

Stored = Mapping[str, tuple[str, NDArray[Any]]]
"""Tensors by name, with the type that safetensors has for them."""

GROUP = 32
UP = "model.layers.0.mlp.up_proj"
SHAPE = (64, 96)


def write_safetensors(path: Path, tensors: Stored) -> None:
    """A file of tensors of any type, also of those that NumPy has not."""
    header, data = {}, b""
    for name, (dtype, array) in tensors.items():
        raw = array.tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": offsets}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def write_folder(folder: Path, tensors: Stored, **quantization: Any) -> Path:
    """A checkpoint folder of one shard, without a tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"quantization_config": quantization} if quantization else {}
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


def opened(folder: Path, tensors: Stored, **quantization: Any) -> Checkpoint:
    """A checkpoint of one shard, written and opened."""
    return Checkpoint(write_folder(folder / "model", tensors, **quantization))


def packed(codes: NDArray[np.integer[Any]], bits: int) -> NDArray[np.int32]:
    """Rows of codes as rows of 32-bit words, bit after bit from the lowest."""
    digits = np.unpackbits(
        codes.astype(np.uint8)[..., None], axis=-1, count=bits, bitorder="little"
    )
    digits = digits.reshape(len(codes), -1)
    padding = -digits.shape[1] % 32
    words = np.packbits(
        np.pad(digits, ((0, 0), (0, padding))), axis=1, bitorder="little"
    )
    return words.view("<i4")


def ints(shape: tuple[int, ...], bits: int, seed: int = 0) -> NDArray[np.int64]:
    """Random codes."""
    return np.random.default_rng(seed).integers(0, 2**bits, shape)


def halves(shape: tuple[int, ...], seed: int = 1) -> NDArray[np.float16]:
    """Random scales."""
    values = np.random.default_rng(seed).uniform(0.001, 0.02, shape)
    return values.astype(np.float16)


def upper(values: NDArray[np.floating[Any]]) -> NDArray[np.uint16]:
    """BF16: the upper half of f32."""
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


Built = tuple[Stored, NDArray[np.float32]]
"""The tensors of one weight, and what they stand for."""


def gptq(
    base: str, shape: tuple[int, int], bits: int = 4, *, act_order: bool = True
) -> Built:
    """Groups of 32 inputs; zero points are stored minus one."""
    n_rows, n_cols = shape
    codes = ints(shape, bits)
    zeros = ints((n_rows, n_cols // GROUP), bits, seed=2)
    scales = halves(zeros.shape)
    group = np.arange(n_cols) // GROUP
    if act_order:
        group = np.random.default_rng(3).permutation(group)
    tensors: Stored = {
        f"{base}.g_idx": ("I32", group.astype(np.int32)),
        f"{base}.qweight": ("I32", packed(codes, bits).T.copy()),
        f"{base}.qzeros": ("I32", packed(zeros.T, bits)),
        f"{base}.scales": ("F16", scales.T.copy()),
    }
    return tensors, product(codes - (zeros[:, group] + 1), scales[:, group])


def awq(base: str, shape: tuple[int, int], zero: int | None = None) -> Built:
    """Groups of 32 inputs, outputs in the order 0, 2, 4, 6, 1, 3, 5, 7."""
    n_rows, n_cols = shape
    codes = ints(shape, 4)
    zeros = ints((n_rows, n_cols // GROUP), 4, seed=2)
    if zero is not None:
        zeros[:] = zero
    scales = halves(zeros.shape)

    def words(values: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        eights = values.T.reshape(-1, 8)[:, [0, 2, 4, 6, 1, 3, 5, 7]]
        return packed(eights.reshape(-1, n_rows), 4)

    tensors: Stored = {
        f"{base}.qweight": ("I32", words(codes)),
        f"{base}.qzeros": ("I32", words(zeros)),
        f"{base}.scales": ("F16", scales.T.copy()),
    }
    codes -= np.repeat(zeros, GROUP, axis=1)
    return tensors, product(codes, np.repeat(scales, GROUP, axis=1))


def packed_tensors(
    base: str, shape: tuple[int, int], bits: int = 4, *, zero_points: bool = False
) -> Built:
    """compressed-tensors' "pack-quantized", groups of 32 columns, BF16 scales."""
    n_rows, n_cols = shape
    codes = ints(shape, bits)
    zeros = np.full((n_rows, n_cols // GROUP), 2 ** (bits - 1))
    tensors: dict[str, tuple[str, NDArray[Any]]] = {}
    if zero_points:
        zeros = ints(zeros.shape, bits, seed=2)
        words = packed(zeros.T, bits).T.copy()
        tensors[f"{base}.weight_zero_point"] = ("I32", words)
    scales = upper(halves(zeros.shape))
    tensors |= {
        f"{base}.weight_packed": ("I32", packed(codes, bits)),
        f"{base}.weight_scale": ("BF16", scales),
        f"{base}.weight_shape": ("I64", np.array(shape)),
    }
    floats = (scales.astype(np.uint32) << 16).view(np.float32)
    spread = [np.repeat(part, GROUP, axis=1) for part in (zeros, floats)]
    return tensors, product(codes - spread[0], spread[1])


def fp8_blocks(
    base: str, shape: tuple[int, int], block: tuple[int, int] = (128, 128)
) -> Built:
    """E4M3 with a scale for each block; the last blocks may be cut short."""
    codes = ints(shape, 8).astype(np.uint8)
    codes[codes & 127 == 127] = 0  # no NaN
    grid = tuple(-(-n // size) for n, size in zip(shape, block, strict=True))
    scales = halves(grid).astype(np.float32)
    spread = np.repeat(np.repeat(scales, block[0], 0), block[1], 1)
    tensors: Stored = {
        f"{base}.weight": ("F8_E4M3", codes),
        f"{base}.weight_scale_inv": ("F32", scales),
    }
    return tensors, e4m3(codes) * spread[: shape[0], : shape[1]]


def fp8_rows(base: str, shape: tuple[int, int]) -> Built:
    """compressed-tensors' "float-quantized" with a scale for each row."""
    tensors, values = fp8_blocks(base, shape, (1, shape[1]))
    weight, scale = tensors.values()
    return {f"{base}.weight": weight, f"{base}.weight_scale": scale}, values


def nvfp4(base: str, shape: tuple[int, int], *, divides: bool = False) -> Built:
    """4-bit floats with a scale for each 16: ModelOpt's, or compressed-tensors'."""
    n_rows, n_cols = shape
    codes = ints(shape, 4).astype(np.uint8)
    scales = ints((n_rows, n_cols // 16), 7, seed=2).astype(np.uint8) % 127
    whole = np.array([384.0 if divides else 0.0123], np.float32)
    weight, factor = ("weight_packed", "weight_global_scale")
    if not divides:
        weight, factor, whole = ("weight", "weight_scale_2", whole[0])
    tensors: Stored = {
        f"{base}.{weight}": ("U8", codes[:, ::2] | codes[:, 1::2] << 4),
        f"{base}.weight_scale": ("F8_E4M3", scales),
        f"{base}.{factor}": ("F32", whole),
    }
    of_groups = e4m3(scales) / whole if divides else e4m3(scales) * whole
    return tensors, e2m1(codes) * np.repeat(of_groups, 16, axis=1)


def int8_rows(base: str, shape: tuple[int, int]) -> Built:
    """compressed-tensors' "int-quantized" with a scale for each row."""
    codes = (ints(shape, 8) - 128).astype(np.int8)
    scales = halves((shape[0], 1))
    tensors: Stored = {
        f"{base}.weight": ("I8", codes),
        f"{base}.weight_scale": ("F16", scales),
    }
    return tensors, product(codes, scales)


def bitnet(base: str, shape: tuple[int, int]) -> Built:
    """Four rows in a byte, the first in the lowest bits."""
    codes = np.random.default_rng(0).integers(0, 3, shape)
    quarters = codes.reshape(4, -1, shape[1])
    packed_rows = (quarters << np.array([0, 2, 4, 6])[:, None, None]).sum(axis=0)
    tensors: Stored = {
        f"{base}.weight": ("U8", packed_rows.astype(np.uint8)),
        f"{base}.weight_scale": ("BF16", upper(np.array([1.7]))),
    }
    scale = (upper(np.array([1.7])).astype(np.uint32) << 16).view(np.float32)
    return tensors, (codes - 1).astype(np.float32) / scale


def product(
    integers: NDArray[np.integer[Any]], scales: NDArray[np.floating[Any]]
) -> NDArray[np.float32]:
    """Integers times scales in f32, where 16-bit scales make it exact."""
    return integers.astype(np.float32) * scales.astype(np.float32)


def e4m3(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """8-bit floats: sign, 4 bits of exponent, 3 bits of mantissa; bias 7."""
    sign = np.where(codes >> 7, -1, 1)
    exponent, mantissa = (codes >> 3 & 15).astype(int), codes & 7
    scale = 2.0 ** (np.maximum(exponent, 1) - 7)
    return (sign * scale * ((exponent > 0) + mantissa / 8)).astype(np.float32)


def e2m1(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """4-bit floats: sign, 2 bits of exponent, 1 bit of mantissa; bias 1."""
    sign = np.where(codes >> 3, -1, 1)
    exponent, mantissa = (codes >> 1 & 3).astype(int), codes & 1
    scale = 2.0 ** (np.maximum(exponent, 1) - 1)
    return (sign * scale * ((exponent > 0) + mantissa / 2)).astype(np.float32)


def llm_compressor(format: str, **weights: Any) -> dict[str, Any]:
    """A compressed-tensors config of one scheme for all linear layers."""
    group = {"targets": ["Linear"], "weights": weights}
    return {
        "quant_method": "compressed-tensors",
        "format": format,
        "config_groups": {"group_0": group},
    }


GROUPS = {"strategy": "group", "group_size": GROUP}
METHODS: Mapping[
    str, tuple[dict[str, Any], Callable[[str, tuple[int, int]], Built]]
] = {
    "awq": ({"quant_method": "awq", "bits": 4, "version": "gemm"}, awq),
    "bitnet": ({"quant_method": "bitnet"}, bitnet),
    "ct-fp8": (
        llm_compressor("float-quantized", num_bits=8, type="float", strategy="channel"),
        fp8_rows,
    ),
    "ct-int8": (
        llm_compressor("int-quantized", num_bits=8, strategy="channel"),
        int8_rows,
    ),
    "ct-pack": (llm_compressor("pack-quantized", num_bits=4, **GROUPS), packed_tensors),
    "ct-pack-zero": (
        llm_compressor("pack-quantized", num_bits=4, symmetric=False, **GROUPS),
        lambda base, shape: packed_tensors(base, shape, zero_points=True),
    ),
    "ct-nvfp4": (
        llm_compressor(
            "nvfp4-pack-quantized",
            num_bits=4,
            type="float",
            strategy="tensor_group",
            group_size=16,
        ),
        partial(nvfp4, divides=True),
    ),
    "modelopt-nvfp4": ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, nvfp4),
    "fp8": ({"quant_method": "fp8", "weight_block_size": [128, 128]}, fp8_blocks),
    **{
        f"gptq-{bits}": (
            {"quant_method": "gptq", "bits": bits, "group_size": GROUP},
            partial(gptq, bits=bits),
        )
        for bits in (2, 3, 4, 8)
    },
}
"""By name, `quantization_config` and what makes a weight of a name and a shape."""
