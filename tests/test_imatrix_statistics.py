"""Statistics of an importance matrix, against their formulas written out here."""

from __future__ import annotations

import math
import statistics as plain

import numpy as np
import pytest

from quantkit.importance import ImportanceMatrix, Sums
from quantkit.importance.statistics import SCHEMA, statistics_of

RNG = np.random.default_rng(5)


def sums(
    n_matrices: int, n_cols: int, counts: list[int], with_values: bool = True
) -> Sums:
    """Sums of random activations."""
    values = np.zeros((n_matrices, n_cols))
    squares = np.zeros((n_matrices, n_cols))
    for i, count in enumerate(counts):
        x = RNG.normal(0.3, np.linspace(0.1, 2, n_cols), (count, n_cols))
        values[i], squares[i] = x.sum(0), (x * x).sum(0)
    values, squares = (v.astype(np.float32).astype(float) for v in (values, squares))
    return Sums(squares, values if with_values else None, np.array(counts))


def columns(s: Sums, of_values: bool) -> list[float | None]:
    """Means of each column, None for a matrix without rows."""
    kept = s.values if of_values and s.values is not None else s.squares
    return [
        float(v) / int(count) if count else None
        for row, count in zip(kept, s.counts, strict=True)
        for v in row
    ]


@pytest.mark.parametrize("with_values", [True, False], ids=["new", "legacy"])
def test_figures_of_a_tensor(with_values: bool) -> None:
    """Of the columns of the experts that a token reached."""
    own = sums(3, 8, [5, 0, 9], with_values)
    found = statistics_of({"blk.4.ffn_up_exps.weight": own}).tensors[0]
    u = [x for x in columns(own, True) if x is not None]
    q = [x for x in columns(own, False) if x is not None]
    mean, spread = plain.fmean(u), plain.pstdev(u)
    assert (found.layer, found.rows, found.matrices, found.reached) == (4, 9, 3, 2)
    assert found.elements == len(q) == 16
    assert found.sum_sq == pytest.approx(sum(q), rel=1e-12)
    assert found.mean == pytest.approx(mean, rel=1e-12)
    assert found.std_deviation == pytest.approx(spread, rel=1e-6)
    third, fourth = (sum((x - mean) ** n for x in u) / 16 for n in (3, 4))
    assert found.skewness == pytest.approx(third / spread**3)
    assert found.kurtosis == pytest.approx(fourth / spread**4 - 3)
    bits = -sum(x / sum(q) * math.log2(x / sum(q)) for x in q)
    assert found.h_norm == pytest.approx(100 * bits / math.log2(16), rel=1e-6)
    assert math.isnan(found.gain)


@pytest.mark.parametrize("with_values", [True, False], ids=["new", "legacy"])
def test_figures_beside_the_layer_before(with_values: bool) -> None:
    """Over the columns that a token reached in both; layer 1 lacks the tensor."""
    name = "blk.{}.ffn_down_exps.weight"
    before, own = sums(3, 6, [4, 7, 0]), sums(3, 6, [0, 5, 8], with_values)
    tensors = {name.format(2): own, name.format(0): before}
    tensors["blk.1.attn_q.weight"] = sums(1, 6, [3])
    found = statistics_of(tensors)
    assert [each.layer for each in found.tensors] == [0, 1, 2]
    figures, layer = found.tensors[2], found.layers[2]
    pairs = [
        (x, y)
        for x, y in zip(
            columns(own, with_values), columns(before, with_values), strict=True
        )
        if x is not None and y is not None
    ]
    assert len(pairs) == 6
    u, v = zip(*pairs, strict=True)
    expected = {
        "l2_dist": math.dist(u, v),
        "cossim": float(np.dot(u, v)) / math.hypot(*u) / math.hypot(*v),
        "pearson": plain.correlation(u, v),
        "covariance": plain.covariance(u, v) * 5 / 6,
        "gain": math.sqrt(found.tensors[2].sum_sq / 12)
        / math.sqrt(found.tensors[0].sum_sq / 12),
    }
    for key, value in expected.items():
        assert getattr(figures, key) == pytest.approx(value, rel=1e-5), key
        assert getattr(layer, key) == pytest.approx(value, rel=1e-5), key
    assert math.isnan(found.tensors[1].gain)
    assert math.isnan(found.layers[1].l2_dist)


def test_a_layer_takes_its_tensors_together() -> None:
    """Their columns one after the other, as if they were one tensor."""
    parts = [sums(1, n, [6]) for n in (5, 7, 5, 7)]
    names = ("blk.{}.a.weight", "blk.{}.b.weight")
    tensors = {
        name.format(layer): parts[2 * layer + i]
        for layer in (0, 1)
        for i, name in enumerate(names)
    }
    layer = statistics_of(tensors).layers[1]
    u, v = (
        np.concatenate([columns(part, True) for part in pair])
        for pair in (parts[2:], parts[:2])
    )
    assert layer.l2_dist == pytest.approx(np.linalg.norm(u - v), rel=1e-5)
    cosine = u @ v / np.linalg.norm(u) / np.linalg.norm(v)
    assert layer.cossim == pytest.approx(cosine, rel=1e-5)
    assert layer.sum_sq == pytest.approx(
        sum(x for part in parts[2:] for x in columns(part, False) if x), rel=1e-6
    )


@pytest.mark.parametrize("told", [True, False], ids=["by number", "by name"])
def test_next_predictors_are_compared_among_themselves(told: bool) -> None:
    """A layer that predicts a token further ahead follows none of the others."""
    tensors = {f"blk.{i}.attn_q.weight": sums(1, 4, [3]) for i in range(5)}
    if not told:
        tensors["blk.3.nextn.eh_proj.weight"] = sums(1, 4, [3])
    found = statistics_of(tensors, 2 if told else 0)
    gains = [t.gain for t in found.tensors if "attn_q" in t.name]
    assert [math.isnan(gain) for gain in gains] == [True, False, False, True, False]
    against = np.array(columns(tensors["blk.4.attn_q.weight"], True))
    against -= columns(tensors["blk.3.attn_q.weight"], True)
    assert found.tensors[-1].l2_dist == pytest.approx(np.linalg.norm(against), rel=1e-5)


def test_what_has_no_figures() -> None:
    """Tensors without rows, of other sizes, all zeros, or outside the layers."""
    nothing = Sums(np.zeros((1, 4)), np.zeros((1, 4)), np.array([3]))
    tensors = {
        "blk.0.a.weight": nothing,
        "blk.1.a.weight": nothing,
        "blk.0.b.weight": sums(1, 4, [3]),
        "blk.1.b.weight": sums(1, 6, [3]),
        "blk.1.c.weight": sums(1, 4, [0]),
        "output.weight": sums(1, 4, [3]),
    }
    found = {t.name: t for t in statistics_of(tensors).tensors}
    assert "blk.1.c.weight" not in found
    assert found["output.weight"].layer is None
    assert list(found)[-1] == "output.weight"
    assert math.isnan(found["blk.1.b.weight"].gain)
    zeros = found["blk.1.a.weight"]
    assert (zeros.skewness, zeros.kurtosis, zeros.h_norm, zeros.gain) == (0, 0, 0, 1)
    assert math.isnan(zeros.cossim)
    assert zeros.l2_dist == 0
    data = statistics_of(tensors).to_dict()
    assert data["tensors"][0]["gain"] is None
    assert set(SCHEMA) <= data["tensors"][0].keys()
    assert ImportanceMatrix(tensors).statistics().to_dict() == data
