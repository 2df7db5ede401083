"""Sums over tokens on a CUDA device: the processor's bits, wherever the sums are.

The host build of the library runs the kernels, and a GPU where there is one (`-m gpu`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantkit import _device
from quantkit._device import DeviceSums
from quantkit.calibrating.sums import Product, Rows, Sums, add_rows
from quantkit.errors import ShapeError
from quantkit.execution.workers import Threads

from .cuda_rows import Cuda
from .cuda_rows import cuda as cuda
from .host_library import host_library as host_library

ONE = Threads(1)
TOKENS, COLS, WIDTH = 300, 290, 70
"""More than a run of tokens, a piece of rows, and a tile; none of them whole."""


@pytest.fixture(autouse=True)
def library(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that `cuda` is of is the one that is used."""
    monkeypatch.setenv(_device.LIBRARY_VARIABLE, str(cuda.path))


def inputs(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.standard_normal(n))
    return (rng.standard_normal((TOKENS, n)) * scale).astype(np.float32)


def batches() -> list[Rows]:
    """Inputs with all that sums may have, and fewer tokens at the end."""
    seen, exact, lag = inputs(COLS, 1), inputs(COLS, 2), inputs(WIDTH, 3)
    return [Rows(seen, exact, lag), Rows(exact, seen, lag), Rows(lag[:3], lag[:3])]


def summed(device: DeviceSums | None) -> list[np.ndarray]:
    """Of two batches of one site, and one of another."""
    sums = [Sums(COLS), Sums(COLS), Sums(WIDTH)]
    sums[1] = sums[0]
    for each, rows in zip(sums, batches(), strict=True):
        add_rows([(each, rows)], ONE, device)
    if device is not None:
        device.finish()
    assert [each.n_tokens for each in sums] == [2 * TOKENS, 2 * TOKENS, 3]
    arrays = [sums[0].squares, sums[0].cross, sums[0].lag, sums[2].squares]
    return [array for array in arrays if array is not None]


def same(found: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    pairs = zip(found, expected, strict=True)
    return all(one.tobytes() == other.tobytes() for one, other in pairs)


def free_bytes(cuda: Cuda) -> int:
    found = cuda.ffi.new("size_t *")
    cuda.check(cuda.lib.qkc_free_bytes(found))
    return int(found[0])


def test_sums_have_the_bits_of_the_processor(cuda: Cuda) -> None:
    """All of a site's, over several batches."""
    before = free_bytes(cuda)
    with DeviceSums(0) as device:
        found = summed(device)
    assert len(found) == 4
    assert same(found, summed(None))
    assert free_bytes(cuda) == before


@pytest.mark.parametrize("memory", [1000, 2_000_000, 4_000_000])
def test_sums_that_do_not_fit_are_in_main_memory(
    host_library: Path, cuda: Cuda, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    """All, or some, or only later; the bits are the same."""
    monkeypatch.setenv("QKC_HOST_MEMORY", str(memory))
    with DeviceSums(0) as device:
        assert same(summed(device), summed(None))


def test_memory_is_given_back_after_an_error(cuda: Cuda) -> None:
    """What was summed is lost with it."""
    before = free_bytes(cuda)
    seen, into = inputs(COLS, 1), np.zeros((COLS, COLS))
    wrong = [
        Product(seen, seen[1:].copy(), into, 0, True),
        Product(seen, seen, into, COLS + 1, True),
        Product(seen, seen, into[1:], 0, True),
        Product(seen.astype(np.float64), seen, into, 0, True),
        Product(seen[:, ::2], seen, into, 0, True),
    ]
    for each in wrong:
        with pytest.raises(ShapeError), DeviceSums(0) as device:
            device.add([each])
    assert free_bytes(cuda) == before
    assert not into.any()


def test_calls_that_are_refused(cuda: Cuda) -> None:
    """Before anything is touched."""

    def add(**given: int) -> str:
        usual = {"a": 1 << 24, "stride": 8, "rows": 8, "b": 2 << 24, "n_b": 8}
        g = {**usual, "tokens": 5, "first": 0, "sums": 3 << 24, **given}
        status = cuda.lib.qkc_add_gram(
            *(cuda.ffi.cast("float *", g["a"]), g["stride"], g["rows"]),
            *(cuda.ffi.cast("float *", g["b"]), g["n_b"], g["tokens"], g["first"]),
            *(cuda.ffi.cast("double *", g["sums"]), cuda.ffi.NULL),
        )
        return cuda.name_of(status)

    assert add(rows=9) == "QKC_BAD_SHAPE"
    assert add(first=9) == "QKC_BAD_SHAPE"
    assert add(tokens=2**62) == "QKC_BAD_SHAPE"
    for name in ("a", "b", "sums"):
        assert add(**{name: 0}) == "QKC_BAD_ARRAY"
        assert add(**{name: 4 << 24 | 2}) == "QKC_BAD_ARRAY"
    assert add(sums=1 << 24) == "QKC_BAD_ARRAY"
    assert add(rows=0) == "QKC_OK"
