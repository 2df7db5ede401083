"""8-bit weights with a scale for the whole tensor, or for each row, block or group.

    weight = (code - zero) * scale

It is computed in f32, as in transformers (integrations/finegrained_fp8.py) and
llama.cpp's converter.  compressed-tensors computes in the type of the scales; rounding
to that type gives its values, because with 16-bit scales the product is exact in f32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...errors import CheckpointError
from ...types import QuantType
from ..stored import CheckpointTensor, DequantizedTensor, Rows
from .parts import expect_matrices, expect_shape

__all__ = ["scaled"]

F32 = NDArray[np.float32]


def scaled(
    weight: CheckpointTensor,
    scale: CheckpointTensor,
    block: Sequence[int] | None = None,
    zero: CheckpointTensor | None = None,
) -> DequantizedTensor:
    """The weights of a tensor and its scales.

    Args:
        weight: the codes.
        scale: the scales; they may lack the last axes of the weight.
        block: sizes of a block with one scale along the last axes; the last blocks may
            be shorter.  None: computed from the shapes.
        zero: zero points with the shape of `scale`, if the weights are not symmetric.

    Raises:
        CheckpointError: the shapes do not fit.
    """
    sizes = _block_sizes(weight, scale, block)
    grid = tuple(-(-n // size) for n, size in zip(weight.shape, sizes, strict=True))
    if zero is not None:
        expect_shape(zero, scale.shape, f"as {scale.name!r} has")
        zero = replace(zero, shape=grid)
    dtype = "F8_E8M0" if scale.dtype == "U8" else scale.dtype  # as in the MX formats
    scale = replace(scale, shape=grid, dtype=dtype)

    def spread(tensor: CheckpointTensor, numbers: NDArray[np.intp]) -> F32:
        """The entries of a tensor of the shape `grid` that belong to some rows."""
        axes = np.unravel_index(numbers, weight.shape[:-1])
        row = np.zeros_like(numbers)
        for axis, size, length in zip(axes, sizes, grid, strict=False):
            row = row * length + axis // size
        return np.repeat(tensor.floats(row), sizes[-1], axis=1)[:, : weight.shape[-1]]

    def compute(rows: Rows) -> F32:
        numbers = np.arange(weight.n_rows)[rows]
        codes = weight.floats(rows)
        if zero is not None:
            codes -= spread(zero, numbers)
        codes *= spread(scale, numbers)
        return codes

    return DequantizedTensor(
        weight.name, weight.shape, QuantType.F32, compute, (weight,)
    )


def _block_sizes(
    weight: CheckpointTensor, scale: CheckpointTensor, block: Sequence[int] | None
) -> Sequence[int]:
    """The number of entries with the same scale along each axis of the weight."""
    expect_matrices(weight)
    if math.prod(scale.shape) == 1:
        return weight.shape
    missing = len(weight.shape) - len(scale.shape)
    if missing >= 0:
        lengths = (*scale.shape, *[1] * missing)
        axes = list(zip(weight.shape, lengths, strict=True))
        sizes = [n // length if length and n % length == 0 else 0 for n, length in axes]
        if block is not None and not missing:
            sizes[-len(block) :] = block
        if all(sizes) and all(
            -(-n // size) == length
            for (n, length), size in zip(axes, sizes, strict=True)
        ):
            return sizes
    blocks = f" in blocks of {list(block)}" if block is not None else ""
    raise CheckpointError(
        f"tensor {scale.name!r} has shape {list(scale.shape)}, which does not fit the "
        f"{list(weight.shape)} of {weight.name!r}{blocks}; download the checkpoint "
        "again"
    )
