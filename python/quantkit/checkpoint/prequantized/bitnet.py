"""BitNet checkpoints: weights of -1, 0 and 1, four per byte.

    X.weight        uint8 [out / 4, in]; bits 2i and 2i + 1 have rows i * out / 4 on
    X.weight_scale  a number by which weights are divided

Sources: transformers 5.23 (integrations/bitnet.py); llama.cpp's converter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...types import QuantType
from ..stored import DequantizedTensor, Rows
from .parts import Parts, expect_dtype, expect_matrix, expect_shape

__all__ = ["bitnet"]

PER_BYTE = 4


def bitnet(config: Mapping[str, Any], parts: Parts) -> None:
    """Assemble the weights of a BitNet checkpoint.

    Raises:
        CheckpointError: a tensor is missing or does not fit.
    """
    for base, end in parts.ending(".weight_scale"):
        name = f"{base}.weight"
        parts.in_place[name] = _weight(name, base + end, parts)


def _weight(name: str, scale_name: str, parts: Parts) -> DequantizedTensor:
    weight, scale = parts.take(name, name), parts.take(scale_name, name)
    expect_dtype(weight, "U8")
    expect_shape(scale, (1,), f"for the whole of {name!r}")
    n_packed, n_cols = expect_matrix(weight)

    def compute(rows: Rows) -> NDArray[np.float32]:
        numbers = np.arange(PER_BYTE * n_packed)[rows]
        place, row = np.divmod(numbers, n_packed)
        codes = weight.numbers[row] >> (2 * place[:, None]).astype(np.uint8) & 3
        weights: NDArray[np.float32] = codes.astype(np.float32)
        weights -= 1
        weights /= scale.floats()[0, 0]
        return weights

    shape = (PER_BYTE * n_packed, n_cols)
    return DequantizedTensor(name, shape, QuantType.F32, compute, (weight,))
