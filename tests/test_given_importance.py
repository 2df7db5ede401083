"""Importance as users give it: a file, a matrix, or numbers by tensor name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantkit as qk
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT

TEXT = DEMO_TEXT.read_text(encoding="utf-8")[:1000]
SMALL: dict[str, Any] = {"options": qk.TextOptions(ctx=64, chunks=2), "threads": 1}


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory, demo_f16: Path) -> Path:
    """The file of an importance matrix of the demo model."""
    path = tmp_path_factory.mktemp("importance") / "imatrix.gguf"
    qk.imatrix(demo_f16, TEXT, **SMALL).save(path)
    return path


@pytest.mark.parametrize(
    "make",
    [
        lambda path: str(path),
        lambda path: qk.ImportanceMatrix.load(path),
        lambda path: qk.read_imatrix(path),
        lambda path: {n: v.tolist() for n, v in qk.read_imatrix(path).items()},
        lambda path: {n: v.astype(">f8") for n, v in qk.read_imatrix(path).items()},
    ],
    ids=["path", "matrix", "mapping", "lists", "f64"],
)
def test_importance_of_any_kind(
    demo_f16: Path, matrix: Path, tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    """The same bytes and numbers."""
    model, importance = demo_f16, make(matrix)
    expected, out = tmp_path / "expected.gguf", tmp_path / "out.gguf"
    given = qk.read_imatrix(matrix)
    qk.quantize_file(model, expected, "Q2_K_S", importance=given)
    qk.quantize_file(model, out, "Q2_K_S", importance=importance)
    with qk.GGUFFile(out) as one, qk.GGUFFile(expected) as other:
        assert all(np.array_equal(one.raw(n), other.raw(n)) for n in one.tensors)
    assert qk.verify_file(expected, model, importance=importance).is_equal
    ppl = qk.perplexity(expected, TEXT, **SMALL)
    how = {"recipe": "Q2_K_S", "importance": importance}
    assert qk.perplexity(model, TEXT, **how, **SMALL) == ppl
    weighed = {"importance": importance, "text": TEXT}
    compared = qk.compare(model, "Q2_K_S", **weighed, **SMALL)
    assert compared.results[0].ppl == ppl.ppl
    loaded = qk.Model.open(model, **how, activations="i16")
    assert np.array_equal(
        loaded.logits([1, 2]),
        qk.Model.open(expected, activations="i16").logits([1, 2]),
    )


@pytest.mark.parametrize(
    ("importance", "error", "words"),
    [
        (3, qk.OptionError, "is of type int; expected the path of an imatrix file"),
        (["a"], qk.OptionError, "is of type list; expected"),
        ({}, qk.OptionError, "`importance` is empty"),
        ({3: [1.0]}, qk.OptionError, "has the key 3; expected tensor names"),
        ({"a": [[1.0], [2.0, 3.0]]}, qk.ShapeError, "of a is not an array"),
        ({"a": "ones"}, qk.ShapeError, "of a is an array of <U4"),
        ({"a": 1.0}, qk.ShapeError, r"of a has shape \[\]; expected \[cols\]"),
        ({"a": []}, qk.ShapeError, r"of a has shape \[0\]"),
        ({"a": np.ones((1, 2, 3))}, qk.ShapeError, r"of a has shape \[1, 2, 3\]"),
        ({"a": [1.0, -2.0]}, qk.NonFiniteError, r"of a at \[1\] is -2.0; it must be"),
        ({"a": [[1.0, np.nan]]}, qk.NonFiniteError, r"of a at \[0, 1\] is nan"),
        ({"a": [1e300]}, qk.NonFiniteError, "of a contains 1e.300 at index"),
        ("a\0b", qk.OptionError, "is 'a.x00b', which is not a path"),
    ],
)
def test_what_is_no_importance(importance: Any, error: type, words: str) -> None:
    """It is refused before anything is read, by everything that takes it."""
    calls: list[Callable[[], object]] = [
        lambda: qk.quantize_file("m", "o", "Q4_0", importance=importance),
        lambda: qk.Model.open(DEMO_MODEL, recipe="Q4_0", importance=importance),
        lambda: qk.perplexity(DEMO_MODEL, TEXT, recipe="Q4_0", importance=importance),
        lambda: qk.compare(DEMO_MODEL, "Q4_0", text=TEXT, importance=importance),
    ]
    for call in calls:
        with pytest.raises(error, match=words):
            call()


def test_importance_that_nothing_would_use_is_refused() -> None:
    """A model as it is has no use for it."""
    given = {"blk.0.attn_q.weight": np.ones(256)}
    with pytest.raises(qk.OptionError, match=r"`importance` .* without `recipe`"):
        qk.perplexity(DEMO_MODEL, TEXT, importance=given)
    with pytest.raises(qk.OptionError, match=r"`importance` .* without `recipe`"):
        qk.Model.open(DEMO_MODEL, importance=given)
    with pytest.raises(qk.OptionError, match=r"`importance` .* without `types`"):
        qk.compare(DEMO_MODEL, text=TEXT, importance=given)
    with pytest.raises(qk.OptionError, match="`importance` has no effect with f16"):
        qk.convert(DEMO_MODEL, "out.gguf", "f16", importance=given)


def test_importance_of_no_tensor_of_the_model_is_refused(tmp_path: Path) -> None:
    """A name that is misspelled would otherwise be passed over in silence."""
    given = {"blk.0.ffn_dwn.weight": np.ones(768)}
    words = "`importance` is of no tensor of this model: it has 'blk.0.ffn_dwn.weight'"
    with pytest.raises(qk.OptionError, match=words):
        qk.quantize_file(DEMO_MODEL, tmp_path / "o", "Q4_0", importance=given)
    with pytest.raises(qk.OptionError, match=words):
        qk.perplexity(DEMO_MODEL, TEXT, recipe="Q4_0", importance=given, **SMALL)
    assert not list(tmp_path.iterdir())


def test_an_importance_matrix_has_no_stride() -> None:
    """All positions of a chunk are summed."""
    with pytest.raises(qk.OptionError, match="`stride` is not allowed: all positions"):
        qk.imatrix(DEMO_MODEL, TEXT, options=qk.TextOptions(ctx=64, stride=8))
