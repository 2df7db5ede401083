"""On a GPU: every type, large arrays, streams, threads, files, little memory.

    pytest -m gpu

runs these tests and those of other files that need a GPU.  They are skipped where there
is none, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantkit as qk
from quantkit import _device
from quantkit._native import needs_importance
from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.execution.workers import Threads

from .conftest import NATIVE_TYPES, bits, needed_importance
from .device_arrays import GPU, ON_A_GPU, Kind, gpu_arrays, imported, needs_gpu
from .strategies import ROW_KINDS, adversarial_rows
from .test_parity import IMPORTANCE

pytestmark = GPU


@pytest.fixture(autouse=True)
def gpu() -> None:
    needs_gpu()


@pytest.fixture(params=ON_A_GPU)
def kind(request: pytest.FixtureRequest) -> Kind:
    """CuPy and PyTorch."""
    return gpu_arrays(request.param)


@pytest.mark.parametrize("type", NATIVE_TYPES, ids=lambda t: t.name)
def test_adversarial_rows_in_device_memory(kind: Kind, type: qk.QuantType) -> None:
    """Overflowing sums, zeros of both signs, subnormal numbers: the same bytes."""
    x = adversarial_rows(3 * len(ROW_KINDS), 512, seed=7)
    given = kind.there(x)
    owner = _device.owner_of(given)
    for importance in (None, IMPORTANCE, IMPORTANCE * np.float32(1e30)):
        if importance is None and needs_importance(type):
            continue
        expected = quantize_rows(x, type, importance)
        weighting = None if importance is None else kind.there(importance)
        out = owner.empty(given, expected.shape, "uint8")
        _device.quantize_rows(given, type, weighting, out)
        assert np.array_equal(kind.here(out), expected)
    weights = owner.empty(given, x.shape, "float32")
    _device.dequantize_rows(out, type, weights)
    found = kind.here(weights)
    assert np.array_equal(bits(found), bits(dequantize_rows(expected, type, 512)))


def large(n_rows: int = 8192, n_cols: int = 4096) -> np.ndarray:
    """f32 [n_rows, n_cols]: more than a slab of the device."""
    values = np.random.default_rng(1).standard_normal(1 << 20, np.float32)
    scales = np.linspace(0.5, 2, n_rows, dtype=np.float32)
    return np.resize(values, (n_rows, n_cols)) * scales[:, None]


@pytest.mark.parametrize("type", ["Q4_0", "Q4_K", "Q8_0"])
def test_large_arrays(kind: Kind, type: str) -> None:
    """In device memory, and through it."""
    x = large()
    expected = qk.quantize(x, type)
    assert qk.quantize(x, type, device="cuda") == expected
    assert qk.quantize(kind.there(x), type) == expected
    weights = qk.dequantize(expected, device="cuda")
    assert np.array_equal(weights, qk.dequantize(expected))


def test_large_arrays_of_codebook_types() -> None:
    """Fewer rows, because the processor takes long."""
    x = large(2048)
    for type in ("IQ2_XS", "IQ3_S", "IQ1_M"):
        importance = needed_importance(qk.QuantType[type], x.shape[1])
        expected = qk.quantize(x, type, importance)
        assert qk.quantize(x, type, importance, device="cuda") == expected


@contextmanager
def side_stream(kind: Kind) -> Iterator[None]:
    """A stream of its own is the current one of the library."""
    module = imported(kind.name)
    if kind.name == "cupy":
        with module.cuda.Stream(non_blocking=True) as stream:
            yield
        stream.synchronize()
    else:
        with module.cuda.stream(module.cuda.Stream()):
            yield
        module.cuda.synchronize()


def test_work_waits_for_the_current_stream(kind: Kind) -> None:
    """What is being computed there is what is quantized; and so on after it."""
    with side_stream(kind):
        x = kind.there(large(2048))
        for _ in range(50):
            x = x * 1.0625 - x * 0.0625  # long enough to be seen if nobody waited
        q = qk.quantize(x, "Q4_0")
        twice = qk.dequantize(q) * 2
    assert q == qk.quantize(kind.here(x), "Q4_0")
    assert np.array_equal(kind.here(twice), 2 * qk.dequantize(host(q, kind)))


def host(q: qk.QuantizedTensor, kind: Kind) -> qk.QuantizedTensor:
    """The same tensor in main memory."""
    return qk.QuantizedTensor(kind.here(q.data), q.type, q.shape)


def test_arrays_of_jax_come_back_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """By CuPy, from numbers that NumPy does not have."""
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    imported("cupy")
    jax, numpy = imported("jax"), imported("jax.numpy")
    x = numpy.asarray(large(256)).astype(numpy.bfloat16)
    expected = qk.quantize(np.asarray(x.astype(np.float32)), "Q4_K")
    q = qk.quantize(x, "Q4_K")
    weights = qk.dequantize(q)
    assert isinstance(q.data, jax.Array)
    assert isinstance(weights, jax.Array)
    assert q == expected
    assert np.array_equal(np.asarray(weights), qk.dequantize(expected))


def test_arrays_of_numba_become_those_of_cupy() -> None:
    """Which has the same memory."""
    cupy, cuda = imported("cupy"), imported("numba.cuda")
    x = large(256)
    given: Any = cuda.to_device(x)
    q = qk.quantize(given, "Q4_K")
    assert isinstance(q.data, cupy.ndarray)
    assert q == qk.quantize(x, "Q4_K")


def quantized(seed: int) -> bool:
    """Whether an array gives the processor's bytes."""
    x = np.random.default_rng(seed).standard_normal((512, 1024), np.float32)
    return bool(qk.quantize(x, "Q4_K", device="cuda") == qk.quantize(x, "Q4_K"))


