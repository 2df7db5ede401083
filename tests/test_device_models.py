"""Whole models whose operations are those of the CUDA library, in its host build."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantkit import _device
from quantkit.forward import engines

from .families.cases import Case
from .families.stored import known_logits
from .host_library import host_library as host_library
from .strict_arrays import StrictArray
from .strict_models import StrictWeights
from .test_device_forward import CASES, FIRST, loaded, memory_of

MAIN = ("llama", "qwen3next", "rwkv7", "jamba")
"""Families with attention, the delta rule, the states of RWKV-7 and a scan."""


@pytest.fixture(autouse=True)
def operations(host_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations on `StrictArray` are the library's."""
    monkeypatch.setenv(_device.LIBRARY_VARIABLE, str(host_library))
    engine = engines.Engine.of(_device)
    monkeypatch.setitem(engines._by_type, StrictArray, engine)


def check(case: Case, folder: Path) -> None:
    """Hidden states as the core gives them, but for the order of sums in some layers.

    An f32 keeps 6e-8, and each layer rounds some dozen times; most is 2e-6.
    """
    (host, device), (tokens, _) = (
        loaded(case, folder, StrictWeights),
        known_logits(case),
    )
    expected, found = host.hidden(tokens), memory_of(device.hidden(tokens))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", MAIN)
def test_main_families(name: str, tmp_path: Path) -> None:
    """One of each kind of layer."""
    check(FIRST[name], tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_all_families(case: Case, tmp_path: Path) -> None:
    """The same for every case that runs."""
    check(case, tmp_path)
