"""The forward pass by the kernels of the CUDA library, on a GPU or without one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit import _device
from quantkit.forward import engines
from quantkit.forward.base import F32, Activations, Weights
from quantkit.forward.engines import on_host
from quantkit.forward.ops import contiguous

from .device_arrays import gpu_arrays
from .families.cases import Case
from .families.stored import known_logits
from .host_library import host_library as host_library
from .strict_arrays import strict
from .test_device_forward import FIRST, loaded

NEAR = 1e-5
"""How far numbers may be apart, as a share of their range: sums have another order."""

MAIN = ("llama", "qwen3moe", "mamba2")
"""The architectures of the default tests."""

Place = Callable[[NDArray[Any]], Any]
"""Brings an array to a device."""


@dataclass(frozen=True)
class DenseMatrix:
    """A matrix f32 [n_rows, n_cols] on a device; see `forward.base.Matrix`."""

    values: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_rows, n_cols)."""
        shape: tuple[int, ...] = self.values.shape
        return shape

    def apply(self, x: F32 | Activations) -> F32:
        """x [n, n_cols] times the transpose of the matrix: [n, n_rows]."""
        y: F32 = contiguous(Activations.of(x).values) @ self.values.T
        return y

    def part(self, start: int, stop: int) -> DenseMatrix:
        """Rows start..stop-1 as a matrix."""
        return DenseMatrix(self.values[start:stop])

    def rows(self, index: NDArray[np.integer[Any]]) -> F32:
        """The rows at `index`."""
        rows: F32 = self.values[np.asarray(index, like=self.values)]
        return rows


@dataclass(frozen=True)
class DenseWeights:
    """Weights brought to a device, in f32; see `forward.base.Weights`."""

    inner: Weights
    placed: Place

    def __contains__(self, name: object) -> bool:
        return name in self.inner

    def matrix(self, name: str) -> DenseMatrix:
        """The matrix called `name`."""
        matrix = self.inner.matrix(name)
        return DenseMatrix(self.placed(matrix.rows(np.arange(matrix.shape[0]))))

    def vector(self, name: str) -> F32:
        """All weights of the small tensor `name`."""
        vector: F32 = self.placed(self.inner.vector(name))
        return vector


def check(case: Case, folder: Path, place: Place) -> None:
    """Compare hidden states and logits with the CPU's, of one sequence and several."""
    tokens, _ = known_logits(case)
    host, device = loaded(case, folder, lambda weights: DenseWeights(weights, place))
    several = np.stack([tokens, tokens[::-1]])
    expected = np.concatenate([host.hidden(each) for each in several])
    found = device.hidden(several)
    assert_near(found, expected)
    assert np.array_equal(on_host(device.hidden(several)), on_host(found))
    assert_near(device.hidden(tokens), expected[: len(tokens)])
    if hasattr(host, "head"):
        assert_near(device.head.apply(found), host.head.apply(expected))


def assert_near(found: F32, expected: F32) -> None:
    """The same numbers, but for the order of sums."""
    assert np.abs(on_host(found) - expected).max() < NEAR * np.ptp(expected)


@pytest.fixture
def kernels(host_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strict arrays are computed on by the CUDA library's kernels, on the host."""
    monkeypatch.setenv(_device.LIBRARY_VARIABLE, str(host_library))
    monkeypatch.setattr(engines, "_by_type", {})


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("arch", MAIN)
def test_main_families_by_the_kernels(arch: str, tmp_path: Path) -> None:
    """Those of a GPU, which need none."""
    check(FIRST[arch], tmp_path, strict)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("arch", [name for name in FIRST if name not in MAIN])
def test_all_families_by_the_kernels(arch: str, tmp_path: Path) -> None:
    """The same for all others."""
    check(FIRST[arch], tmp_path, strict)


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")  # CuPy's own
@pytest.mark.parametrize("arch", FIRST)
def test_families_on_a_gpu(arch: str, tmp_path: Path) -> None:
    """A case of each architecture, the same numbers in every run."""
    check(FIRST[arch], tmp_path, gpu_arrays("cupy").there)
