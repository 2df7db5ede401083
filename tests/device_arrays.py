"""Arrays in device memory for tests: of a host build of the CUDA library, or of a GPU.

`kind` is a fixture with each library of arrays.  Those that need no GPU are in host
memory, and the library is the host build of the very same kernels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit import _device

from . import fake_torch
from .strict_arrays import StrictArray, strict

__all__ = ["GPU", "KINDS", "ON_A_GPU", "Kind", "gpu_arrays", "kind", "needs_gpu"]

GPU = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]
"""Marks of tests on a GPU; the warnings of other libraries do not fail them."""


@dataclass(frozen=True)
class Kind:
    """A library of arrays.

    Attributes:
        name: of the library.
        array: its class.
        there: makes an array on the device, of one in main memory.
        here: copies it to main memory.
    """

    name: str
    array: type
    there: Callable[[np.ndarray], Any]
    here: Callable[[Any], np.ndarray]


ON_A_GPU = ("cupy", "torch")
KINDS = ["strict", "fake torch", *(pytest.param(name, marks=GPU) for name in ON_A_GPU)]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Kind:
    """Each library of arrays; those of a GPU are skipped where there is none."""
    if request.param in ON_A_GPU:
        return gpu_arrays(request.param)
    library: Path = request.getfixturevalue("host_library")
    monkeypatch.setenv(_device.LIBRARY_VARIABLE, str(library))
    if request.param == "strict":
        return Kind("strict", StrictArray, strict, StrictArray.get)
    fake_torch.install(monkeypatch)
    return Kind(
        *("torch", fake_torch.Tensor, fake_torch.tensor),
        lambda tensor: np.asarray(tensor.cpu().numpy()),
    )


def needs_gpu() -> None:
    """Skip the test without a GPU, also where the library runs on the processor."""
    problem = _device.cuda_support().problem
    if problem is None and _device.library().lib.qkc_is_host_build():
        problem = "the CUDA library is a host build"
    if problem is not None:
        pytest.skip(f"needs a CUDA device: {problem}")


def imported(name: str) -> Any:
    """A library of arrays; the test is skipped where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the machine lacks for other uses
        return pytest.importorskip(name, reason=f"needs {name}")


def gpu_arrays(name: str) -> Kind:
    """The arrays of a library on a GPU; without either, the test is skipped."""
    needs_gpu()
    module = imported(name)
    if name == "cupy":
        return Kind(name, module.ndarray, module.asarray, module.asnumpy)
    return Kind(
        *(name, module.Tensor, lambda array: module.from_numpy(array.copy()).cuda()),
        lambda tensor: np.asarray(tensor.cpu().numpy()),
    )
