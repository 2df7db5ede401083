"""What importance gains: rows of each type with it and without, compared in pairs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from quantkit._native import uses_importance
from quantkit.arrays.rows import quantize_rows
from quantkit.cli.main import app
from quantkit.collecting.collection import imatrix
from quantkit.evaluate.comparing import compare
from quantkit.evaluate.results import Comparison
from quantkit.evaluate.statistics import mean_estimate, p_value, perplexity_difference
from quantkit.importance import ImportanceMatrix
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tokens.options import TextOptions
from quantkit.types import QuantType

from .conftest import NATIVE_TYPES, needed_importance

TEXT = DEMO_TEXT.read_text(encoding="utf-8")
SMALL: dict[str, Any] = {"options": TextOptions(ctx=64, chunks=4), "threads": 1}
TYPES = ["Q8_0", "Q4_K_M", "IQ2_XXS", "Q2_K"]


@pytest.fixture(scope="module")
def matrix() -> ImportanceMatrix:
    return imatrix(DEMO_MODEL, TEXT[8000:14000], **SMALL)


@pytest.fixture(scope="module")
def found(matrix: ImportanceMatrix) -> Comparison:
    importance = matrix.importance()
    return compare(DEMO_MODEL, TYPES, text=TEXT[:6000], importance=importance, **SMALL)


def test_each_type_that_importance_changes_has_two_rows(found: Comparison) -> None:
    """One where it makes no difference, or where the type does not exist without."""
    assert [row.name for row in found.results] == [
        *("Q8_0", "Q4_K_M", "Q4_K_M imatrix", "IQ2_XXS imatrix"),
        *("Q2_K", "Q2_K imatrix"),
    ]
    plain = compare(DEMO_MODEL, ["Q2_K"], text=TEXT[:6000], **SMALL)
    rows = {row.name: row for row in found.results}
    assert rows["Q2_K"].ppl == plain.results[0].ppl
    assert rows["Q2_K imatrix"].ppl != plain.results[0].ppl
    assert plain.weighed == []
    assert "imatrix_gains" not in plain.to_dict()


def test_gains_are_paired_differences(found: Comparison) -> None:
    """By the formulas of every other pair."""
    gains = found.imatrix_gains()
    assert [(gain.name, gain.versus) for gain in gains] == [
        ("Q4_K_M imatrix", "Q4_K_M"),
        ("Q2_K imatrix", "Q2_K"),
    ]
    one, two = found.scores["Q2_K imatrix"][0], found.scores["Q2_K"][0]
    delta = perplexity_difference(one.nll, two.nll)
    assert (gains[1].delta_ppl, gains[1].delta_ppl_error) == (delta.value, delta.error)
    kld = mean_estimate(one.kld - two.kld)
    assert gains[1].kld_difference == kld.value < 0
    assert gains[1].kld_p_value == p_value(kld, 3)
    rows = {row.name: row for row in found.results}
    difference = rows["Q2_K imatrix"].ppl - rows["Q2_K"].ppl
    assert gains[1].delta_ppl == pytest.approx(difference, rel=1e-9)


def test_every_format_has_the_gains(matrix: ImportanceMatrix, tmp_path: Path) -> None:
    """A table, Markdown, CSV on every text, JSON."""
    matrix.save(tmp_path / "imatrix.gguf")
    texts = [tmp_path / "one.txt", tmp_path / "two.txt"]
    for path, part in zip(texts, (TEXT[:4000], TEXT[4000:8000]), strict=True):
        path.write_text(part, encoding="utf-8")

    def ppl(*more: str) -> str:
        common = [str(DEMO_MODEL), *(f"--text={path}" for path in texts)]
        common += ["--ctx=64", "--chunks=3", "--threads=1", "--types=Q8_0,Q2_K"]
        common += [f"--imatrix={tmp_path / 'imatrix.gguf'}"]
        common += [f"--save={tmp_path / 'results.json'}", *more]
        result = CliRunner().invoke(app, ["ppl", *common])
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout

    data = json.loads(ppl("--json"))
    (gain,) = data["imatrix_gains"]
    assert (gain["name"], gain["versus"]) == ("Q2_K imatrix", "Q2_K")
    pair = f"{gain['delta_ppl']:+.4f} ± {gain['delta_ppl_error']:.4f}"
    lines = ppl().splitlines()
    assert lines[-1].startswith("Q2_K imatrix  Q2_K ")
    assert pair in lines[-1]
    assert pair in ppl("--markdown").splitlines()[-1]
    rows = list(csv.DictReader(io.StringIO(ppl("--csv"))))
    assert len(rows) == 3 * 4
    changes = [row["imatrix_delta_ppl"] for row in rows]
    assert [bool(change) for change in changes] == [False, False, False, True] * 3
    assert float(changes[-1]) == gain["delta_ppl"]
    of_texts = [float(change) for change in changes[3:8:4]]
    assert np.mean(of_texts) == pytest.approx(gain["delta_ppl"], rel=1e-9)


@pytest.mark.parametrize("type", NATIVE_TYPES, ids=lambda type: type.name)
def test_the_types_that_importance_leaves_alone(type: QuantType) -> None:
    """Are those that have one row only."""
    x = np.random.default_rng(3).normal(size=(8, 256)).astype(np.float32)
    importance = np.geomspace(1e-4, 1, 256, dtype=np.float32)
    one = quantize_rows(x, type, needed_importance(type, 256))
    two = quantize_rows(x, type, importance)
    assert (one == two).all() == (not uses_importance(type))
