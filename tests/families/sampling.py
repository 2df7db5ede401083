"""Which cases the default run takes of tests that take long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["one_in_four"]

MARKS = (pytest.mark.slow, pytest.mark.exhaustive)


def one_in_four(values: Iterable[Any]) -> list[Any]:
    """Parameters of a test that takes long: every fourth runs by default.

    Every eighth is a slow test, and the others are exhaustive ones.
    """
    marks: list[tuple[pytest.MarkDecorator, ...]] = [(), MARKS, MARKS, MARKS] * 2
    marks[1] = (pytest.mark.slow,)
    return [
        pytest.param(value, id=getattr(value, "name", value), marks=marks[number % 8])
        for number, value in enumerate(values)
    ]
