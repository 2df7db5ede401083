"""Results that compare by value, including arrays and NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from .display import Displayed

__all__ = ["ByValue"]


class ByValue(Displayed):
    """A base class of frozen dataclasses, `@dataclass(frozen=True, eq=False)`.

    Two objects are equal if they have the same class and equal fields.  Arrays are
    equal if shape, dtype and all items are, and NaN (unknown) equals NaN.  So a result
    equals its copy, also after pickling.  Like arrays, results have no hash.
    """

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        compared = (f.name for f in fields(self) if f.compare)  # type: ignore[arg-type]
        return all(_equal(getattr(self, n), getattr(other, n)) for n in compared)

    __hash__ = None  # type: ignore[assignment]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return _equal_arrays(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        same_keys = one.keys() == other.keys()
        return same_keys and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and type(one) is type(other):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other)


def _equal_arrays(one: Any, other: Any) -> bool:
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return False
    are_floats = one.dtype.kind == "f"
    return one.dtype == other.dtype and np.array_equal(one, other, are_floats)
