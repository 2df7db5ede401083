"""The exponential function of llama.cpp's converter, which is torch's."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from quantkit.checkpoint.exponential import exponential

VALUES = np.linspace(-30, 30, 1 << 16, dtype=np.float32)
TORCH = "7dc8a36fc26ed35e"


def test_bits_are_those_of_torch() -> None:
    """A hash of what torch 2.13 gives."""
    found = hashlib.sha256(exponential(VALUES).tobytes()).hexdigest()
    assert found.startswith(TORCH)


def test_values_beyond_f32() -> None:
    """As for any exponential function."""
    found = exponential(np.array([-1e30, -200, 0, 200, np.inf], np.float32))
    assert found.tolist() == [0, 0, 1, np.inf, np.inf]


@pytest.mark.reference
def test_bits_are_those_of_installed_torch() -> None:
    """Where it is installed, for more values."""
    torch = pytest.importorskip("torch", reason="needs torch")
    values = np.random.default_rng(0).uniform(-87, 87, 1 << 20).astype(np.float32)
    known = torch.exp(torch.tensor(values)).numpy()
    assert np.array_equal(exponential(values), known)
