"""PyTorch as far as quantkit uses it on a device, with tensors in host memory.

A tensor on the device refuses what PyTorch's refuses: to become a NumPy array, and to
show its memory while it records gradients.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

__all__ = ["STREAM", "Tensor", "install", "tensor"]

STREAM = 2
"""The current stream: CUDA's default one of each thread."""


class Dtype:
    """A dtype of PyTorch's, which is none of NumPy's."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"


DTYPES = {
    name: Dtype(name)
    for name in ("float32", "float64", "float16", "uint8", "int64", "bool", "complex64")
}


class Tensor:
    """A tensor on the device, or in main memory after `cpu`."""

    def __init__(self, memory: np.ndarray, index: int | None, grad: bool = False):
        self.memory, self.index, self.requires_grad = memory, index, grad

    @property
    def is_cuda(self) -> bool:
        return self.index is not None

    @property
    def device(self) -> Any:
        return SimpleNamespace(index=self.index)

    @property
    def dtype(self) -> Dtype:
        return DTYPES[self.memory.dtype.name]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.memory.shape

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if not self.is_cuda:
            raise AttributeError("Can't get it on a tensor that is not on CUDA")
        if self.requires_grad:
            raise RuntimeError("Can't get it on a Variable that requires grad")
        whole = self.memory.flags.c_contiguous
        return {
            "shape": self.shape,
            "typestr": self.memory.dtype.str,
            "data": (self.memory.ctypes.data if self.memory.size else 0, False),
            "strides": None if whole else self.memory.strides,
            "version": 2,
        }

    def is_floating_point(self) -> bool:
        return self.memory.dtype.kind == "f"

    def is_complex(self) -> bool:
        return self.memory.dtype.kind == "c"

    def detach(self) -> Tensor:
        return Tensor(self.memory, self.index)

    def resolve_neg(self) -> Tensor:
        return self

    def to(self, what: Any) -> Tensor:
        """To a dtype, or to a device."""
        if isinstance(what, Dtype):
            return Tensor(self.memory.astype(what.name, copy=False), self.index)
        return Tensor(self.memory.copy(), what.index)

    def contiguous(self) -> Tensor:
        whole = np.ascontiguousarray(self.memory).reshape(self.shape)
        return Tensor(whole, self.index)

    def reshape(self, *shape: Any) -> Tensor:
        return Tensor(self.memory.reshape(*shape), self.index)

    def max(self) -> Tensor:
        return Tensor(np.asarray(self.memory.max()), self.index)

    def min(self) -> Tensor:
        return Tensor(np.asarray(self.memory.min()), self.index)

    def cpu(self) -> Tensor:
        return Tensor(self.memory.copy(), None)

    def numpy(self) -> np.ndarray:
        if self.is_cuda:
            raise TypeError("can't convert a tensor on the device to numpy")
        return self.memory

    def __getitem__(self, index: Any) -> Tensor:
        return Tensor(self.memory[index], self.index)

    def __float__(self) -> float:
        return float(self.memory)

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        return self.numpy()


def empty(shape: tuple[int, ...], *, dtype: Dtype, device: Any) -> Tensor:
    """Uninitialized, on a device."""
    return Tensor(np.full(shape, 0xA5, dtype.name), device.index)


def from_numpy(array: np.ndarray) -> Tensor:
    """In the same memory, so PyTorch warns of an array that is read-only."""
    assert array.flags.writeable
    return Tensor(array, None)


@contextmanager
def current(device: Any) -> Iterator[None]:
    assert device.index is not None
    yield


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it the module `torch`, as if the user had imported it."""
    module: Any = ModuleType("torch")
    module.Tensor, module.empty, module.from_numpy = Tensor, empty, from_numpy
    for name, dtype in DTYPES.items():
        setattr(module, name, dtype)
    stream = SimpleNamespace(cuda_stream=STREAM)
    module.cuda = SimpleNamespace(current_stream=lambda device: stream, device=current)
    monkeypatch.setitem(sys.modules, "torch", module)


def tensor(array: Any, index: int | None = 0, grad: bool = False) -> Tensor:
    """A tensor on a device: a copy of an array; None: in main memory."""
    return Tensor(np.array(array), index, grad)
