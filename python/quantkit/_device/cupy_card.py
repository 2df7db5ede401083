"""CUDA devices by CuPy; the only module that imports it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import BackendError, DeviceMemoryError
from ..quantities import bytes_as_text
from ..types import QuantType
from .codes import Codes, matmul, pack_activations
from .cublas import Cublas, Products
from .cupy_arrays import cupy_module, device_errors
from .rows import dequantize_rows, quantize_rows
from .support import usable_device

__all__ = ["CupyCard", "cupy_card"]

NO_MEMORY = {
    ("CUDARuntimeError", 2),
    ("CUDADriverError", 2),
    ("CUBLASError", 1),
    ("CUBLASError", 3),
}
"""What CUDA says if memory is short for what it needs beside arrays: code of kernels,
handles.  cuBLAS says that it is not initialized, or that it could allocate nothing."""


@cache
def cupy_card(number: int) -> CupyCard:
    """The CUDA device with this number.

    Raises:
        BackendError: it cannot be used, or CuPy is missing.
    """
    return CupyCard(number)


class CupyCard:
    """A CUDA device; see `Card`.

    Args:
        number: of the device.
    """

    def __init__(self, number: int) -> None:
        about = usable_device(number)
        self.name, self.memory = about.name, about.memory
        self.kind = f"{about.model} {about.capability}"
        self._turn = threading.RLock()
        self._cupy, cublas = _imported()
        self._device = self._cupy.cuda.Device(number)
        with device_errors("a model"), self._memory_told(), self._device:
            self._stream = self._cupy.cuda.Stream(non_blocking=True)
            self._copies = self._cupy.cuda.Stream(non_blocking=True)
            with self._stream:
                constants = self._cupy.asarray(np.array([0, 1], np.float32))
                self._cublas = Cublas(cublas, constants)
        versions = f"CuPy {self._cupy.__version__}, cuBLAS {self._cublas.version}"
        self.libraries = versions

    @contextmanager
    def current(self) -> Iterator[None]:
        """See `Card.current`."""
        with self._turn, self._on(self._stream):
            yield

    @contextmanager
    def copying(self) -> Iterator[None]:
        """See `Card.copying`."""
        with self._on(self._copies):
            yield

    def to_device(self, array: NDArray[Any]) -> Any:
        """See `Card.to_device`."""
        made = self.empty(array.shape, array.dtype)
        made.set(array)
        return made

    def to_host(self, array: Any) -> NDArray[Any]:
        """See `Card.to_host`."""
        there: NDArray[Any] = array.get()
        return there

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        """See `Card.empty`."""
        return self._cupy.empty(shape, dtype)

    def free_bytes(self) -> int:
        """See `Card.free_bytes`."""
        with self.current():
            free, _ = self._cupy.cuda.runtime.memGetInfo()
            pool = self._cupy.get_default_memory_pool()
            room = int(free) + int(pool.free_bytes())
            limit = int(pool.get_limit())  # CUPY_GPU_MEMORY_LIMIT; 0: none
            return min(room, max(limit - int(pool.used_bytes()), 0)) if limit else room

    def dequantize(
        self, data: Any, type: QuantType, n_cols: int, dtype: np.dtype[Any]
    ) -> Any:
        """See `Card.dequantize`."""
        out = self.empty((len(data), n_cols), dtype)
        dequantize_rows(data, type, out)
        return out

    def quantize(
        self, rows: Any, type: QuantType, importance: NDArray[np.float32] | None
    ) -> Any:
        """See `Card.quantize`."""
        n_rows, n_cols = rows.shape
        out = self.empty((n_rows, type.row_bytes(n_cols)), np.uint8)
        weights = None if importance is None else self.to_device(importance)
        quantize_rows(rows, type, weights, out)
        return out

    def multiply(
        self, x: Any, w: Any, out: Any, products: Products, factor: Any | None
    ) -> None:
        """See `Card.multiply`."""
        self._cublas.multiply(x, w, out, products, factor)

    def packed(self, x: Any, packing: int) -> Codes:
        """See `Card.packed`."""
        return pack_activations(x, packing)

    def multiply_codes(self, x: Codes, w: Any, type: QuantType, out: Any) -> None:
        """See `Card.multiply_codes`."""
        matmul(x, w, type, out)

    def pinned(self, n_bytes: int) -> NDArray[np.uint8]:
        """See `Card.pinned`."""
        with self._device:
            memory = self._cupy.cuda.alloc_pinned_memory(n_bytes)
        return np.frombuffer(memory, np.uint8, n_bytes)

    def copy(self, into: Any, data: NDArray[np.uint8]) -> None:
        """See `Card.copy`."""
        into.data.copy_from_host_async(data.ctypes.data, data.nbytes)

    def event(self) -> CupyEvent:
        """See `Card.event`."""
        return CupyEvent(self._cupy)

    @contextmanager
    def _on(self, stream: Any) -> Iterator[None]:
        with device_errors("a model"), self._memory_told(), self._device, stream:
            yield

    @contextmanager
    def _memory_told(self) -> Iterator[None]:
        """Convert errors about memory: CuPy's, and those of CUDA and cuBLAS by CuPy."""
        pool = self._cupy.get_default_memory_pool()
        try:
            yield
        except self._cupy.cuda.memory.OutOfMemoryError as error:
            needed = bytes_as_text(int(error._size))
            raise self._too_small(f"{needed} more were needed") from error
        except RuntimeError as error:
            status = getattr(error, "status", None)
            if (type(error).__name__, status) not in NO_MEMORY:
                raise
            pool.free_all_blocks()  # CUDA may have them the next time
            raise self._too_small(f"CUDA needed more for itself ({error})") from error

    def _too_small(self, why: str) -> DeviceMemoryError:
        held = self._cupy.get_default_memory_pool().total_bytes()
        return DeviceMemoryError(
            f"{self.name} ({self.kind}) has {bytes_as_text(self.memory)} of "
            f"memory, of which quantkit holds {bytes_as_text(int(held))}, and {why}: "
            "give shorter sequences (`ctx`), fewer weights at a time (`memory`), or "
            "a device with more memory"
        )


class CupyEvent:
    """See `Event`."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._event = cupy.cuda.Event(disable_timing=True)
        self._event.record()

    def block(self) -> None:
        """See `Event.block`."""
        self._cupy.cuda.get_current_stream().wait_event(self._event)

    def wait(self) -> None:
        """See `Event.wait`."""
        self._event.synchronize()


def _imported() -> tuple[Any, Any]:
    """CuPy, and its module of cuBLAS.

    Raises:
        BackendError: one of them is missing.
    """
    cupy = cupy_module("a model on a CUDA device")
    try:
        from cupy_backends.cuda.libs import cublas
    except ImportError as error:
        raise BackendError(
            "a model on a CUDA device needs cuBLAS: pip install 'quantkit[cuda13]', or "
            f"'quantkit[cuda12]' for a driver of CUDA 12 ({error})"
        ) from error
    return cupy, cublas
