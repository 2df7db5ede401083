"""The error of a tensor in each type, from a sample of its rows.

It is the squared error of the weights, each weighed by the mean square of the input
that it multiplies: the squared error of the outputs, if inputs are not correlated.
Only the ratios between types of the same tensor are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays.rows import dequantize_rows
from ..execution.workers import Workers
from ..forward.base import F32
from ..gguf.source import SourceTensor
from ..inference.weights import TypedMatrix
from ..progress import Progress
from ..quantizing.rounding import Roundings
from ..types import QuantType

__all__ = ["Sampled", "errors_by_type"]

SAMPLE_WEIGHTS = 1 << 17
"""Weights of a tensor that are quantized to each type."""
STAGE = "errors of types"


@dataclass(frozen=True, eq=False)
class Sampled:
    """A tensor, and the types that it may get.

    Attributes:
        tensor: the tensor.
        matrix: its weights.
        types: the types.
        rounding, weighing: how to round it, and what its errors weigh.
    """

    tensor: SourceTensor
    matrix: TypedMatrix
    types: Sequence[QuantType]
    rounding: Roundings
    weighing: Roundings


def errors_by_type(
    sampled: Sequence[Sampled], workers: Workers, progress: Progress | None = None
) -> dict[str, dict[QuantType, float]]:
    """The error of each tensor in each of its types, by name.

    Args:
        sampled: the tensors.
        workers: process some tensors at a time.
        progress: called after each tensor.
    """
    found = {}
    for each, errors in workers.in_order(errors_of, sampled):
        found[each.tensor.name] = errors
        if progress is not None:
            progress(STAGE, len(found), len(sampled))
    return found


def errors_of(sampled: Sampled) -> dict[QuantType, float]:
    """The error of a tensor in each of its types that can hold its weights."""
    found = dict.fromkeys(sampled.types, 0.0)
    roundings = sampled.rounding.of(sampled.tensor)
    weights = [each.importance for each in sampled.weighing.of(sampled.tensor)]
    for rows, i, j in _groups(sampled.tensor, len(roundings), len(weights)):
        exact, weight = sampled.matrix.rows(rows), weights[j]
        for type in sampled.types:
            data = roundings[i].quantized(exact, type)
            rounded = dequantize_rows(data, type, sampled.tensor.n_cols)
            found[type] += _squared(rounded - exact, weight)
    return {type: error for type, error in found.items() if np.isfinite(error)}


def _groups(
    tensor: SourceTensor, *n_shares: int
) -> Iterator[tuple[NDArray[np.intp], int, int]]:
    """Evenly spread rows, in groups that have the same shares of the tensor."""
    count = max(SAMPLE_WEIGHTS // max(tensor.n_cols, 1), 1)
    rows = np.arange(0, tensor.n_rows, -(-tensor.n_rows // count))
    shares = np.array([rows * n // tensor.n_rows for n in n_shares])
    starts = np.flatnonzero(np.diff(shares, prepend=-1).any(axis=0))
    for group in np.split(rows, starts[1:]):
        i, j = (int(group[0]) * n // tensor.n_rows for n in n_shares)
        yield group, i, j


def _squared(error: F32, weight: F32 | None) -> float:
    squares = np.square(error, dtype=np.float64)
    return float(squares.sum() if weight is None else (squares @ weight).sum())
