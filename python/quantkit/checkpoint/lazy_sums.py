"""Lazy matrices whose rows are sums of parts of rows; see lazy.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays.rows import dequantize_rows
from ..types import QuantType
from .lazy import Bytes, Index, LazyTensor
from .lazy_functions import DTYPES, kept_type

__all__ = ["summed"]


def summed(tensor: LazyTensor, n_parts: int) -> LazyTensor:
    """The sums of the parts of each row, in order and in f32.

    Args:
        tensor: a matrix [rows, n_parts * columns].
        n_parts: the number of parts.

    Returns:
        [rows, columns]; F16 if the matrix is, else F32.
    """
    return _Summed(tensor, n_parts)


@dataclass(frozen=True, eq=False)
class _Summed:
    of: LazyTensor
    n_parts: int

    @property
    def type(self) -> QuantType:
        return kept_type(self.of)

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.of.shape[:-1], self.of.shape[-1] // self.n_parts)

    def rows(self, start: int, stop: int) -> Bytes:
        return self._sums(self.of.rows(start, stop))

    def pick(self, index: Index) -> Bytes:
        return self._sums(self.of.pick(index))

    def _sums(self, rows: Bytes) -> Bytes:
        values = dequantize_rows(rows, self.of.type, self.of.shape[-1])
        parts = values.reshape(len(values), self.n_parts, self.shape[-1])
        total = parts[:, 0].copy()
        with np.errstate(over="ignore", invalid="ignore"):  # refused when written
            for number in range(1, self.n_parts):
                total += parts[:, number]
            sums: Bytes = total.astype(DTYPES[self.type]).view(np.uint8)
        return sums
