"""Weights that hand out the inputs of matrices while a layer runs.

A layer runs in one of two streams: the unquantized one, or the rounded one, whose
matrices have the bytes that were solved so far.  A thread says what it wants in a
`Run`; the matrices ask it what to do.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, NonFiniteError
from ..forward.base import F32, Activations, Array
from ..gguf.source import SourceTensor
from ..inference.weights import TypedMatrix, with_scale
from ..types import QuantType

__all__ = ["CapturedWeights", "Input", "Part", "Reached", "Run"]

LARGEST = 1e18
"""The squares of 256 larger activations may be no f32 number; see `gram`."""


@dataclass(frozen=True, order=True)
class Part:
    """Rows start..stop-1 of a tensor, which are multiplied by the same inputs.

    A whole matrix, one of several that are stacked in a tensor (experts, heads), or one
    of those in a fused tensor (queries, keys, values).
    """

    tensor: str
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Input:
    """The input of a part in a sequence.

    Attributes:
        values: f32 [n, n_cols].
        tokens: the tokens of the rows: [n]; None: all tokens of the sequence.
    """

    values: F32
    tokens: NDArray[np.intp] | None


class Reached(Exception):
    """All wanted inputs are there: no error, but the end of a run."""


@dataclass(eq=False)
class Run:
    """What one run of a layer wants, and the inputs that it has found.

    Attributes:
        is_rounded: run in the rounded stream.
        wanted: the parts whose inputs are wanted.
        skipped: tensors that are not multiplied, because what is wanted does not depend
            on them; None: run to the end of the layer.
        inputs: the inputs by part; parts with the same input have the same array.
    """

    is_rounded: bool = False
    wanted: Collection[Part] = ()
    skipped: Collection[str] | None = None
    inputs: dict[Part, Input] = field(default_factory=dict)

    def meets(self, part: Part, x: Activations) -> bool:
        """Note the input of a part; whether to multiply it.

        Raises:
            NonFiniteError: an activation is NaN or infinite, or too large to be summed.
            Reached: it was the last of the wanted ones.
        """
        if part in self.wanted:
            _refuse_extreme(part.tensor, x.values)
            self.inputs[part] = Input(x.values, x.tokens)
            if self.skipped is not None and len(self.inputs) == len(self.wanted):
                raise Reached
        return self.skipped is None or part.tensor not in self.skipped


def _refuse_extreme(tensor: str, x: F32) -> None:
    """Refuse activations whose squares cannot be summed."""
    largest = np.abs(x).max(initial=0)
    if largest <= LARGEST:
        return
    found = "are NaN or infinite"
    if np.isfinite(largest):
        found = f"reach {largest:.2g}; their squares are too large to be summed"
    raise NonFiniteError(f"tensor {tensor} is multiplied by activations that {found}")


@dataclass(frozen=True, eq=False)
class CapturedMatrix:
    """A matrix of `CapturedWeights`; see `base.Matrix`."""

    weights: CapturedWeights
    part_: Part
    n_cols: int

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_cols)."""
        return self.part_.stop - self.part_.start, self.n_cols

    def apply(self, x: F32 | Activations) -> F32:
        """x [n, n_cols] times the transpose of the matrix: [n, n_rows]."""
        shared, run = Activations.of(x), self.weights.run
        if run.meets(self.part_, shared):
            return self._typed(run).apply(shared)
        return np.zeros((len(shared.values), self.shape[0]), np.float32)

    def part(self, start: int, stop: int) -> CapturedMatrix:
        """Rows start..stop-1 as a matrix, without a copy."""
        own = self.part_
        part = Part(own.tensor, own.start + start, own.start + stop)
        self.weights.divide(own, part)
        return CapturedMatrix(self.weights, part, self.n_cols)

    def rows(self, index: NDArray[np.integer[Any]]) -> F32:
        """The rows at `index`, dequantized: f32 [len(index), n_cols]."""
        return self._typed(self.weights.run).rows(index)

    def _typed(self, run: Run) -> TypedMatrix:
        own = self.part_
        whole = self.weights.typed(own.tensor, is_rounded=run.is_rounded)
        return whole.part(own.start, own.stop)


class CapturedWeights:
    """The tensors of a model, loaded when they are used; see `base.Weights`.

    Args:
        tensors: the model's tensors by name.

    Attributes:
        rounded: the bytes of tensors in the rounded stream, and their type.
    """

    def __init__(self, tensors: Mapping[str, SourceTensor]) -> None:
        self._tensors = tensors
        self._loaded: dict[str, TypedMatrix] = {}
        self._parts: dict[str, list[Part]] = {}
        self._local = threading.local()
        self.rounded: dict[str, tuple[NDArray[np.uint8], QuantType]] = {}

    @property
    def run(self) -> Run:
        """The run of this thread; outside of one, a run that wants nothing."""
        run: Run | None = getattr(self._local, "run", None)
        return Run() if run is None else run

    @contextmanager
    def running(self, run: Run) -> Iterator[None]:
        """Let this thread's matrices serve a run, until it has all that it wants."""
        self._local.run = run
        try:
            yield
        except Reached:
            pass
        finally:
            del self._local.run

    def parts(self, tensor: str) -> list[Part]:
        """The parts of a tensor, in the order of their rows; none of one not in use."""
        return sorted(self._parts.get(tensor, ()))

    def n_cols(self, tensor: str) -> int:
        """The number of columns of a tensor."""
        return self._tensors[tensor].n_cols

    def divide(self, whole: Part, part: Part) -> None:
        """Note that a part of a matrix is used apart from the others."""
        parts = self._parts[whole.tensor]
        if whole in parts:
            parts.remove(whole)
        parts.append(part)

    def __contains__(self, name: object) -> bool:
        """Whether the model has a tensor called `name`."""
        return name in self._tensors

    def matrix(self, name: str) -> CapturedMatrix:
        """The matrix called `name`.

        Raises:
            FormatError: the model has no such tensor.
        """
        if name not in self._tensors:
            raise FormatError(f"the model lacks the tensor {name!r}")
        tensor = self._tensors[name]
        part = Part(name, 0, tensor.n_rows)
        self._parts[name] = [part]
        return CapturedMatrix(self, part, tensor.n_cols)

    def vector(self, name: str) -> F32:
        """All weights of the small tensor `name`: f32 [n]."""
        matrix = self.typed(name)
        self._loaded.pop(name)
        return matrix.rows(np.arange(matrix.shape[0])).reshape(-1)

    def placed(self, values: Array) -> Array:
        """The same array."""
        return values

    def typed(self, name: str, *, is_rounded: bool = False) -> TypedMatrix:
        """A tensor as it is multiplied in a stream; kept in memory until `forget`."""
        whole = self._loaded.get(name)
        if whole is None:
            whole = self._loaded[name] = with_scale(name, self._tensors, self._read)
        if is_rounded and name in self.rounded:
            data, type = self.rounded[name]
            return TypedMatrix(data, type, whole.n_cols, scale=whole.scale)
        return whole

    def forget(self, names: Collection[str]) -> None:
        """Drop what is in memory of tensors that are not used any more."""
        for name in names:
            self._loaded.pop(name, None)
            self.rounded.pop(name, None)

    def _read(self, name: str) -> TypedMatrix:
        tensor = self._tensors[name]
        data = tensor.read(0, tensor.n_rows)
        return TypedMatrix(data, tensor.type, tensor.n_cols)
