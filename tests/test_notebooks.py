"""The notebooks in examples/ run, and show what is stored in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .notebooks import NOTEBOOKS, made_by, run, texts

pytestmark = pytest.mark.docs

NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")
CLOSE = 0.03
"""What other versions of NumPy and SciPy may change in figures of few digits."""
FAR = 0.5
"""What another instruction set may: calibrated files have other bytes then, and some
figures are of a few tokens (docs/calibration.md)."""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_is_stored(path: Path) -> None:
    """Words and numbers, but no times; `python -m tests.notebooks` stores them."""
    for module in ("nbclient", "ipykernel"):
        pytest.importorskip(module, reason="needs the docs extra")
    import nbformat

    stored = nbformat.read(path, as_version=4)
    again = run(path)
    near = CLOSE if made_by(again) == made_by(stored) else FAR
    for old, new in zip(texts(stored), texts(again), strict=True):
        assert len(old) == len(new)
        for before, after in zip(old, new, strict=True):
            assert NUMBER.sub("#", before) == NUMBER.sub("#", after)
            assert numbers(after) == pytest.approx(numbers(before), rel=near, abs=2e-4)


def test_there_are_notebooks() -> None:
    """And all of their cells have been run, in order."""
    nbformat = pytest.importorskip("nbformat", reason="needs the docs extra")
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        counts = [cell.execution_count for cell in cells if cell.cell_type == "code"]
        assert counts == list(range(1, len(counts) + 1))


def numbers(text: str) -> list[float]:
    return [float(number) for number in NUMBER.findall(text)]
