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
from ..kept import KeepableTensor, KeptTensor
from ..stored import CheckpointTensor, Rows
from .halves import CHECKED_ROWS, halves_of_bytes
from .parts import expect_dtype, expect_matrices, expect_shape

__all__ = ["nvfp4_tensor"]

F32 = NDArray[np.float32]

GROUP, GROUPS = 16, 4
"""Codes that share a scale, and such groups in a block of GGUF's."""
NAN = 0x7F
"""The code of NaN, which follows all others without a sign."""
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
    inputs: CheckpointTensor | None = None,
) -> KeepableTensor:
    """The weights of packed codes, as F32; the codes may be kept.

    Args:
        name: name of the weight.
        packed: codes [..., columns / 2].
        scales: [..., columns / 16].
        whole: the number by which all scales are multiplied; None: there is none.
        divides: divide the scales by it instead.
        unit: divide that number by this first, in f32.
        inputs: the same number for activations; None: there is none.

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

    def factor(tensor: CheckpointTensor | None, of_unit: float) -> float:
        if tensor is None:
            return 1.0
        stored = _number(tensor)
        one = np.float32(1)
        return float(one / stored if divides else stored / np.float32(of_unit))

    def keep() -> KeptTensor | None:
        if n_groups % GROUPS or not _fits(scales):
            return None
        return KeptTensor(
            *(name, shape, QuantType.NVFP4, lambda rows: _blocks(packed, scales, rows)),
            (packed, scales),
            factor(whole, unit),
            factor(inputs, 1.0),
        )

    shape = (*outer, n_groups * GROUP)
    sources = packed, scales
    return KeepableTensor(name, shape, QuantType.F32, compute, sources, keep)


def _fits(scales: CheckpointTensor) -> bool:
    """Whether no scale is negative or NaN, so that 7 bits hold it."""
    for start in range(0, scales.n_rows, CHECKED_ROWS):
        if (scales.numbers[start : start + CHECKED_ROWS] >= NAN).any():
            return False
    return True


def _blocks(
    packed: CheckpointTensor, scales: CheckpointTensor, rows: Rows
) -> NDArray[np.uint8]:
    """GGUF's blocks of four scales and four groups of 8 bytes.

    Byte j of a group has code j in its lower half and code j + 8 in its upper half.
    """
    steps = scales.numbers[rows]
    pairs = packed.numbers[rows]
    both = np.stack([pairs & 15, pairs >> 4], axis=-1)
    codes = both.reshape(len(pairs), steps.shape[1] * GROUP)
    halves = halves_of_bytes(codes, GROUP)
    n_blocks = steps.shape[1] // GROUPS
    parts = [steps.reshape(len(steps), n_blocks, GROUPS)]
    parts.append(halves.reshape(len(steps), n_blocks, GROUPS * GROUP // 2))
    row_bytes = QuantType.NVFP4.row_bytes(steps.shape[1] * GROUP)
    return np.concatenate(parts, axis=-1).reshape(len(steps), row_bytes)


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
