"""Arrays of other libraries on a device, and the streams and devices of their work."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import quantkit as qk
from quantkit import _device

from . import fake_torch
from .host_library import host_library as host_library
from .strategies import row
from .strict_arrays import StrictArray, strict

X = np.stack([row("heavy_tail", 256, seed) for seed in range(3)])
EXPECTED = qk.quantize(X, "Q4_K")
UNKNOWN = 0xBAD00
"""A stream that does not exist: work that is queued there fails."""


@pytest.fixture(autouse=True)
def host(host_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host build is the CUDA library, of a machine with two devices."""
    monkeypatch.setenv(_device.LIBRARY_VARIABLE, str(host_library))
    monkeypatch.setenv("QKC_HOST_DEVICES", "2")


class Block:
    """A device as CuPy has it: current in a block."""

    id = 1

    def __enter__(self) -> None:
        """Nothing; the host build has its own."""

    def __exit__(self, *_: object) -> None:
        """Likewise."""


class Jax:
    """An array as JAX has them, in the memory of the second device."""

    def __init__(self, array: StrictArray) -> None:
        self.array = array
        self.shape, self.dtype = array.shape, array.dtype

    def astype(self, dtype: Any) -> Jax:
        return Jax(self.array.astype(dtype))

    def __dlpack__(self, **_: Any) -> None:
        raise AssertionError("only CuPy takes it")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 1


class Plain:
    """An array of a library that has nothing but the interface."""

    def __init__(self, array: StrictArray) -> None:
        self.array = array
        self.__cuda_array_interface__ = array.__cuda_array_interface__


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As much of CuPy as is needed, on the second device, and JAX beside it."""
    module: Any = ModuleType("cupy")
    module.ndarray, module.stream = StrictArray, fake_torch.STREAM
    module.asarray = module.from_dlpack = lambda values: values.array
    module.cuda = SimpleNamespace(
        get_current_stream=lambda device: SimpleNamespace(
            ptr=module.stream if device == 1 else UNKNOWN
        )
    )
    jax: Any = ModuleType("jax")
    jax.Array, jax.dlpack = Jax, SimpleNamespace(from_dlpack=Jax)
    monkeypatch.setattr(StrictArray, "device", Block())
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setitem(sys.modules, "jax", jax)
    return module


def current_device() -> int:
    own = _device.library()
    number = own.ffi.new("int *")
    assert own.lib.qkc_get_device(number) == 0
    return int(number[0])


def test_arrays_of_jax_come_back_as_such(cupy: Any) -> None:
    """By CuPy, in the same memory."""
    given: Any = Jax(strict(X.astype(np.float16)))
    q = qk.quantize(given, "Q4_K")
    assert isinstance(q.data, Jax)
    assert q == qk.quantize(X.astype(np.float16), "Q4_K")
    assert isinstance(qk.dequantize(q), Jax)
    with pytest.raises(qk.OptionError, match="is in the memory of cuda:1"):
        qk.quantize(given, "Q4_K", device="cuda")
    for numbers in (X > 0, X + 1j):
        wrong: Any = Jax(strict(numbers))
        with pytest.raises(qk.ShapeError, match=r"is an array of (bool|comp)"):
            qk.quantize(wrong, "Q4_K")


def test_arrays_of_others_become_those_of_cupy(cupy: Any) -> None:
    """As Numba's do."""
    given: Any = Plain(strict(X))
    q = qk.quantize(given, "Q4_K", device="cuda:1")
    assert isinstance(q.data, StrictArray)
    assert q == EXPECTED


def test_the_device_of_the_thread_stays(cupy: Any) -> None:
    """After the work on another one, and after an error there."""
    assert qk.quantize(strict(X), "Q4_K") == EXPECTED
    with pytest.raises(qk.NonFiniteError):
        qk.quantize(strict(X * np.float32(np.inf)), "Q4_K")
    assert qk.quantize(X, "Q4_K", device="cuda:1") == EXPECTED
    assert current_device() == 0


def test_the_work_is_queued_on_the_current_stream(
    cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CuPy's and PyTorch's: one that does not exist is an error of CUDA."""
    tensor = qk.quantize(strict(X), "Q4_K")
    cupy.stream = UNKNOWN
    for call in (
        lambda: _device.quantize_rows(strict(X), tensor.type, None, tensor.data),
        lambda: qk.dequantize(tensor),
        lambda: _device.synchronize(strict(X)),
    ):
        with pytest.raises(qk.BackendError, match="cudaErrorInvalidResourceHandle"):
            call()
    monkeypatch.setattr(fake_torch, "STREAM", UNKNOWN)
    fake_torch.install(monkeypatch)
    with pytest.raises(qk.BackendError, match="cudaErrorInvalidResourceHandle"):
        qk.quantize(fake_torch.tensor(X), "Q4_K")


class Produced(StrictArray):
    """An array that becomes ready on a stream of its own."""

    stream: int | None = None

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**super().__cuda_array_interface__, "stream": self.stream}


def test_the_stream_of_the_array_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the interface names another one than that of the work."""
    given: Any = Produced(X.copy())
    for stream in (None, 1, 2):
        monkeypatch.setattr(Produced, "stream", stream)
        assert qk.quantize(given, "Q4_K") == EXPECTED
    monkeypatch.setattr(Produced, "stream", UNKNOWN)
    with pytest.raises(qk.BackendError, match=r"stream 0xbad00.: cudaErrorInvalidRes"):
        qk.quantize(given, "Q4_K")


class OutOfMemoryError(MemoryError):
    """As CuPy calls it."""


class AcceleratorError(RuntimeError):
    """As PyTorch calls what CUDA failed at."""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OutOfMemoryError("9 bytes"), "too little free memory for .*: 9 bytes; free s"),
        (
            AcceleratorError("CUDA error: x\nat"),
            "the device failed at .*: CUDA error: x",
        ),
    ],
)
@pytest.mark.parametrize("where", ["astype", "max"])
def test_errors_of_libraries_are_named(
    monkeypatch: pytest.MonkeyPatch, where: str, error: Exception, message: str
) -> None:
    """While an array is taken, and at the end."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(StrictArray, where, fail, raising=False)
    with pytest.raises(qk.BackendError, match=message):
        qk.quantize(strict(X), "Q4_K")
