"""Weights rounded to -1, 0 and 1 times one scale for the whole matrix (BitNet)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays.rows import dequantize_rows
from ..errors import UnsupportedModelError
from ..types import QuantType
from .cascade import cascade_sum
from .lazy import Bytes, Index, LazyTensor, LowRank
from .lazy_functions import DTYPES, kept_type

__all__ = ["ternary"]

F32 = NDArray[np.float32]
LEAST = np.float32(1e-5)
"""The smallest scale."""
SLAB = 1 << 20
"""Weights to read at a time for the scale."""


def ternary(tensor: LazyTensor) -> LazyTensor:
    """The weights as -1, 0 or 1 times the mean of their magnitudes.

    The mean is summed in f32 as in llama.cpp's converter, which runs torch: from 32768
    weights on, its last bits depend there on the number of threads; here they are those
    of one thread.  The result of BF16 is F32, else the type is kept.  Source of the
    rule: arXiv:2402.17764.

    Raises:
        UnsupportedModelError: the tensor is a product of two matrices (LoRA), which
            cannot be rounded without computing it.
    """
    if isinstance(tensor, LowRank):
        raise UnsupportedModelError(
            "the adapter changes matrices that BitNet rounds to -1, 0 and 1; merge it "
            "into the checkpoint before converting"
        )
    return _Ternary(tensor, kept_type(tensor))


@dataclass(frozen=True, eq=False)
class _Ternary:
    of: LazyTensor
    type: QuantType
    _scale: list[np.float32] = field(default_factory=list, repr=False)
    _lock: Any = field(default_factory=Lock, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.of.shape

    def rows(self, start: int, stop: int) -> Bytes:
        return self._rounded(self.of.rows(start, stop))

    def pick(self, index: Index) -> Bytes:
        return self._rounded(self.of.pick(index))

    def _rounded(self, rows: Bytes) -> Bytes:
        inverse = np.float32(1) / self._mean()
        codes = np.clip(np.round(self._values(rows) * inverse), -1, 1)
        with np.errstate(invalid="ignore"):  # refused when written
            made: Bytes = (codes / inverse).astype(DTYPES[self.type]).view(np.uint8)
        return made

    def _values(self, rows: Bytes) -> F32:
        return dequantize_rows(rows, self.of.type, self.shape[-1])

    def _mean(self) -> np.float32:
        """The mean magnitude, which is computed once."""
        with self._lock:
            if not self._scale:
                self._scale.append(max(_mean_magnitude(self), LEAST))
        return self._scale[0]


def _mean_magnitude(tensor: _Ternary) -> np.float32:
    n_rows, n_cols = math.prod(tensor.shape[:-1]), tensor.shape[-1]
    step = max(1, SLAB // max(1, n_cols))
    slabs = (
        np.abs(tensor._values(tensor.of.rows(start, min(start + step, n_rows))))
        for start in range(0, n_rows, step)
    )
    n = n_rows * n_cols
    mean: np.float32 = cascade_sum(slabs, n) / np.float32(max(n, 1))
    return mean
