"""The libraries whose arrays may be in device memory: how each makes one.

PyTorch's tensors are handled by PyTorch.  CuPy's arrays, and others that take part in
NumPy's dispatch (`like=`), by NumPy's functions.  No library is imported here.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Owner", "owner_of"]


class Owner(Protocol):
    """What this room needs of a library of arrays."""

    def device(self, array: Any) -> int | None:
        """The number of the array's device; None: the current one."""

    def current(self, array: Any) -> AbstractContextManager[Any]:
        """A block in which the array's device is the library's current one."""

    def stream(self, array: Any) -> int:
        """The stream on which the library queues work for the array; 0: the default."""

    def empty(self, like: Any, shape: tuple[int, ...], dtype: str) -> Any:
        """A new array on the device of another."""

    def copied(self, like: Any, array: NDArray[Any]) -> Any:
        """An array in main memory, copied to the device of another."""

    def on_host(self, array: Any) -> NDArray[Any]:
        """An array copied to main memory."""


class Torch:
    """PyTorch."""

    def device(self, array: Any) -> int | None:
        """See `Owner.device`."""
        return int(array.device.index)

    def current(self, array: Any) -> AbstractContextManager[Any]:
        """See `Owner.current`."""
        block: AbstractContextManager[Any] = _torch().cuda.device(array.device)
        return block

    def stream(self, array: Any) -> int:
        """See `Owner.stream`."""
        return int(_torch().cuda.current_stream(array.device).cuda_stream)

    def empty(self, like: Any, shape: tuple[int, ...], dtype: str) -> Any:
        """See `Owner.empty`."""
        torch = _torch()
        return torch.empty(shape, dtype=getattr(torch, dtype), device=like.device)

    def copied(self, like: Any, array: NDArray[Any]) -> Any:
        """See `Owner.copied`."""
        # It warns of arrays that are read-only.
        return _torch().from_numpy(array.copy()).to(like.device)

    def on_host(self, array: Any) -> NDArray[Any]:
        """See `Owner.on_host`."""
        there: NDArray[Any] = array.detach().cpu().numpy()
        return there


class Dispatched:
    """CuPy, and libraries whose arrays act as NumPy's do."""

    def device(self, array: Any) -> int | None:
        """See `Owner.device`."""
        number = getattr(getattr(array, "device", None), "id", None)
        return None if number is None else int(number)

    def current(self, array: Any) -> AbstractContextManager[Any]:
        """See `Owner.current`."""
        return array.device if _is_cupy(array) else nullcontext()

    def stream(self, array: Any) -> int:
        """See `Owner.stream`."""
        if not _is_cupy(array):
            return 0
        current = sys.modules["cupy"].cuda.get_current_stream(array.device.id)
        return int(current.ptr)

    def empty(self, like: Any, shape: tuple[int, ...], dtype: str) -> Any:
        """See `Owner.empty`."""
        return np.empty_like(like, dtype, order="C", shape=shape)

    def copied(self, like: Any, array: NDArray[Any]) -> Any:
        """See `Owner.copied`."""
        return np.asarray(array, like=like)

    def on_host(self, array: Any) -> NDArray[Any]:
        """See `Owner.on_host`."""
        there: NDArray[Any] = array.get()
        return there


TORCH, DISPATCHED = Torch(), Dispatched()


def owner_of(array: object) -> Owner:
    """The library of an array."""
    torch = sys.modules.get("torch")
    is_tensor = torch is not None and isinstance(array, torch.Tensor)
    return TORCH if is_tensor else DISPATCHED


def _is_cupy(array: object) -> bool:
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(array, cupy.ndarray)


def _torch() -> Any:
    return sys.modules["torch"]
