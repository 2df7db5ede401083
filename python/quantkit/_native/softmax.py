"""The softmax of rows of logits, computed tile by tile."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from .arguments import DOUBLE, FLOAT, TOKEN
from .places import ROW, Place, Runner, place_of

__all__ = ["Rows", "add_logits", "compare_logits", "new_rows"]

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Rows = NDArray[np.void]
"""The state of each row: fields total, top, highest and wanted; see quantkit_ops.h."""

_LAST_TOKEN = 2**63 - 1


def new_rows(n: int) -> Rows:
    """n rows before their first logit; the target's logit is NaN until it is added."""
    return np.array((0, 0, -np.inf, np.nan), ROW).repeat(n)


def add_logits(
    logits: F32, start: int, targets: I64, rows: Rows, backend: Runner
) -> None:
    """Add the logits [n, tokens] of the tokens from `start` on to the rows.

    A target that is no token of any tile leaves `wanted` NaN.

    Raises:
        ShapeError: an array does not fit; targets and rows are [n].
    """
    at = place_of(backend)
    tile, data, _known = _tile(at, logits, start, targets)
    state = at.states("rows", rows, int(tile.n_rows))
    at.run("add_logits", _sizes(logits), tile, data, state)


def compare_logits(
    logits: F32,
    base_logits: F32,
    start: int,
    targets: I64,
    rows: tuple[Rows, Rows],
    excess: NDArray[np.float64],
    backend: Runner,
) -> None:
    """Add the logits of a model and its base to their rows.

    Args:
        logits, base_logits: [n, tokens] of the tokens from `start` on.
        start: the first token of this tile.
        targets: [n], the actual tokens; see `add_logits`.
        rows: the rows of the model and of the base.
        excess: [n], becomes the sum of exp(b - highest of the base) * (b - l) over the
            base's logits b and the model's logits l.
        backend: the backend to use.

    Raises:
        ShapeError: an array does not fit.
    """
    at = place_of(backend)
    tile, data, _known = _tile(at, logits, start, targets)
    n = int(tile.n_rows)
    base_data, (stride,) = at.strided(FLOAT, "base logits", base_logits, logits.shape)
    if stride != tile.stride:
        raise ShapeError(
            f"the logits of a model and its base have rows {tile.stride} and {stride} "
            "numbers apart; expected the same"
        )
    at.run(
        "compare_logits",
        _sizes(logits),
        tile,
        data,
        base_data,
        at.states("rows", rows[0], n),
        at.states("rows of the base", rows[1], n),
        at.written(DOUBLE, "excess", excess, (n,)),
    )


def _tile(
    at: Place, logits: F32, start: int, targets: I64
) -> tuple[Any, object, object]:
    """The tile as a C struct, and the memory of its logits and of its targets."""
    n, n_tokens = at.shape_of("logits", logits, 2)
    if not 0 <= start <= _LAST_TOKEN - n_tokens:
        raise ShapeError(f"a tile of logits starts at token {start}")
    data, (stride,) = at.strided(FLOAT, "logits", logits, (n, n_tokens))
    tile = at.new("qk_tile")
    tile.n_rows, tile.n_cols, tile.stride, tile.first = n, n_tokens, stride, start
    known = at.read(TOKEN, "targets", targets, (n,))
    tile.targets = known
    return tile, data, known


def _sizes(logits: F32) -> str:
    return f"logits {list(logits.shape)}, strides {list(logits.strides)}"
