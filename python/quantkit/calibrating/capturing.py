"""Weights that hand out the inputs of matrices while a layer runs.

A layer runs in one of two streams: the unquantized one, or the rounded one, whose
matrices have the bytes that were solved so far.  A thread says what it wants in a
`Run`; the matrices ask it what to do.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, NonFiniteError
from ..execution.carried import Carried
from ..forward.base import F32, Activations, Array, Matrix
from ..forward.engines import on_host
from ..gguf.source import SourceTensor
from ..inference.computing import EXACT, Computing
from ..inference.device_matrix import DeviceMatrix, Products
from ..inference.named import with_scale
from ..inference.stored import Resident
from ..inference.weights import TypedMatrix
from ..types import QuantType

__all__ = ["CapturedWeights", "Input", "Part", "Reached", "Rounded", "Run"]

Rounded = Mapping[str, Carried[tuple[NDArray[np.uint8], QuantType]]]
"""By name, the bytes and types of the tensors of the rounded stream."""

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
        rounded: run in the rounded stream, which has these tensors; None: in the
            unquantized one.
        wanted: the parts whose inputs are wanted.
        skipped: tensors that are not multiplied, because what is wanted does not depend
            on them; None: run to the end of the layer.
        inputs: the inputs by part; parts with the same input have the same array.
    """

    rounded: Rounded | None = None
    wanted: Collection[Part] = ()
    skipped: Collection[str] | None = None
    inputs: dict[Part, Input] = field(default_factory=dict)

    def come_to_host(self) -> None:
        """Bring the inputs to the host; parts with the same one keep the same array."""
        moved: dict[int, Input] = {}
        for part, found in self.inputs.items():
            if isinstance(found.values, np.ndarray):
                continue
            if id(found.values) not in moved:
                tokens = None if found.tokens is None else on_host(found.tokens)
                moved[id(found.values)] = Input(on_host(found.values), tokens)
            self.inputs[part] = moved[id(found.values)]

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
    largest = max(float(x.max()), -float(x.min())) if x.size else 0.0
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
        x_there = shared.values
        shape = len(x_there), self.shape[0]
        return np.zeros_like(x_there, np.float32, shape=shape)

    def part(self, start: int, stop: int) -> CapturedMatrix:
        """Rows start..stop-1 as a matrix, without a copy."""
        own = self.part_
        part = Part(own.tensor, own.start + start, own.start + stop)
        self.weights.divide(own, part)
        return CapturedMatrix(self.weights, part, self.n_cols)

    def rows(self, index: NDArray[np.integer[Any]]) -> F32:
        """The rows at `index`, dequantized: f32 [len(index), n_cols]."""
        return self._typed(self.weights.run).rows(index)

    def _typed(self, run: Run) -> Matrix:
        own = self.part_
        whole = self.weights.multiplied(own.tensor, run.rounded)
        return whole.part(own.start, own.stop)


class CapturedWeights:
    """The tensors of a model, loaded when they are used; see `base.Weights`.

    Args:
        tensors: the model's tensors by name.
        computing: where layers run; of several devices, the first one.

    Attributes:
        rounded: the bytes of tensors in the rounded stream, and their type.
    """

    def __init__(
        self, tensors: Mapping[str, SourceTensor], computing: Computing = EXACT
    ) -> None:
        self._tensors = tensors
        self._card = computing.cards[0] if computing.cards else None
        self._there: dict[tuple[str, bool], tuple[TypedMatrix, DeviceMatrix]] = {}
        self._loaded: dict[str, TypedMatrix] = {}
        self._loading = threading.Lock()
        self._parts: dict[str, list[Part]] = {}
        self._local = threading.local()
        self.rounded: dict[str, Carried[tuple[NDArray[np.uint8], QuantType]]] = {}

    @property
    def run(self) -> Run:
        """The run of this thread; outside of one, a run that wants nothing."""
        run: Run | None = getattr(self._local, "run", None)
        return Run() if run is None else run

    @contextmanager
    def running(self, run: Run) -> Iterator[None]:
        """Let this thread's matrices serve a run, until it has all that it wants.

        On a device, other threads wait; what the run has found is then on the host.
        """
        self._local.run = run
        try:
            with self.current():
                with suppress(Reached):
                    yield
                run.come_to_host()
        finally:
            del self._local.run

    def current(self) -> AbstractContextManager[object]:
        """Makes the device that of this thread, if there is one."""
        return nullcontext() if self._card is None else self._card.current()

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
        return self.placed(matrix.numbers())

    def placed(self, values: Array) -> Array:
        """An array of the host, where layers run."""
        return values if self._card is None else self._card.to_device(values)

    def multiplied(
        self, name: str, rounded: Rounded | None
    ) -> TypedMatrix | DeviceMatrix:
        """A tensor where layers run; kept there until `forget`."""
        here = self.typed(name, rounded)
        if self._card is None:
            return here
        key = name, here is not self._loaded.get(name)
        own, there = self._there.get(key, (None, None))
        if own is None or there is None or own.data is not here.data:
            stored = Resident(self._card, self._card.to_device(here.data))
            there = DeviceMatrix(
                *(self._card, stored, here.type, here.n_cols, Products.F32)
            )
            if here.scale is not None:
                there = there.scaled(here.scale)
            self._there[key] = here, there
        return there

    def typed(self, name: str, rounded: Rounded | None = None) -> TypedMatrix:
        """A tensor as it is multiplied in a stream; kept in memory until `forget`."""
        whole = self._loaded.get(name) or self._load(name)
        if rounded is not None and name in rounded:
            data, type = rounded[name].value
            return TypedMatrix(data, type, whole.n_cols, scale=whole.scale)
        return whole

    def _load(self, name: str) -> TypedMatrix:
        """Load a tensor, unless another thread just did."""
        with self._loading:
            if name not in self._loaded:
                self._loaded[name] = with_scale(name, self._tensors, self._read)
            return self._loaded[name]

    def forget(self, names: Collection[str]) -> None:
        """Drop what is in memory of tensors that are not used any more."""
        for name in names:
            self._loaded.pop(name, None)
            for is_rounded in (False, True):
                self._there.pop((name, is_rounded), None)
            self.rounded.pop(name, None)

    def forget_others(self, names: Collection[str]) -> None:
        """Drop what is in memory of other tensors of layers than these."""
        held = [*self._loaded, *(name for name, _ in self._there)]
        self.forget({n for n in held if n.startswith("blk.")}.difference(names))

    def _read(self, name: str) -> TypedMatrix:
        tensor = self._tensors[name]
        data = tensor.read(0, tensor.n_rows)
        return TypedMatrix(data, tensor.type, tensor.n_cols)
