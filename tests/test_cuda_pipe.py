"""Rows of main memory through a CUDA device, slab by slab."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.types import QuantType

from .conftest import bits
from .cuda_rows import Cuda
from .cuda_rows import cuda as cuda
from .cuda_rows import host_library as host_library
from .strategies import adversarial_rows

X = adversarial_rows(29, 512, seed=3)
IMPORTANCE = np.geomspace(0.01, 10, 512).astype(np.float32)
ROW = 512 * 4
SLABS = (0, 1, 6 * ROW, 40 * ROW)
"""Most bytes: as many as there are, a row at a time, a few rows, half of the rows."""
TYPE = QuantType.Q4_0


@contextmanager
def pipe(cuda: Cuda, slab_bytes: int = 0) -> Iterator[Any]:
    made = cuda.ffi.new("qkc_pipe **")
    cuda.check(cuda.lib.qkc_pipe_open(slab_bytes, made))
    yield made[0]
    cuda.check(cuda.lib.qkc_pipe_close(made[0]))


def quantize(
    cuda: Cuda,
    through: Any,
    x: np.ndarray,
    importance: np.ndarray | None = IMPORTANCE,
    type: QuantType = TYPE,
) -> tuple[str, int, np.ndarray]:
    """The status, the index of what is bad, and the bytes."""
    n_blocks = x.shape[1] // type.block_size
    out = np.zeros((len(x), n_blocks * type.block_bytes), np.uint8)
    bad = cuda.ffi.new("int64_t *", -7)
    pointer = cuda.pointer
    given = pointer(x), pointer(importance)
    floats = [cuda.ffi.cast("float *", each) for each in given]
    status = cuda.lib.qkc_quantize_host(
        *(through, type.id, *floats, *x.shape, pointer(out), bad)
    )
    return cuda.name_of(status), bad[0], out


def dequantize(cuda: Cuda, through: Any, data: np.ndarray) -> np.ndarray:
    out = np.zeros((len(data), 512), np.float32)
    target = cuda.ffi.cast("float *", cuda.pointer(out))
    cuda.check(
        cuda.lib.qkc_dequantize_host(
            *(through, TYPE.id, cuda.pointer(data), *out.shape, target)
        )
    )
    return out


def free_bytes(cuda: Cuda) -> int:
    found = cuda.ffi.new("size_t *")
    cuda.check(cuda.lib.qkc_free_bytes(found))
    return int(found[0])


@pytest.mark.parametrize("slab_bytes", SLABS)
def test_bytes_do_not_depend_on_slabs(cuda: Cuda, slab_bytes: int) -> None:
    """Both ways, several calls through one pipe, more rows and fewer."""
    expected = quantize_rows(X, TYPE, IMPORTANCE)
    weights = bits(dequantize_rows(expected, TYPE, 512))
    with pipe(cuda, slab_bytes) as through:
        for n in (5, 29, 1, 28, 0):
            status, _, data = quantize(cuda, through, X[:n])
            assert status == "QKC_OK"
            assert (data == expected[:n]).all()
            assert (bits(dequantize(cuda, through, expected[:n])) == weights[:n]).all()
        status, _, data = quantize(cuda, through, X, None, QuantType.Q8_0)
        assert (data == quantize_rows(X, QuantType.Q8_0, None)).all()


def test_memory_is_taken_as_needed_and_given_back(cuda: Cuda) -> None:
    """None before the first use, no more than allowed, none after an error."""
    before = free_bytes(cuda)
    with pipe(cuda, 20 * ROW) as through:
        assert cuda.lib.qkc_pipe_bytes(through) == 0
        quantize(cuda, through, X)
        assert 0 < cuda.lib.qkc_pipe_bytes(through) <= 20 * ROW
        wrong = X.copy()
        wrong[17, 300] = np.nan
        status, bad, _ = quantize(cuda, through, wrong)
        assert (status, bad) == ("QKC_NOT_FINITE", 17 * 512 + 300)
        assert cuda.lib.qkc_pipe_bytes(through) == 0
        assert free_bytes(cuda) == before
        assert quantize(cuda, through, X)[0] == "QKC_OK"
    assert free_bytes(cuda) == before
    cuda.check(cuda.lib.qkc_pipe_close(cuda.ffi.NULL))


def test_the_first_of_what_is_wrong_is_told(cuda: Cuda) -> None:
    """Whatever slab it is in; an importance comes first."""
    wrong = X.copy()
    wrong[[28, 9], [0, 511]] = np.inf
    importance = IMPORTANCE.copy()
    importance[[3, 500]] = -1
    for slab_bytes in SLABS:
        with pipe(cuda, slab_bytes) as through:
            status, bad, _ = quantize(cuda, through, wrong)
            assert (status, bad) == ("QKC_NOT_FINITE", 9 * 512 + 511)
            status, bad, _ = quantize(cuda, through, wrong, importance)
            assert (status, bad) == ("QKC_BAD_IMPORTANCE", 3)


def test_calls_that_are_refused(cuda: Cuda) -> None:
    """Before anything is touched."""
    null = cuda.ffi.NULL
    with pipe(cuda) as through:
        assert quantize(cuda, null, X)[0] == "QKC_BAD_ARRAY"
        assert quantize(cuda, through, X[:, :500].copy())[0] == "QKC_BAD_SHAPE"
        needs = quantize(cuda, through, X, None, QuantType.IQ2_XS)
        assert needs[0] == "QKC_NEEDS_IMPORTANCE"
        floats, out = cuda.ffi.cast("float *", cuda.pointer(X)), cuda.pointer(X)
        bad = cuda.ffi.new("int64_t *")
        status = cuda.lib.qkc_quantize_host(
            through, TYPE.id, floats, null, *X.shape, out, bad
        )
        assert cuda.name_of(status) == "QKC_BAD_ARRAY"
        assert cuda.lib.qkc_pipe_bytes(through) == 0


def limited(cuda: Cuda, monkeypatch: pytest.MonkeyPatch, n_bytes: int) -> None:
    """Leave so many bytes on a device of the host build."""
    if not cuda.lib.qkc_is_host_build():
        pytest.skip("a GPU has the memory that it has")
    used = (1 << 33) - free_bytes(cuda)
    monkeypatch.setenv("QKC_HOST_MEMORY", str(used + n_bytes))


def test_slabs_are_halved_where_memory_is_short(
    cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Down to a row; with less than that it is an error, and none is kept."""
    limited(cuda, monkeypatch, 12 * ROW)
    with pipe(cuda, 1 << 20) as through:
        status, _, data = quantize(cuda, through, X)
        assert status == "QKC_OK"
        assert (data == quantize_rows(X, TYPE, IMPORTANCE)).all()
        assert 0 < cuda.lib.qkc_pipe_bytes(through) <= 12 * ROW
    monkeypatch.undo()
    limited(cuda, monkeypatch, ROW)
    with pipe(cuda, 1 << 20) as through:
        assert quantize(cuda, through, X)[0] == "cudaErrorMemoryAllocation"
        assert free_bytes(cuda) == ROW
        monkeypatch.undo()
        assert quantize(cuda, through, X)[0] == "QKC_OK"


