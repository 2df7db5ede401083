"""How far a calibration text is from the mixture."""

from __future__ import annotations

import math

import numpy as np
import pytest

from quantkit.calibrating.breadth import FAR, Breadth, breadth_of, distance
from quantkit.errors import ShapeError

EVEN = np.ones(4)


def test_distance_is_the_mean_of_the_logarithms_of_shares() -> None:
    assert distance(np.array([1.0, 3.0]), np.array([2.0, 2.0])) == pytest.approx(
        (math.log(2) + math.log(1.5)) / 2
    )


def test_distance_is_symmetric_and_0_of_a_text_to_itself() -> None:
    a, b = np.array([1.0, 2.0, 5.0]), np.array([2.0, 1.0, 1.0])
    assert distance(a, b) == distance(b, a) > 0
    assert distance(a, a) == 0


def test_the_number_of_tokens_does_not_matter() -> None:
    assert distance(EVEN, 1024 * EVEN) == 0


def test_columns_that_are_0_give_a_finite_distance() -> None:
    dead = np.array([0.0, 1.0, 1.0, 1.0])
    assert math.isfinite(distance(dead, EVEN))
    assert distance(np.zeros(4), EVEN) == 0


def test_breadth_counts_tokens_and_averages_tensors() -> None:
    tokens = np.array([[1, 2], [2, 3]], np.int32)
    half = np.array([1.0, 3.0])
    squares = {"a": half, "b": np.ones(2)}
    found = breadth_of(tokens, squares, {"a": np.ones(2), "b": np.ones(2)})
    assert found == Breadth(4, 3, distance(half, np.ones(2)) / 2)


def test_only_a_narrow_text_is_warned_about() -> None:
    assert Breadth(1000, 10, math.nextafter(FAR, 0)).warning is None
    warning = Breadth(1000, 10, FAR).warning
    assert warning is not None
    assert "1000 tokens, 10 of them different" in warning


@pytest.mark.parametrize(
    ("text", "mixture"),
    [({}, {}), ({"a": EVEN}, {"b": EVEN}), ({"a": EVEN}, {"a": np.ones(3)})],
    ids=["no tensors", "other tensors", "other columns"],
)
def test_sums_that_do_not_fit_are_refused(
    text: dict[str, np.ndarray], mixture: dict[str, np.ndarray]
) -> None:
    with pytest.raises(ShapeError):
        breadth_of(np.zeros(4, np.int32), text, mixture)
