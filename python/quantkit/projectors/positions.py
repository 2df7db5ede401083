"""Tables of positions, resized to other numbers of patches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..arrays.rows import dequantize_rows
from ..checkpoint.lazy import Bytes, Index, LazyTensor
from ..errors import CheckpointError
from ..types import QuantType

__all__ = ["resized"]

F32 = NDArray[np.float32]


def resized(source: str, tensor: LazyTensor, side: int) -> LazyTensor:
    """The embeddings of the patches of a square image with another number of them.

    Between embeddings the values are linear in both directions, and the corners keep
    theirs.  The bits are those of torch's `interpolate` with `mode="bilinear"` and
    `align_corners=True`, if the width is a multiple of 16; it gave the same ones for
    43 million random values.

    Args:
        source: the tensor's name, for messages.
        tensor: [1, patches, width].
        side: the number of patches along each side.

    Returns:
        [1, side * side, width], as F32; the tensor itself, if it has this size.

    Raises:
        CheckpointError: the patches do not form a square, or there are to be none.
    """
    shape = tensor.shape
    n_stored = math.isqrt(shape[1]) if len(shape) == 3 else 0
    if len(shape) != 3 or shape[0] != 1 or n_stored**2 != shape[1]:
        raise CheckpointError(
            f"{source!r} has the shape {list(shape)}; expected [1, patches, width] "
            "with the patches of a square image"
        )
    if side < 1:
        raise CheckpointError(
            f"by config.json, an image is smaller than a patch, so that {source!r} has "
            "no rows"
        )
    return tensor if n_stored == side else _Resized(tensor, n_stored, side)


@dataclass(frozen=True, eq=False)
class _Resized:
    of: LazyTensor
    n_stored: int
    side: int

    type = QuantType.F32

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, self.side**2, self.of.shape[-1])

    def rows(self, start: int, stop: int) -> Bytes:
        return self.pick(np.arange(start, stop))

    def pick(self, index: Index) -> Bytes:
        """Each row is the sum of four, whose weights are products of two parts."""
        y, x = np.divmod(index, self.side)
        (low, high), (to_low, to_high) = self._neighbors
        corners = (
            (high[y], low[x], to_high[y] * to_low[x]),
            (high[y], high[x], to_high[y] * to_high[x]),
            (low[y], high[x], to_low[y] * to_high[x]),
            (low[y], low[x], to_low[y] * to_low[x]),
        )
        total = np.zeros((len(index), self.shape[-1]), np.float32)
        for row, column, weight in corners:
            rows = self.of.pick(row * self.n_stored + column)
            values = dequantize_rows(rows, self.of.type, self.shape[-1])
            total = _fused(weight[:, None], values, total)
        made: Bytes = total.view(np.uint8)
        return made

    @cached_property
    def _neighbors(
        self,
    ) -> tuple[tuple[NDArray[np.intp], NDArray[np.intp]], tuple[F32, F32]]:
        """The stored places around each place, and their parts of it."""
        step = np.float32(self.n_stored - 1) / np.float32(max(self.side - 1, 1))
        places = step * np.arange(self.side, dtype=np.float32)
        low = np.minimum(places.astype(np.intp), self.n_stored - 1)
        high = np.minimum(low + 1, self.n_stored - 1)
        to_high = places - low.astype(np.float32)
        return (low, high), (np.float32(1) - to_high, to_high)


def _fused(weight: F32, values: F32, total: F32) -> F32:
    """weight * values + total, rounded once."""
    exact = weight.astype(np.float64) * values + total
    result: F32 = exact.astype(np.float32)
    return result
