"""The errors of quantized tensors, measured while the tensors are written.

All sums are in f64 over slabs in a fixed order, so results do not depend on the number
of threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays.rows import dequantize_rows
from ..display import Displayed
from .slabs import Slab

__all__ = ["TensorErrors", "convert_and_measure"]

PIECE_WEIGHTS = 1 << 16
"""Weights compared at a time, so that their f64 copies stay smaller than a slab."""


@dataclass(frozen=True)
class TensorErrors(Displayed):
    """Sums over weights w and their quantized values q, from which errors are computed.

    Attributes:
        n: the number of weights.
        error: the sum of (w - q)^2.
        signal: the sum of w^2.
        quantized: the sum of q^2.
        product: the sum of w q.
        largest: the largest |w - q|.
        weighted_error: the sum of importance times (w - q)^2.
        importance: the sum of the importance over the same weights; 0 without one.
        weighted_signal: the sum of importance times w^2.
    """

    n: int = 0
    error: float = 0.0
    signal: float = 0.0
    quantized: float = 0.0
    product: float = 0.0
    largest: float = 0.0
    weighted_error: float = 0.0
    importance: float = 0.0
    weighted_signal: float = 0.0

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
            self.weighted_signal + other.weighted_signal,
        )

    @property
    def rmse(self) -> float:
        """The root mean squared error."""
        return math.sqrt(self.error / self.n) if self.n else 0.0

    @property
    def weighted_rmse(self) -> float | None:
        """The RMSE weighted by importance; None without importance."""
        if self.importance == 0:
            return None
        return math.sqrt(self.weighted_error / self.importance)

    @property
    def relative(self) -> float | None:
        """The RMSE divided by the RMS of w; with importance, both are weighted by it.

        Then it is about the relative error of the matrix's output.  None if the weights
        are all zero.
        """
        error, signal = self.error, self.signal
        if self.importance:
            error, signal = self.weighted_error, self.weighted_signal
        return math.sqrt(error / signal) if signal else None

    @property
    def snr_db(self) -> float | None:
        """The signal-to-noise ratio in decibels; None if either is zero."""
        if self.error == 0 or self.signal == 0:
            return None
        return 10 * math.log10(self.signal / self.error)

    @property
    def cosine(self) -> float | None:
        """The cosine similarity of w and q; None if either is all zero."""
        norms = math.sqrt(self.signal) * math.sqrt(self.quantized)
        return self.product / norms if norms else None

    def to_dict(self) -> dict[str, float | None]:
        """The errors by their names in a report file."""
        return {
            "rmse": self.rmse,
            "snr_db": self.snr_db,
            "cosine": self.cosine,
            "max_error": self.largest,
            "weighted_rmse": self.weighted_rmse,
        }


def convert_and_measure(slab: Slab) -> tuple[NDArray[np.uint8], TensorErrors]:
    """`slab.convert()` and its error sums.

    If the type does not change, the sums are empty.
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
    """Error sums over rows f32 [rows, cols]; computed by NumPy, not by BLAS."""
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
        float((w * w * weighting).sum()),
    )