def test_threads_share_a_device() -> None:
    """Each has its own pipe."""
    with _device.kept_pipes(0):
        done = dict(Threads(8).in_order(quantized, range(32)))
    assert all(done.values())


@contextmanager
def little_memory(left: int) -> Iterator[None]:
    """Take the device's memory, but for about so many bytes."""
    own = _device.library()
    free, memory = own.ffi.new("size_t *"), own.ffi.new("void **")
    assert own.lib.qkc_free_bytes(free) == 0
    size = free[0] - left
    while own.lib.qkc_malloc(size, memory) != 0:
        size -= 1 << 23  # free memory is not in one piece
    try:
        yield
    finally:
        assert own.lib.qkc_free(memory[0]) == 0


def test_little_memory_is_enough() -> None:
    """Slabs are halved until they fit."""
    x = large()
    expected = qk.quantize(x, "Q4_K")
    with little_memory(48 << 20):
        assert qk.quantize(x, "Q4_K", device="cuda") == expected


def fill(given: Any) -> None:
    """Quantize until there is no memory, neither free nor in the library's reserve."""
    kept = []
    while True:
        kept.append(qk.quantize(given, "Q8_0"))


def test_too_little_memory_is_an_error(kind: Kind) -> None:
    """Of the library of arrays, which needs it for the result."""
    given = kind.there(large())
    with little_memory(1 << 20), pytest.raises(qk.BackendError, match="free memory"):
        fill(given)
    assert qk.quantize(given, "Q8_0") == qk.quantize(large(), "Q8_0")


@pytest.mark.parametrize("recipe", ["Q4_K_M", "IQ4_XS", "Q8_0"])
def test_files_are_those_of_the_processor(
    demo_f16: Path, tmp_path: Path, recipe: str
) -> None:
    """With several threads."""
    made = []
    for device in ("cpu", "cuda"):
        out = tmp_path / f"{device}.gguf"
        qk.quantize_file(demo_f16, out, recipe, device=device)
        made.append(out.read_bytes())
    assert made[0] == made[1]
