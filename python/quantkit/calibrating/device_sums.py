"""Sums over the inputs of matrices, computed on a device.

As in the core, tokens are summed 256 at a time in f32, and these sums in f64.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..forward.base import F32
from ..inference.computing import Computing
from ..inference.device_matrix import Products
from .sums import F64, Rows, Sums

__all__ = ["add_rows_there"]

Array = Any
"""An array on the device."""

TOKENS = 256
"""Tokens that are summed in f32."""

PIECE_ROWS = 2048
"""Rows of a sum that a device holds at a time."""


def add_rows_there(sums: Iterable[tuple[Sums, Rows]], computing: Computing) -> None:
    """Add rows to the sums of several sites, by the first device."""
    card = computing.cards[0]
    for each, rows in sums:
        if not len(rows):
            continue
        each.prepare(rows)
        each.n_tokens += len(rows)
        with card.current():
            seen = _pieces(rows.seen, card)
            _add(seen, seen, each.squares, card, is_upper=True)
            if each.cross is not None:
                _add(_pieces(rows.exact, card), seen, each.cross, card)
            if each.lag is not None and rows.lag is not None:
                _add(_pieces(rows.lag, card), seen, each.lag, card)


def _pieces(x: F32, card: Any) -> list[Array]:
    """The transpose of x [tokens, n] on a device, so many tokens at a time."""
    there = card.to_device(np.ascontiguousarray(x, np.float32))
    parts = (there[i : i + TOKENS] for i in range(0, len(x), TOKENS))
    return [np.ascontiguousarray(part.T, np.float32, like=part) for part in parts]


def _add(
    a: list[Array], b: list[Array], into: F64, card: Any, *, is_upper: bool = False
) -> None:
    """Add a^T b, of which only the upper triangle may be wanted."""
    n_rows = a[0].shape[0]
    for first in range(0, n_rows, PIECE_ROWS):
        last = min(first + PIECE_ROWS, n_rows)
        start = first if is_upper else 0
        total = None
        for left, right in zip(a, b, strict=True):
            x, w = left[first:last], right[start:]
            product = card.empty((last - first, w.shape[0]), np.float32)
            card.multiply(x, w, product, Products.F32, None)
            wide = product.astype(np.float64)
            total = wide if total is None else total + wide
        into[first:last, start:] += card.to_host(total)
