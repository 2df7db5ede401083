"""Weights that record the activations that multiply them, for any forward pass.

A chunk is one work item, and each thread adds to the sums of its own chunk.
Source of what is recorded and how it is counted: tools/imatrix of llama.cpp, b11434.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import NonFiniteError
from ..execution.opened import Shared
from ..execution.workers import Workers, share_memory
from ..forward.base import F32, Activations, Array, Matrix, Model, Weights
from ..forward.engines import on_host
from ..gguf.source import ModelSource, SourceTensor
from ..importance.sums import F64
from ..inference.computing import Computing
from ..inference.device_loading import load_on_devices
from ..inference.shared import ModelOpener, model_opener, on_devices
from ..inference.weights import load_model, load_weights
from ..sources.checking import check_source

__all__ = [
    "ChunkSums",
    "ColumnSums",
    "ObservedModel",
    "ObservedOpener",
    "ObservedWeights",
    "Recorder",
    "refuse_non_finite",
    "share_observed",
]

PIECE_ROWS = 1024
"""Rows that a device sums at a time, since it holds them in f64."""


@dataclass(frozen=True)
class ColumnSums:
    """The sums of one matrix: f64 [cols] each, and the number of rows."""

    squares: F64
    values: F64
    count: int

    @classmethod
    def of(cls, x: F32) -> ColumnSums:
        """The sums of activations x [n, cols], where they are."""
        if not isinstance(x, np.ndarray):
            starts = range(0, max(len(x), 1), PIECE_ROWS)
            pieces = (x[start : start + PIECE_ROWS] for start in starts)
            return reduce(ColumnSums.__add__, map(cls._of_piece, pieces))
        return cls._of_piece(x)

    @classmethod
    def _of_piece(cls, x: F32) -> ColumnSums:
        wide = x.astype(np.float64)
        with np.errstate(invalid="ignore"):  # `refuse_non_finite` refuses infinities
            values = wide.sum(axis=0)
        np.multiply(wide, wide, out=wide)
        return cls(wide.sum(axis=0), values, len(x))

    def on_host(self) -> ColumnSums:
        """The same in the host's memory."""
        return ColumnSums(on_host(self.squares), on_host(self.values), self.count)

    def __add__(self, other: ColumnSums) -> ColumnSums:
        return ColumnSums(
            self.squares + other.squares,
            self.values + other.values,
            self.count + other.count,
        )


ChunkSums = dict[tuple[str, int], ColumnSums]
"""The sums of a chunk, by (tensor name, number of the matrix)."""


def refuse_non_finite(sums: ChunkSums, where: str) -> None:
    """Refuse sums of activations that are not finite, in the host's memory.

    Args:
        sums: the sums.
        where: the name of the chunk in messages.

    Raises:
        NonFiniteError: an activation is NaN or infinite.
    """
    for (tensor, _), found in sums.items():
        if not np.isfinite(found.squares).all():
            raise NonFiniteError(
                f"{where}: tensor {tensor} is multiplied by activations that are NaN "
                "or infinite"
            )


class Recorder:
    """Records activations for the chunk that the current thread works on."""

    def __init__(self) -> None:
        self._local = threading.local()

    @contextmanager
    def chunk(self, where: str) -> Iterator[ChunkSums]:
        """Record this thread's activations in the returned sums.

        Args:
            where: the name of the chunk in messages.
        """
        self._local.sums, self._local.where = {}, where
        try:
            yield self._local.sums
        finally:
            del self._local.sums, self._local.where

    def add(self, tensor: str, matrix: int, x: Activations) -> None:
        """Record the activations that multiply a matrix of a tensor.

        Raises:
            NonFiniteError: an activation is NaN or infinite; not of a device, which is
                not waited for.
        """
        found, key = x.made(ColumnSums, ColumnSums.of), (tensor, matrix)
        if isinstance(found.squares, np.ndarray):
            refuse_non_finite({key: found}, self._local.where)
        sums = self._local.sums
        sums[key] = sums[key] + found if key in sums else found


