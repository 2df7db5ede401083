"""Bring rows to what was chosen for them, such as experts, and back.

On a device, the numbers of rows are waited for once, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .base import F32
from .engines import on_host

__all__ = ["Routes", "by_number"]

Places = NDArray[np.intp]


def by_number(chosen: Places, count: int) -> Iterator[tuple[int, Places]]:
    """Each number below `count` that is chosen, and its flat places in order.

    Negative numbers are left out.
    """
    places, ends = _sorted(chosen, count)
    for number, (start, stop) in enumerate(pairwise(ends)):
        if start < stop:
            yield number, places[start:stop]


def _sorted(chosen: Places, count: int) -> tuple[Places, list[int]]:
    """The flat places by the numbers there, and where those of each number start."""
    flat = chosen.reshape(-1)
    places = np.argsort(flat, kind="stable")
    numbers = np.arange(count + 1, like=flat)
    return places, on_host(np.searchsorted(flat[places], numbers)).tolist()


@dataclass(frozen=True)
class Routes:
    """The rows that experts get of tokens: those of each expert side by side.

    Attributes:
        tokens: the token of each row.
        places: its flat place among the chosen experts [n, used].
        parts: the experts that were chosen, and their rows.
        used: the number of experts of a token.
    """

    tokens: Places
    places: Places
    parts: tuple[tuple[int, slice], ...]
    used: int

    @classmethod
    def of(cls, chosen: Places, count: int) -> Routes:
        """The routes to the chosen ones [n, used] of so many experts.

        Raises:
            FormatError: an expert is chosen that is not there.
        """
        used = chosen.shape[1]
        places, ends = _sorted(chosen, count)
        if (ends[0], ends[-1]) != (0, len(places)):
            raise FormatError(f"the model chooses experts beyond its {count}")
        parts = tuple(
            (number, slice(start, stop))
            for number, (start, stop) in enumerate(pairwise(ends))
            if start < stop
        )
        return cls(places // used, places, parts, used)

    def back(self, made: F32) -> F32:
        """The sum of each token's rows of made [n * used, width]: [n, width].

        It is that in the order of the experts' numbers.
        """
        row = np.empty_like(self.places)
        row[self.places] = np.arange(len(row), like=row)
        rows = np.sort(row.reshape(-1, self.used), axis=1)
        total = np.zeros_like(made, shape=(len(rows), made.shape[1]))
        for own in rows.T:
            total += made[own]
        return total
