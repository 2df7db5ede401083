"""DeepSeek V4 as published: FP8 matrices, experts of 4-bit floats, other names."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..reference import q8_0
from .checkpoints import Arrays

__all__ = ["prepared", "published", "stored_as"]

EXPERT = re.compile(r".*\.ffn\.experts\.\d+\.w[123]\.weight")
FP8 = re.compile(
    r".*\.(attn\.(w[qo]_[ab]|wkv|indexer\.wq_b)|shared_experts\.w[123])\.weight"
)
BF16 = re.compile(
    r"(embed|head)\.weight|.*(\.gate|norm|\.w(kv|gate)|\.weights_proj)\.weight"
)
TABLE = ".tid2eid"
FP4_VALUES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
FP4_BLOCK, FP8_BLOCK, Q8_BLOCK = 32, 128, 32
# Powers of two, biased by 127, that make weights as large as those of other cases.
FP4_EXPONENTS, FP8_EXPONENTS = (122, 125), (123, 126)
NAMES = (
    ("model.", ""),
    ("embed_tokens", "embed"),
    ("hc_head.hc_", "hc_head_"),
    (".attn.norm.", ".attn.kv_norm."),
)

U8 = NDArray[np.uint8]


def prepared(n_experts: int) -> Callable[[Arrays], Arrays]:
    """Weights that GGUF files of the published ones hold; tables of expert numbers."""

    def made(arrays: Arrays) -> Arrays:
        new = dict(arrays)
        for name, array in arrays.items():
            if EXPERT.fullmatch(name):
                codes, exponents = fp4_codes(name, array.shape)
                values = FP4_VALUES[codes & 7] * np.where(codes & 8, -1, 1)
                new[name] = scaled(values, exponents, (1, FP4_BLOCK))
            elif FP8.fullmatch(name):
                codes, exponents = fp8_codes(name, array.shape)
                sizes = np.ldexp(1 + (codes & 7) / 8, (codes >> 3 & 15).astype(int) - 7)
                values = sizes * np.where(codes & 128, -1, 1)
                values = scaled(values, exponents, (FP8_BLOCK, FP8_BLOCK))
                new[name] = as_q8_0(values)
            elif name.endswith(TABLE):
                rng = np.random.default_rng(zlib.crc32(name.encode()))
                rows = [rng.permutation(n_experts)[: array.shape[1]] for _ in array]
                new[name] = np.array(rows, np.int64)
        return new

    return made


def as_q8_0(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """What converters make of FP8; rows that are no whole blocks become F16."""
    if values.shape[1] % Q8_BLOCK:
        return values
    return q8_0.dequantize(q8_0.quantize(values))


def scaled(
    values: NDArray[np.floating], exponents: U8, block: tuple[int, int]
) -> NDArray[np.float32]:
    """Values times two to the power of their blocks' exponents."""
    spread = exponents
    for axis, size in enumerate(block):
        spread = spread.repeat(size, axis=axis)
    spread = spread[: values.shape[0], : values.shape[1]]
    return np.ldexp(values, spread.astype(int) - 127).astype(np.float32)


def fp4_codes(name: str, shape: tuple[int, ...]) -> tuple[U8, U8]:
    """Random codes of E2M1, and the exponents of their blocks."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    codes = rng.integers(16, size=shape, dtype=np.uint8)
    blocks = (shape[0], shape[1] // FP4_BLOCK)
    return codes, rng.integers(*FP4_EXPONENTS, size=blocks, dtype=np.uint8)


def fp8_codes(name: str, shape: tuple[int, ...]) -> tuple[U8, U8]:
    """Random codes of E4M3 between 0.5 and 2, and the exponents of their blocks."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    codes = rng.integers(0x30, 0x40, size=shape, dtype=np.uint8)
    codes |= rng.integers(2, size=shape, dtype=np.uint8) << 7
    blocks = tuple(-(-n // FP8_BLOCK) for n in shape)
    return codes, rng.integers(*FP8_EXPONENTS, size=blocks, dtype=np.uint8)


def published(arrays: Arrays) -> Arrays:
    """The published tensors, from those that transformers writes."""
    new: Arrays = {}
    for name, array in arrays.items():
        renamed = name
        for old, other in NAMES:
            renamed = renamed.replace(old, other)
        scale = f"{renamed.removesuffix('.weight')}.scale"
        if EXPERT.fullmatch(name):
            codes, new[scale] = fp4_codes(name, array.shape)
            new[renamed] = (codes[:, ::2] | codes[:, 1::2] << 4).view(np.int8)
        elif FP8.fullmatch(name):
            new[renamed], new[scale] = fp8_codes(name, array.shape)
        elif BF16.fullmatch(renamed):
            new[renamed] = (array.view(np.uint32) >> 16).astype(np.uint16)
        else:
            new[renamed] = array
    return new


def stored_as(name: str) -> str | None:
    """The type in a published file of what NumPy has as integers; None: as NumPy."""
    if name.endswith(".scale"):
        return "F8_E8M0"
    if FP8.fullmatch(name):
        return "F8_E4M3"
    return "BF16" if BF16.fullmatch(name) else None
