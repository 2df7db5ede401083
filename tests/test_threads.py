"""The bytes depend neither on threads nor on the caller's floating-point mode."""

from __future__ import annotations

import ctypes
import ctypes.util
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pytest

from quantkit._native import Backend
from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.execution.workers import Threads
from quantkit.gguf.source import SourceTensor
from quantkit.quantizing.slabs import Slab, slabs_of
from quantkit.types import QuantType

from .conftest import needed_importance

MXCSR_FTZ_DAZ = 0x8040
Result = TypeVar("Result")


def test_rows_quantize_alone_as_together(
    backend: Backend, block_type: QuantType, weighted: bool
) -> None:
    """A row's bytes do not depend on the rows around it."""
    x = np.random.default_rng(3).standard_normal((19, 512), np.float32)
    importance = np.linspace(0, 2, 512, dtype=np.float32) if weighted else None
    together = quantize_rows(x, block_type, importance, backend=backend.name)
    for row, expected in zip(x, together, strict=True):
        alone = quantize_rows(row[None], block_type, importance, backend=backend.name)
        assert (alone[0] == expected).all()


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_slabs_give_the_same_bytes_for_any_threads(threads: int) -> None:
    """Slabs come back in order and complete, whoever converted them."""
    x = np.random.default_rng(4).standard_normal((1200, 2048), np.float32)
    tensor = SourceTensor(
        "blk.0.w", x.shape, QuantType.F32, lambda a, b: x[a:b].view(np.uint8)
    )
    slabs = list(slabs_of(tensor, QuantType.Q4_K))
    assert len(slabs) > 2
    parts = [data for _, data in Threads(threads).in_order(Slab.convert, slabs)]
    assert (np.concatenate(parts) == quantize_rows(x, QuantType.Q4_K)).all()


@pytest.fixture
def flush_to_zero() -> Iterator[None]:
    """FTZ and DAZ set in this thread, as other libraries may leave them."""
    if platform.machine() not in {"x86_64", "AMD64"} or platform.system() != "Linux":
        pytest.skip("setting FTZ and DAZ is written for Linux on x86-64")
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    env = (ctypes.c_uint8 * 32)()  # fenv_t: MXCSR in its last four bytes
    libm.fegetenv(env)
    saved = bytes(env)
    mxcsr = int.from_bytes(saved[28:], "little") | MXCSR_FTZ_DAZ
    env[28:] = list(mxcsr.to_bytes(4, "little"))
    libm.fesetenv(env)
    yield
    libm.fesetenv((ctypes.c_uint8 * 32)(*saved))


@pytest.mark.usefixtures("flush_to_zero")
def test_flush_to_zero_of_the_caller_changes_nothing(
    backend: Backend, block_type: QuantType
) -> None:
    """Subnormal weights quantize the same in a thread that flushes them."""
    tiny = np.float32(1e-39)
    assert tiny * np.float32(0.5) == 0, "the fixture did not take effect"
    bits = np.random.default_rng(5).integers(0, 1 << 23, (8, 512)).astype(np.int32)
    x = bits.view(np.float32)

    def work() -> tuple[np.ndarray, np.ndarray]:
        importance = needed_importance(block_type, 512)
        data = quantize_rows(x, block_type, importance, backend=backend.name)
        return data, dequantize_rows(data, block_type, 512, backend=backend.name)

    flushed = work()
    with ThreadPoolExecutor(1) as clean_thread:
        clean = clean_thread.submit(clean_environment(work)).result()
    assert (flushed[0] == clean[0]).all()
    assert (flushed[1].view(np.int32) == clean[1].view(np.int32)).all()


def clean_environment(work: Callable[[], Result]) -> Callable[[], Result]:
    """`work` under the default floating-point environment."""

    def run() -> Result:
        ctypes.CDLL(ctypes.util.find_library("m")).fesetenv(ctypes.c_void_p(-1))
        return work()

    return run
