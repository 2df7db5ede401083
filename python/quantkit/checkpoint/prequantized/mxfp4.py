"""MXFP4 weights, converted to GGUF's MXFP4 blocks without loss.

    X_blocks uint8 [experts, rows, columns / 32, 16], X_scales uint8 [..., columns / 32]
        in gpt-oss, or
    X.weight_packed uint8 [rows, columns / 2], X.weight_scale uint8 [rows, columns / 32]
        in compressed-tensors

A byte has codes 2i (lower half) and 2i + 1.  A GGUF block has a scale and 16 bytes, and
byte j has codes j and j + 16.  The codes and scales themselves are the same.

Sources: transformers 5.23 (integrations/mxfp4.py); compressed-tensors 0.20
(compressors/mxfp4/base.py); ggml's `block_mxfp4`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...types import QuantType
from ..stored import CheckpointTensor, DequantizedTensor, Rows
from .halves import halves_of_bytes
from .parts import Parts, expect_dtype, expect_matrices, expect_shape

__all__ = ["mxfp4", "mxfp4_tensor"]

BLOCK = QuantType.MXFP4.block_size
PACKED = BLOCK // 2


def mxfp4(config: Mapping[str, Any], parts: Parts) -> None:
    """Assemble the experts of a gpt-oss checkpoint; they come first.

    Raises:
        CheckpointError: a tensor is missing or does not fit.
    """
    for name, end in parts.ending("_scales"):
        scales = parts.take(name + end, name)
        blocks = parts.take(f"{name}_blocks", name)
        expect_matrices(scales)
        expect_shape(blocks, (*scales.shape, PACKED), f"to match {scales.name!r}")
        flat = replace(blocks, shape=(*scales.shape[:-1], scales.shape[-1] * PACKED))
        parts.first.append(mxfp4_tensor(name, flat, scales))


def mxfp4_tensor(
    name: str, packed: CheckpointTensor, scales: CheckpointTensor
) -> DequantizedTensor:
    """Packed codes [..., columns / 2] and their scales as a tensor of MXFP4 blocks.

    Raises:
        CheckpointError: the shapes do not fit.
        UnsupportedTypeError: the codes or scales are not stored as bytes.
    """
    expect_dtype(packed, "U8")
    expect_dtype(scales, "U8", "F8_E8M0")
    expect_matrices(scales)
    *outer, n_blocks = scales.shape
    expect_shape(packed, (*outer, n_blocks * PACKED), f"to match {scales.name!r}")

    def compute(rows: Rows) -> NDArray[np.uint8]:
        pairs = packed.numbers[rows].reshape(-1, n_blocks, PACKED)
        codes = np.stack([pairs & 15, pairs >> 4], axis=-1)
        halves = halves_of_bytes(codes.reshape(-1, n_blocks * BLOCK), BLOCK)
        exponents = scales.numbers[rows][..., None]
        blocks = np.concatenate([exponents, halves], axis=-1)
        return blocks.reshape(len(pairs), n_blocks * QuantType.MXFP4.block_bytes)

    shape = (*outer, n_blocks * BLOCK)
    return DequantizedTensor(name, shape, QuantType.MXFP4, compute, (packed, scales))
