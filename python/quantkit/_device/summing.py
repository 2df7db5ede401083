"""Sums over tokens of products of inputs, kept in device memory while they grow."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._native.arguments import DOUBLE, FLOAT, shape_of
from ..errors import ShapeError
from .arguments import memory
from .loading import library
from .plain_memory import (
    allocated,
    copy_from_device,
    copy_to_device,
    free_bytes,
    wait_for_device,
)
from .statuses import check_status
from .support import device_in_use

__all__ = ["DeviceSums", "Summand"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


class Summand(Protocol):
    """Rows first..first+count-1 of a^T b, for these rows of `into`; see `gram`.

    Attributes:
        a: f32 [tokens, n], contiguous.
        b: f32 [tokens, m], contiguous.
        into: f64 [n, m], contiguous.
        first, count: which rows.
        is_upper: whether only columns from `first` on are needed.
    """

    @property
    def a(self) -> F32: ...
    @property
    def b(self) -> F32: ...
    @property
    def into(self) -> F64: ...
    @property
    def first(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def is_upper(self) -> bool: ...


class DeviceSums:
    """Arrays of main memory whose sums are in device memory until `finish`.

    A context manager; leaving it gives the memory back.  The sums are those of
    `_native.gram`, added in the order of the calls.

    Args:
        device: the number of the CUDA device.
    """

    def __init__(self, device: int) -> None:
        self._device = device
        self._there: dict[int, _There] = {}

    def __enter__(self) -> DeviceSums:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each in self._there.values():
            each.kept.close()
        self._there.clear()

    def add(self, summands: Sequence[Summand]) -> bool:
        """Add what belongs to the sums of a few arrays.

        Returns:
            False: there is too little memory.  Nothing was added, and the arrays of the
            summands have their sums; they may be added to in main memory.

        Raises:
            ShapeError: an array does not fit.
            BackendError: CUDA failed.
        """
        inputs = {id(x): x for each in summands for x in (each.a, each.b)}
        targets = {id(each.into): each.into for each in summands}
        new = [into for key, into in targets.items() if key not in self._there]
        arrays: list[NDArray[Any]] = [*inputs.values(), *new]
        n_bytes = sum(array.nbytes for array in arrays)
        with device_in_use(self._device), ExitStack() as kept:
            if free_bytes(2 * n_bytes) < 2 * n_bytes:
                self._finish(targets.keys() & self._there.keys())
                return False
            for into in new:
                self._there[id(into)] = _There.of(into)
            places = {}
            for key, array in inputs.items():
                places[key] = kept.enter_context(allocated(array.nbytes))
                copy_to_device(FLOAT, array, places[key])
            for each in summands:
                at = self._there[id(each.into)].address
                _add(each, places[id(each.a)], places[id(each.b)], at)
            wait_for_device("sums of inputs")
        return True

    def finish(self) -> None:
        """Copy all sums to their arrays.

        Raises:
            BackendError: CUDA failed.
        """
        with device_in_use(self._device):
            self._finish(set(self._there))

    def _finish(self, keys: set[int]) -> None:
        for key in keys:
            there = self._there[key]
            copy_from_device(DOUBLE, there.into, there.address)
        wait_for_device("sums of inputs")
        for key in keys:
            self._there.pop(key).kept.close()


class _There:
    """The sum of an array in device memory, which `kept` gives back."""

    def __init__(self, into: F64, address: int, kept: ExitStack) -> None:
        self.into = into
        self.address = address
        self.kept = kept

    @classmethod
    def of(cls, into: F64) -> _There:
        """With what the array holds."""
        with ExitStack() as stack:
            address = stack.enter_context(allocated(into.nbytes))
            copy_to_device(DOUBLE, into, address)
            return cls(into, address, stack.pop_all())


def _add(summand: Summand, a: int, b: int, into: int) -> None:
    """Queue the addition of a summand, whose arrays are at these addresses."""
    own: Any = library()
    n_tokens, n = shape_of("a", summand.a, 2)
    m = shape_of("b", summand.b, 2)[1]
    first, count = summand.first, summand.count
    if summand.into.shape != (n, m) or len(summand.b) != n_tokens:
        raise ShapeError(
            f"sums {list(summand.into.shape)} of inputs {list(summand.a.shape)} and "
            f"{list(summand.b.shape)}"
        )
    if not 0 <= first <= first + count <= n:
        raise ShapeError(f"columns {first} to {first + count} of an array with {n}")
    status = own.lib.qkc_add_gram(
        memory(a + 4 * first),
        n,
        count,
        memory(b),
        m,
        n_tokens,
        first if summand.is_upper else 0,
        memory(into + 8 * first * m),
        own.ffi.NULL,
    )
    check_status(status, "qkc_add_gram", f"the sums of {n} and {m} inputs")
