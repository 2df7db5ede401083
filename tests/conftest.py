"""What every test shares: the backends of this machine, and the test header."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from quantkit._native import Backend, backends, native_types, needs_importance
from quantkit.tasks.convert import convert
from quantkit.tasks.demo import DEMO_MODEL
from quantkit.types import QuantType

from .llamacpp_tools import tools_folder
from .variants import VARIANTS, Variant, without

# A test never fails because a machine is slow.
settings.register_profile("quantkit", deadline=None)
settings.load_profile("quantkit")

FIXTURES = Path(__file__).parent / "fixtures"
VECTOR_FILES = ("ggml_x86.npz", "ggml_x86_new_types.npz")
NATIVE_TYPES = [t for t in QuantType if t in native_types()]
BLOCK_TYPES = [t for t in NATIVE_TYPES if t.is_quantized]


def bits(values: np.ndarray) -> np.ndarray:
    """f32 as bits, one pattern for all NaNs: NumPy and C differ in NaN payloads."""
    return np.where(np.isnan(values), np.int32(0x7FC00000), values.view(np.int32))


@dataclass(frozen=True)
class Vector:
    """Weights f32 [rows, cols], importance f32 [cols] if any, and llama.cpp's bytes."""

    x: np.ndarray
    importance: np.ndarray | None
    data: np.ndarray


def vectors() -> dict[str, Vector]:
    """By type, with `_imatrix` where the importance was used."""
    found = {}
    for name in VECTOR_FILES:
        with np.load(FIXTURES / name) as file:
            x, importance = file["x"], file["importance"]
            for key in set(file) - {"x", "importance"}:
                used = importance if key.endswith("_imatrix") else None
                found[key] = Vector(x, used, file[key])
    return found


def pytest_report_header() -> list[str]:
    """The machine and what it can run, first in every log."""
    able = [f"{b.name}{'' if b.usable else ' (cannot run here)'}" for b in backends()]
    return [
        f"quantkit backends: {', '.join(able)}",
        f"machine: {platform.machine()}, NumPy {np.__version__}",
    ]


@pytest.fixture(scope="session")
def llamacpp_tools() -> str:
    """The folder of llama.cpp's tools; without one, tests that need it are skipped."""
    return tools_folder()


@pytest.fixture(params=backends(), ids=lambda b: b.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend that is built in; those this machine cannot run are skipped."""
    chosen: Backend = request.param
    if not chosen.usable:
        pytest.skip(f"this machine cannot run {chosen.name}")
    return chosen


@pytest.fixture(params=VARIANTS, ids=lambda v: v.name)
def variant(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Each variant of each backend's forward pass; in tests that override `backend`."""
    chosen: Variant = request.param
    if not chosen.backend.usable:
        pytest.skip(f"this machine cannot run {chosen.name}")
    with without(chosen.disabled):
        yield chosen.backend


@pytest.fixture(params=BLOCK_TYPES, ids=lambda t: t.name)
def block_type(request: pytest.FixtureRequest) -> QuantType:
    """Each block type that quantkit quantizes to."""
    return request.param


@pytest.fixture(params=[False, True], ids=["plain", "importance"])
def weighted(request: pytest.FixtureRequest, block_type: QuantType) -> bool:
    """Without importance, where the type allows it, and with."""
    if not request.param and needs_importance(block_type):
        pytest.skip(f"{block_type.name} exists with importance only")
    return request.param


def needed_importance(type: QuantType, n_cols: int) -> np.ndarray | None:
    """An importance if the type requires one, else None."""
    even = np.linspace(0.5, 2, n_cols, dtype=np.float32)
    return even if needs_importance(type) else None


@pytest.fixture(scope="session")
def demo_f16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model as an F16 GGUF file."""
    path = tmp_path_factory.mktemp("demo") / "demo-f16.gguf"
    convert(DEMO_MODEL, path, outtype="f16")
    return path
