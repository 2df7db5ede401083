"""What quantization changed, tensor by tensor: measured while the tensors are written.

All sums are in f64 over slabs in a fixed order, so that no figure depends on the number
of threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import dequantize_rows
from .slabs import Slab

__all__ = ["TensorErrors", "convert_and_measure"]

PIECE_WEIGHTS = 1 << 16
"""Weights measured at a time, so that their f64 copies stay small beside a slab."""


@dataclass(frozen=True)
class TensorErrors:
    """Sums over weights w and their quantized values q, of which the figures are made.

    Attributes:
        n: weights.
        error: of (w - q)^2.
        signal: of w^2.
        quantized: of q^2.
        product: of w q.
        largest: the largest |w - q|.
        weighted_error: of the importance times (w - q)^2.
        importance: of the importance, over the same weights; 0 where there is none.
    """

    n: int = 0
    error: float = 0.0
    signal: float = 0.0
    quantized: float = 0.0
    product: float = 0.0
    largest: float = 0.0
    weighted_error: float = 0.0
    importance: float = 0.0

    def __add__(self, other: TensorErrors) -> TensorErrors:
        return TensorErrors(
            self.n + other.n,
            self.error + other.error,
            self.signal + other.signal,
            self.quantized + other.quantized,
            self.product + other.product,
            max(self.largest, other.largest),
            self.weighted_error + other.weighted_error,
            self.importance + other.importance,
        )

    @property
    def rmse(self) -> float:
        """Root of the mean squared error."""
        return math.sqrt(self.error / self.n) if self.n else 0.0

    @property
    def weighted_rmse(self) -> float | None:
        """The same, each weight counted by its importance; None if there is none."""
        if self.importance == 0:
            return None
        return math.sqrt(self.weighted_error / self.importance)

    @property
    def snr_db(self) -> float | None:
        """Signal over noise in decibels; None where one of them is zero."""
        if self.error == 0 or self.signal == 0:
            return None
        return 10 * math.log10(self.signal / self.error)

    @property
    def cosine(self) -> float | None:
        """Cosine of the angle between both; None where either is all zero."""
        norms = math.sqrt(self.signal) * math.sqrt(self.quantized)
        return self.product / norms if norms else None

    def to_dict(self) -> dict[str, float | None]:
        """The figures, by the names that a report file has."""
        return {
            "rmse": self.rmse,
            "snr_db": self.snr_db,
            "cosine": self.cosine,
            "max_error": self.largest,
            "weighted_rmse": self.weighted_rmse,
        }


def convert_and_measure(slab: Slab) -> tuple[NDArray[np.uint8], TensorErrors]:
    """`slab.convert()`, and how far that is from the rows before.

    Rows that keep their type have no error, and are not looked at.
    """
    converted = slab.convert()
    sums = TensorErrors()
    tensor = slab.tensor
    if slab.type is tensor.type:
        return converted, sums
    n_piece = max(1, PIECE_WEIGHTS // max(1, tensor.n_cols))
    for at in range(0, slab.stop - slab.start, n_piece):
        stop = min(slab.start + at + n_piece, slab.stop)
        before = tensor.read(slab.start + at, stop)
        after = converted[at : at + n_piece]
        sums += _compare(
            dequantize_rows(before, tensor.type, tensor.n_cols),
            dequantize_rows(after, slab.type, tensor.n_cols),
            slab.rounding.importance,
        )
    return converted, sums


def _compare(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    importance: NDArray[np.float32] | None,
) -> TensorErrors:
    """Sums over rows f32 [rows, cols]; products are summed by NumPy, not by BLAS."""
    w, q = before.astype(np.float64), after.astype(np.float64)
    error = w - q
    squared = error * error
    weighting = np.float64(0) if importance is None else importance.astype(np.float64)
    total = float(np.sum(weighting)) * len(w)
    return TensorErrors(
        w.size,
        float(squared.sum()),
        float((w * w).sum()),
        float((q * q).sum()),
        float((w * q).sum()),
        float(np.abs(error).max(initial=0.0)),
        float((squared * weighting).sum()),
        total,
    )
