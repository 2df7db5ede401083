"""Lazy stacks of matrices with the rows of two others; see lazy.py."""

from __future__ import annotations

import numpy as np

from ..errors import CheckpointError
from .lazy import LazyTensor, joined, reshaped, taken

__all__ = ["by_rows"]


def by_rows(
    first: LazyTensor, second: LazyTensor, name: str, *, alternate: bool = False
) -> LazyTensor:
    """The rows of matrices [n, rows, columns], each followed by those of another.

    Args:
        first: matrices, or vectors [n, rows].
        second: the others.
        name: of the first in the checkpoint, for messages.
        alternate: let rows alternate.

    Raises:
        CheckpointError: the shapes or types do not fit.
    """
    if len(first.shape) == len(second.shape) == 2:
        one, other = (reshaped(x, (*x.shape, 1)) for x in (first, second))
        both = by_rows(one, other, name, alternate=alternate)
        return reshaped(both, both.shape[:2])
    _check_pair(first, second, name, alternate=alternate)
    (n, a, n_cols), b = first.shape, second.shape[1]
    flat = [reshaped(x, (n * x.shape[1], n_cols)) for x in (first, second)]
    rows = [np.arange(n * a).reshape(n, a), n * a + np.arange(n * b).reshape(n, b)]
    order = np.stack(rows, axis=2) if alternate else np.concatenate(rows, axis=1)
    return reshaped(taken(joined(flat), order.ravel()), (n, a + b, n_cols))


def _check_pair(
    first: LazyTensor, second: LazyTensor, name: str, *, alternate: bool
) -> None:
    (n, a, n_cols), (m, b, n_others) = (
        x.shape if len(x.shape) == 3 else (0, 0, 0) for x in (first, second)
    )
    kinds = (n, n_cols, first.type), (m, n_others, second.type)
    if not n or kinds[0] != kinds[1] or (alternate and a != b):
        raise CheckpointError(
            f"tensor {name!r} is {first.type.name} {list(first.shape)}, and the one "
            f"that belongs to it {second.type.name} {list(second.shape)}; they do not "
            "fit together: download the checkpoint again"
        )
