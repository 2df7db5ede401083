"""NVFP4 weights: 4-bit floats with an 8-bit scale per 16, and one scale for all.

    uint8 [rows, columns / 2]: a byte has codes 2i (lower half) and 2i + 1
    F8_E4M3 [rows, columns / 16]: the scale of each 16
    F32: one number, a factor (ModelOpt) or a divisor (compressed-tensors) of all scales

A code is a sign, two bits of exponent and one of mantissa (E2M1).  In f32:
weight = value of the code * (scale * factor), or value * (scale / divisor).

Sources: ModelOpt as llama.cpp's converter reads it (conversion/base.py); the OCP
Microscaling Formats specification; compressed-tensors 0.20 (compressors/nvfp4,
quantization/lifecycle/forward_helpers.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import CheckpointError
from ...types import QuantType
from ..stored import CheckpointTensor, DequantizedTensor, Rows
from .parts import expect_dtype, expect_matrices, expect_shape

__all__ = ["nvfp4_tensor"]

F32 = NDArray[np.float32]

GROUP = 16
POSITIVE = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
VALUES = np.concatenate([POSITIVE, -POSITIVE])
PAIRS = np.stack([np.tile(VALUES, 16), np.repeat(VALUES, 16)], axis=-1)
"""[256, 2]: the two values in a byte."""


def nvfp4_tensor(
    name: str,
    packed: CheckpointTensor,
    scales: CheckpointTensor,
    whole: CheckpointTensor | None,
    *,
    divides: bool = False,
    unit: float = 1.0,
) -> DequantizedTensor:
    """The weights of packed codes, as F32.

    Args:
        name: name of the weight.
        packed: codes [..., columns / 2].
        scales: [..., columns / 16].
        whole: the number by which all scales are multiplied; None: there is none.
        divides: divide the scales by it instead.
        unit: divide that number by this first, in f32.

    Raises:
        CheckpointError: the shapes do not fit, or the number is not finite and above 0.
        UnsupportedTypeError: a tensor is stored as another type.
    """
    expect_dtype(packed, "U8")
    expect_dtype(scales, "F8_E4M3")
    expect_matrices(scales)
    *outer, n_groups = scales.shape
    expect_shape(packed, (*outer, n_groups * GROUP // 2), f"to match {scales.name!r}")
    number = 1.0 if whole is None else _number(whole) / np.float32(unit)

    def compute(rows: Rows) -> F32:
        of_groups = scales.floats(rows)
        (np.divide if divides else np.multiply)(of_groups, number, out=of_groups)
        weights: F32 = PAIRS[packed.numbers[rows]].reshape(-1, n_groups, GROUP)
        weights *= of_groups[..., None]
        return weights.reshape(-1, n_groups * GROUP)

    shape = (*outer, n_groups * GROUP)
    return DequantizedTensor(name, shape, QuantType.F32, compute, (packed, scales))


def _number(tensor: CheckpointTensor) -> np.float32:
    """The one number of a tensor, finite and above 0."""
    expect_dtype(tensor, "F32")
    numbers: F32 = tensor.numbers.ravel()
    if len(numbers) != 1 or not 0 < numbers[0] < np.inf:
        found = numbers[0] if len(numbers) == 1 else f"shape {list(tensor.shape)}"
        raise CheckpointError(
            f"tensor {tensor.name!r} has {found}; expected one finite number above 0, "
            "for all scales of an NVFP4 weight; download the checkpoint again"
        )
    number: np.float32 = numbers[0]
    return number
