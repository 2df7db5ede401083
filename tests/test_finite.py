"""Weights that would not read back finite are refused, and no others."""

from __future__ import annotations

import numpy as np
import pytest

import quantkit as qk
from quantkit._native import needs_importance
from quantkit.arrays.finite import refuse_overflow
from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.types import QuantType

from .conftest import NATIVE_TYPES

COLS = 512


def rows_of(rng: np.random.Generator) -> np.ndarray:
    """All weights of some magnitude, or one large weight among small ones."""
    rows = rng.standard_normal((2, COLS)).astype(np.float32)
    if rng.random() < 0.5:
        return rows * np.float32(10 ** rng.uniform(-3, 37))
    rows[rng.integers(2), rng.integers(COLS)] = 10 ** rng.uniform(0, 38)
    return rows


@pytest.mark.parametrize("type", NATIVE_TYPES, ids=lambda t: t.name)
def test_rows_are_refused_if_they_do_not_read_back(type: QuantType) -> None:
    """With importance of any size, and without."""
    rng = np.random.default_rng(type.id)
    for _ in range(60):
        rows, importance = rows_of(rng), None
        if needs_importance(type) or rng.random() < 0.5:
            size = np.float32(10 ** rng.uniform(-5, 38))
            importance = size * rng.random(COLS, np.float32)
        converted = quantize_rows(rows, type, importance)
        bad = ~np.isfinite(dequantize_rows(converted, type, COLS)).all(axis=1)
        given = rows, converted, type, importance
        if bad.any():
            where = rf"tensor x: the weights? at row {7 + bad.argmax()}, columns? \d"
            with pytest.raises(qk.NonFiniteError, match=where):
                refuse_overflow(*given, of="tensor x: ", first_row=7)
        else:
            refuse_overflow(*given)
