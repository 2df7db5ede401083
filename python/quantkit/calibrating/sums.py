"""Sums over the inputs of matrices: what the solver needs to know of a text.

A *site* is an input that one or several parts share.  Its sums run over the tokens of
the calibration text in a fixed order.  Each row of a sum has one owner, so the sums do
not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._device import DeviceSums
from .._native import gram
from ..execution.workers import Workers
from ..forward.base import F32
from .capturing import Input, Part

__all__ = [
    "F64",
    "PIECE_ROWS",
    "Found",
    "Rows",
    "Sums",
    "add_products",
    "add_rows",
    "found_in",
    "products",
    "sites_of",
]

F64 = NDArray[np.float64]

PIECE_ROWS = 256
"""Rows of a sum that are one piece of work."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The input of a site for some tokens, one row for each.

    Attributes:
        seen: what the solved matrix will see: f32 [n, n_cols].
        exact: what the unquantized model has at the same tokens; the same array if
            there is one stream only.
        lag: how far the residual stream is behind that of the unquantized model, for
            matrices that add to it: f32 [n, width]; None: for others.
    """

    seen: F32
    exact: F32
    lag: F32 | None = None

    def __len__(self) -> int:
        return len(self.seen)

    def __getitem__(self, index: slice | NDArray[np.bool_]) -> Rows:
        """Some of the rows."""
        seen = self.seen[index]
        exact = seen if self.exact is self.seen else self.exact[index]
        return Rows(seen, exact, None if self.lag is None else self.lag[index])

    @classmethod
    def joined(cls, rows: Sequence[Rows]) -> Rows:
        """The rows of several sequences, one after the other."""
        seen = np.concatenate([each.seen for each in rows])
        is_one = all(each.exact is each.seen for each in rows)
        exact = seen if is_one else np.concatenate([each.exact for each in rows])
        lags = [each.lag for each in rows if each.lag is not None]
        return cls(seen, exact, np.concatenate(lags) if lags else None)


@dataclass(frozen=True, eq=False)
class Found:
    """The input of a site in a sequence.

    Attributes:
        rows: the rows; row i is of token `tokens[i]`.
        tokens: [n]; None: of all tokens.
    """

    rows: Rows
    tokens: NDArray[np.intp] | None

    @property
    def later(self) -> Rows:
        """The rows of all tokens but the first of the sequence."""
        has_first = len(self.rows) and (self.tokens is None or self.tokens[0] == 0)
        return self.rows[1:] if has_first else self.rows

    def chosen(self, which: NDArray[np.bool_]) -> Rows:
        """The rows of the tokens for which `which` [tokens] is true."""
        return self.rows[which if self.tokens is None else which[self.tokens]]


@dataclass(eq=False)
class Sums:
    """The sums of a site.

    Attributes:
        n_cols: the number of inputs.
        n_tokens: the number of rows that were summed.
        squares: the sum of seen seen^T, upper triangle: f64 [n_cols, n_cols].
        cross: the sum of exact seen^T; None: as `squares`.
        lag: the sum of lag seen^T: f64 [width, n_cols]; None: without lag.
    """

    n_cols: int
    n_tokens: int = 0
    squares: F64 = field(init=False)
    cross: F64 | None = None
    lag: F64 | None = None

    def __post_init__(self) -> None:
        self.squares = np.zeros((self.n_cols, self.n_cols))

    def prepare(self, rows: Rows) -> None:
        """Allocate the sums that such rows need."""
        if self.cross is None and rows.exact is not rows.seen:
            self.cross = np.zeros((self.n_cols, self.n_cols))
        if self.lag is None and rows.lag is not None:
            self.lag = np.zeros((rows.lag.shape[1], self.n_cols))

    def add(self, other: Sums) -> None:
        """Add the sums over other rows."""
        self.n_tokens += other.n_tokens
        self.squares += other.squares
        self.cross = _added_to(self.cross, other.cross)
        self.lag = _added_to(self.lag, other.lag)

    def __reduce__(self) -> tuple[Any, ...]:
        parts = [self.squares[at:stop, at:] for at, stop in _ranges(self.n_cols)]
        return _sums_of, (self.n_cols, self.n_tokens, parts, self.cross, self.lag)

    def copy(self) -> Sums:
        """The same sums in other arrays."""
        other = Sums(self.n_cols, self.n_tokens)
        other.squares = self.squares.copy()
        other.cross = None if self.cross is None else self.cross.copy()
        other.lag = None if self.lag is None else self.lag.copy()
        return other


def _sums_of(
    n_cols: int,
    n_tokens: int,
    parts: Sequence[F64],
    cross: F64 | None,
    lag: F64 | None,
) -> Sums:
    """Sums from other processes, which send nothing of what is left of the diagonal."""
    sums = Sums(n_cols, n_tokens, cross, lag)
    for (at, stop), part in zip(_ranges(n_cols), parts, strict=True):
        sums.squares[at:stop, at:] = part
    return sums


def _ranges(n_cols: int) -> list[tuple[int, int]]:
    """The rows of each piece of a sum: from, to."""
    return [(at, at + PIECE_ROWS) for at in range(0, n_cols, PIECE_ROWS)]


def _added_to(sum: F64 | None, other: F64 | None) -> F64 | None:
    """A sum and another one; None: 0."""
    if sum is None or other is None:
        return other if sum is None else sum
    sum += other
    return sum


@dataclass(frozen=True, eq=False)
class Product:
    """Rows first..first+count-1 of a^T b."""

    a: F32
    b: F32
    into: F64
    first: int
    is_upper: bool

    @property
    def count(self) -> int:
        """The number of rows."""
        return min(PIECE_ROWS, int(self.a.shape[1]) - self.first)


def multiplied(piece: Product) -> F64:
    """The rows of a product: f64 [count, columns of b]."""
    return gram(piece.a, piece.b, piece.first, piece.count, upper=piece.is_upper)


def add_products(
    pieces: Iterable[Product], workers: Workers, factor: float = 1
) -> None:
    """Add products, each multiplied by a factor, to the sums that they belong to."""
    for piece, product in workers.in_order(multiplied, pieces):
        if factor != 1:
            product *= factor
        piece.into[piece.first : piece.first + piece.count] += product


def add_rows(
    sums: Iterable[tuple[Sums, Rows]],
    workers: Workers,
    device: DeviceSums | None = None,
) -> None:
    """Add rows to the sums of several sites.

    Args:
        sums: the sums, and what is added.
        workers: sum some rows at a time.
        device: where sums are until its `finish`, as far as there is room; None: in
            main memory.  The sums do not depend on it.
    """

    def left() -> Iterator[Product]:
        for each, rows in sums:
            added = list(_added(each, rows))
            if added and (device is None or not device.add(added)):
                yield from added

    add_products(left(), workers)


def _added(sums: Sums, rows: Rows) -> Iterator[Product]:
    if not len(rows):
        return
    sums.prepare(rows)
    sums.n_tokens += len(rows)
    yield from products(rows, sums.squares, sums.cross, sums.lag)


def products(
    rows: Rows, squares: F64, cross: F64 | None, lag: F64 | None
) -> Iterator[Product]:
    """The products of rows that belong to the sums of a site."""
    yield from _pieces(rows.seen, rows.seen, squares, is_upper=True)
    if cross is not None:
        yield from _pieces(rows.exact, rows.seen, cross)
    if lag is not None and rows.lag is not None:
        yield from _pieces(rows.lag, rows.seen, lag)


def _pieces(a: F32, b: F32, into: F64, *, is_upper: bool = False) -> Iterator[Product]:
    for first in range(0, a.shape[1], PIECE_ROWS):
        yield Product(a, b, into, first, is_upper)


def sites_of(inputs: dict[Part, Input]) -> dict[Part, list[Part]]:
    """The parts that share an input, by the first of them that was multiplied."""
    first: dict[int, Part] = {}
    sites: dict[Part, list[Part]] = {}
    for part, found in inputs.items():
        leader = first.setdefault(id(found.values), part)
        sites.setdefault(leader, []).append(part)
    return sites


def found_in(seen: Input, exact: Input | None, lag: F32 | None) -> Found:
    """The input of a site in one sequence.

    Args:
        seen: its input in the stream that is solved for.
        exact: that in the unquantized stream, or the same; None: no token of it has
            reached the site.
        lag: of the residual stream [tokens, width], for matrices that add to it.
    """
    values = np.ascontiguousarray(seen.values)
    other = values if exact is seen else _aligned(seen, values, exact)
    return Found(Rows(values, other, lag), seen.tokens)


def _aligned(own: Input, values: F32, exact: Input | None) -> F32:
    """The unquantized stream's inputs at the same tokens.

    Where an expert was not chosen there, they are the rounded stream's.
    """
    if exact is not None and (own.tokens is None or exact.tokens is None):
        return np.ascontiguousarray(exact.values, np.float32)
    aligned: F32 = values.copy()
    if exact is None or own.tokens is None or exact.tokens is None:
        return aligned
    _, here, there = np.intersect1d(
        own.tokens, exact.tokens, assume_unique=True, return_indices=True
    )
    aligned[here] = exact.values[there]
    return aligned