def test_pipes_keep_their_device(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the caller's stays current."""
    if cuda.lib.qkc_is_host_build():
        monkeypatch.setenv("QKC_HOST_DEVICES", "2")
    device = cuda.ffi.new("int *")
    cuda.check(cuda.lib.qkc_device_count(device))
    if device[0] < 2:
        pytest.skip("there is one device")
    cuda.check(cuda.lib.qkc_set_device(1))
    with pipe(cuda) as through:
        cuda.check(cuda.lib.qkc_set_device(0))
        assert quantize(cuda, through, X)[0] == "QKC_OK"
        cuda.check(cuda.lib.qkc_get_device(device))
        assert device[0] == 0


@pytest.mark.parametrize(
    ("capability", "has_kernels"),
    [(70, 0), (75, 1), (80, 1), (87, 1), (103, 1), (110, 0), (120, 1), (130, 1)],
)
def test_code_runs_on_devices_of_its_major_version(
    host_library: object,
    cuda: Cuda,
    monkeypatch: pytest.MonkeyPatch,
    capability: int,
    has_kernels: int,
) -> None:
    """And on all after the last, which compile its PTX."""
    monkeypatch.setenv("QKC_HOST_CAPABILITY", str(capability))
    what = cuda.ffi.new("qkc_device *")
    cuda.check(cuda.lib.qkc_describe_device(0, what))
    assert (10 * what.major + what.minor, what.has_kernels) == (capability, has_kernels)


def test_devices_and_errors_are_described(cuda: Cuda) -> None:
    """Names, memory, texts of any status."""
    lib, string = cuda.lib, cuda.ffi.string
    what = cuda.ffi.new("qkc_device *")
    cuda.check(lib.qkc_describe_device(0, what))
    assert string(what.name)
    assert what.total_bytes >= free_bytes(cuda) > 0
    assert what.has_kernels == 1
    assert what.multiprocessors > 0
    assert lib.qkc_describe_device(99, what) > 0
    assert string(lib.qkc_error_text(2)) == b"out of memory"
    assert cuda.name_of(2) == "cudaErrorMemoryAllocation"
    assert string(lib.qkc_error_text(lib.QKC_NOT_FINITE)).startswith(b"a weight")
    assert cuda.name_of(-99) == "unknown status"
    assert string(lib.qkc_error_text(-99)) == b"unknown status"
    memory = cuda.ffi.new("void **")
    assert cuda.name_of(lib.qkc_malloc(1 << 60, memory)) == "cudaErrorMemoryAllocation"
    assert memory[0] == cuda.ffi.NULL