@dataclass(frozen=True)
class ObservedMatrix:
    """A matrix that records the activations that multiply it; see `base.Matrix`.

    Parts of a matrix, such as those of fused projections, have the same input, so only
    the first part records it.

    Attributes:
        inner: the matrix, or a part of it.
        tensor: the name of the tensor.
        matrix_rows: rows of each matrix (expert, head) stacked in the tensor.
        recorder: records the activations.
        start: the first row of the part.
    """

    inner: Matrix
    tensor: str
    matrix_rows: int
    recorder: Recorder
    start: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_rows, n_cols)."""
        return self.inner.shape

    def apply(self, x: F32 | Activations) -> F32:
        """x [n, n_cols] times the transpose of the matrix: [n, n_rows]."""
        shared = Activations.of(x)
        matrix, row = divmod(self.start, self.matrix_rows)
        if row == 0:
            self.recorder.add(self.tensor, matrix, shared)
        return self.inner.apply(shared)

    def part(self, start: int, stop: int) -> ObservedMatrix:
        """Rows start..stop-1 as a matrix, without a copy."""
        inner = self.inner.part(start, stop)
        return replace(self, inner=inner, start=self.start + start)

    def rows(self, index: NDArray[np.integer[Any]]) -> F32:
        """The rows at `index`, dequantized: f32 [len(index), n_cols]."""
        return self.inner.rows(index)


@dataclass(frozen=True)
class ObservedWeights:
    """Weights that record the activations in layers (tensors `blk.*`).

    Attributes:
        inner: the weights.
        tensors: the model's tensors by name, for their shapes.
        recorder: records the activations.
    """

    inner: Weights
    tensors: Mapping[str, SourceTensor]
    recorder: Recorder

    def __contains__(self, name: object) -> bool:
        """Whether the model has a tensor called `name`."""
        return name in self.inner

    def matrix(self, name: str) -> Matrix:
        """The matrix called `name`."""
        matrix = self.inner.matrix(name)
        if not name.startswith("blk."):
            return matrix
        rows = self.tensors[name].shape[-2:-1]
        return ObservedMatrix(matrix, name, math.prod(rows), self.recorder)

    def vector(self, name: str) -> F32:
        """All weights of the small tensor `name`: f32 [n]."""
        return self.inner.vector(name)

    def placed(self, values: Array) -> Array:
        """An array of the host, where the weights are."""
        return self.inner.placed(values)


@dataclass(frozen=True)
class ObservedModel:
    """A model that records the activations of its matrices.

    Attributes:
        model: the model.
        recorder: records the activations.
        head: the name of the output head's tensor.
    """

    model: Model
    recorder: Recorder
    head: str

    @classmethod
    def of(cls, source: ModelSource, weights: Weights) -> ObservedModel:
        """Build the model from a source and its weights."""
        recorder = Recorder()
        observed = ObservedWeights(weights, source.tensors, recorder)
        own = "output.weight"
        head = own if own in source.tensors else "token_embd.weight"
        return cls(load_model(source, observed), recorder, head)


@dataclass(frozen=True)
class ObservedOpener:
    """Loads an observed model in another process."""

    kept: ClassVar[int] = 1

    model: ModelOpener

    def open(self) -> ObservedModel:
        """Load the model.

        Raises:
            QuantkitError: as for `ModelOpener.load`.
        """
        return ObservedModel.of(*self.model.load())


def share_observed(
    source: ModelSource, computing: Computing, workers: Workers
) -> Shared[ObservedModel]:
    """Load an observed model to run on devices, or in processes that workers are in."""
    check_source(source)
    load = partial(ObservedModel.of, source)
    if computing.cards:
        return on_devices(load_on_devices(source, None, computing), load)
    precision = computing.precision
    opener = model_opener(source, precision=precision)
    there = None if opener is None else ObservedOpener(opener)
    if there is not None and not share_memory(workers):
        return Shared(there)
    return Shared(there, load(load_weights(source, precision=precision)))
