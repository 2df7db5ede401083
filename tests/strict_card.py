"""A device in the host's memory, for models that run on it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from quantkit import _device, _native
from quantkit._device import Codes, Products
from quantkit.errors import DeviceMemoryError
from quantkit.types import QuantType

from . import strict_models
from .strict_arrays import StrictArray, strict

__all__ = ["LibraryCard", "StrictCard", "rounded_to_tf32"]

strict_models.StrictWeights  # noqa: B018 - it gives the arrays an engine

UNKNOWN = 0xFF
"""What new memory is full of: NaN in f32 and f16."""


class StrictCard:
    """A device whose arrays are `StrictArray`s; see `Card`.

    Copies of the second stream happen when the first one, or the host, waits for them.

    Args:
        name: the name of the device.
        free: bytes that are said to be free.
        most_rows: rows of activations that there is memory for.

    Attributes:
        quantized: the types that were quantized to.
        n_copied: bytes that the second stream copied.
        products: the shapes of products.
    """

    kind = "device of the host"
    libraries = "NumPy"
    memory = 1 << 40

    def __init__(
        self, name: str = "cuda:0", free: int = 1 << 40, most_rows: int = 1 << 40
    ) -> None:
        self.name, self.free, self.most_rows = name, free, most_rows
        self.quantized: list[QuantType] = []
        self.n_copied = 0
        self.products: list[tuple[int, int, int]] = []
        self._queued: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self._turn = threading.RLock()
        self._lock, self._local = threading.Lock(), threading.local()

    @contextmanager
    def current(self) -> Iterator[None]:
        """See `Card.current`."""
        with self._turn:
            yield

    @contextmanager
    def copying(self) -> Iterator[None]:
        """See `Card.copying`."""
        self._local.is_copying = True
        yield
        self._local.is_copying = False

    def to_device(self, array: NDArray[Any]) -> Any:
        """See `Card.to_device`."""
        return strict(array)

    def to_host(self, array: Any) -> NDArray[Any]:
        """See `Card.to_host`."""
        assert isinstance(array, StrictArray)
        return array.memory.copy()

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        """See `Card.empty`."""
        made = np.empty(shape, dtype)
        made.view(np.uint8)[...] = UNKNOWN
        return StrictArray(made)

    def free_bytes(self) -> int:
        """See `Card.free_bytes`."""
        return self.free

    def dequantize(
        self, data: Any, type: QuantType, n_cols: int, dtype: np.dtype[Any]
    ) -> Any:
        """See `Card.dequantize`."""
        made = np.empty((len(data), n_cols), np.float32)
        backend = _native.active_backend()
        _native.dequantize_rows(data.memory, type, made, backend)
        return StrictArray(made.astype(dtype))

    def quantize(
        self, rows: Any, type: QuantType, importance: NDArray[np.float32] | None
    ) -> Any:
        """See `Card.quantize`."""
        self.quantized.append(type)
        n_rows, n_cols = rows.shape
        made = np.empty((n_rows, type.row_bytes(n_cols)), np.uint8)
        backend = _native.active_backend()
        _native.quantize_rows(rows.memory, type, importance, made, backend)
        return StrictArray(made)

    def multiply(
        self, x: Any, w: Any, out: Any, products: Products, factor: Any | None
    ) -> None:
        """See `Card.multiply`; with the sums of the CPU's f32 products."""
        if len(x) > self.most_rows:
            raise DeviceMemoryError(f"{self.name} has no room for {len(x)} rows")
        self.products.append((*x.shape, len(w)))
        left, right = (side.memory for side in (x, w))
        assert left.dtype == right.dtype == products.dtype
        if products is Products.TF32:
            left, right = rounded_to_tf32(left), rounded_to_tf32(right)
        left, right = (side.astype(np.float32, copy=False) for side in (left, right))
        packing = _native.packing_for(QuantType.F32, _native.Precision.F32)
        backend = _native.active_backend()
        packed = _native.pack_activations(left, packing, backend)
        weights = np.ascontiguousarray(right).view(np.uint8)
        _native.matmul(packed, weights, QuantType.F32, out.memory)
        if factor is not None:
            out.memory[...] *= factor.memory

    def packed(self, x: Any, packing: int) -> Codes:
        """See `Card.packed`; packed for the CPU."""
        made = _native.pack_activations(x.memory, packing, _native.active_backend())
        return Codes(StrictArray(made.data), made.shape, packing)

    def multiply_codes(self, x: Codes, w: Any, type: QuantType, out: Any) -> None:
        """See `Card.multiply_codes`; with the sums of the CPU."""
        self.products.append((*x.shape, len(w)))
        backend = _native.active_backend()
        packed = _native.Packed(x.data.memory, x.shape, x.packing, backend)
        _native.matmul(packed, w.memory, type, out.memory)

    def pinned(self, n_bytes: int) -> NDArray[np.uint8]:
        """See `Card.pinned`."""
        return np.empty(n_bytes, np.uint8)

    def copy(self, into: Any, data: NDArray[np.uint8]) -> None:
        """See `Card.copy`."""
        assert self._local.is_copying
        with self._lock:
            self._queued.append((into.memory, data))
            self.n_copied += data.nbytes

    def event(self) -> StrictEvent:
        """See `Card.event`."""
        return StrictEvent(self)

    def finish_copies(self) -> None:
        """Do what the second stream has queued."""
        with self._lock:
            for into, data in self._queued:
                into[...] = data
            self._queued.clear()


class LibraryCard(StrictCard):
    """The same with the CUDA library's host build for what the library does."""

    kind = "device of the host build"

    def dequantize(
        self, data: Any, type: QuantType, n_cols: int, dtype: np.dtype[Any]
    ) -> Any:
        """See `Card.dequantize`."""
        made = self.empty((len(data), n_cols), dtype)
        _device.dequantize_rows(data, type, made)
        return made

    def quantize(
        self, rows: Any, type: QuantType, importance: NDArray[np.float32] | None
    ) -> Any:
        """See `Card.quantize`."""
        self.quantized.append(type)
        n_rows, n_cols = rows.shape
        made = self.empty((n_rows, type.row_bytes(n_cols)), np.uint8)
        weights = None if importance is None else strict(importance)
        _device.quantize_rows(rows, type, weights, made)
        return made

    def packed(self, x: Any, packing: int) -> Codes:
        """See `Card.packed`."""
        return _device.pack_activations(x, packing)

    def multiply_codes(self, x: Codes, w: Any, type: QuantType, out: Any) -> None:
        """See `Card.multiply_codes`."""
        self.products.append((*x.shape, len(w)))
        _device.matmul(x, w, type, out)


class StrictEvent:
    """See `Event`."""

    def __init__(self, card: StrictCard) -> None:
        self.block = self.wait = card.finish_copies


def rounded_to_tf32(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """f32 numbers with 10 bits of mantissa, the others cut off: the worst there is."""
    return (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
