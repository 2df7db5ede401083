"""Which cases the default run takes of tests that take long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["one_in_four"]

MARKS = (pytest.mark.slow, pytest.mark.exhaustive)


def one_in_four(values: Iterable[Any]) -> list[Any]:
    """Parameters of a test that takes long: every fourth runs by default.

    The others are exhaustive tests.
    """
    return [
        pytest.param(
            value, id=getattr(value, "name", value), marks=MARKS if number % 4 else ()
        )
        for number, value in enumerate(values)
    ]
