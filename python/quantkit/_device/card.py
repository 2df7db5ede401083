"""What the forward pass needs of a device: arrays, products, and moving bytes there.

Arrays are of a library that takes part in NumPy's dispatch, on CUDA devices CuPy.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..types import QuantType
from .codes import Codes
from .cublas import Products

__all__ = ["Card", "Event"]

Array = Any
"""An array on the device."""


class Event(Protocol):
    """A point in the work that was queued on a stream."""

    def block(self) -> None:
        """Let the current stream go on only after it."""

    def wait(self) -> None:
        """Let this thread go on only after it."""


class Card(Protocol):
    """A device with its arrays.

    Work is queued on one stream, and threads take turns, so that it runs in the order
    of the calls.

    Attributes:
        name: such as "cuda:0".
        kind: what results depend on: the model of the device.
        libraries: and these, with their versions.
        memory: bytes of its memory.
    """

    name: str
    kind: str
    libraries: str
    memory: int

    def current(self) -> AbstractContextManager[object]:
        """Makes the device and its stream those of this thread; others wait.

        Raises:
            BackendError: in the block, CUDA failed.
            DeviceMemoryError: in the block, there was not enough memory.
        """

    def to_device(self, array: NDArray[Any]) -> Array:
        """A copy on the device."""

    def to_host(self, array: Array) -> NDArray[Any]:
        """A copy in the host's memory; waits for all work before."""

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """A new array on the device."""

    def free_bytes(self) -> int:
        """Bytes of memory that arrays can still take."""

    def dequantize(
        self, data: Array, type: QuantType, n_cols: int, dtype: np.dtype[Any]
    ) -> Array:
        """Rows uint8 [rows, row bytes] as f32 or f16 [rows, n_cols]."""

    def quantize(
        self, rows: Array, type: QuantType, importance: NDArray[np.float32] | None
    ) -> Array:
        """Rows f32 [rows, cols], all finite, as uint8 [rows, row bytes].

        The bytes are those of the CPU.
        """

    def multiply(
        self, x: Array, w: Array, out: Array, products: Products, factor: Array | None
    ) -> None:
        """See `Cublas.multiply`."""

    def packed(self, x: Array, packing: int) -> Codes:
        """See `pack_activations`."""

    def multiply_codes(self, x: Codes, w: Array, type: QuantType, out: Array) -> None:
        """See `matmul`."""

    def pinned(self, n_bytes: int) -> NDArray[np.uint8]:
        """Host memory from which the device can copy while the host goes on."""

    def copying(self) -> AbstractContextManager[object]:
        """Makes the device's second stream that of this thread."""

    def copy(self, into: Array, data: NDArray[np.uint8]) -> None:
        """Queue a copy of pinned memory on the current stream: both uint8 [n]."""

    def event(self) -> Event:
        """What was queued on the current stream until now."""
