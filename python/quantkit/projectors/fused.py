"""Fused matrices, cut into equal parts."""

from __future__ import annotations

import numpy as np

from ..checkpoint.lazy import LazyTensor, taken
from ..errors import CheckpointError

__all__ = ["halves", "thirds"]


def halves(source: str, tensor: LazyTensor) -> list[LazyTensor]:
    """The two halves of the rows of a tensor.

    Args:
        source: the tensor's name, for messages.
        tensor: a matrix, or a bias.

    Raises:
        CheckpointError: it has an odd number of rows.
    """
    return _parts(source, tensor, 2, "two parts of the same size")


def thirds(source: str, tensor: LazyTensor) -> list[LazyTensor]:
    """Queries, keys and values of a fused projection; see `halves`.

    Raises:
        CheckpointError: its rows do not form three parts of the same size.
    """
    return _parts(source, tensor, 3, "queries, keys and values")


def _parts(source: str, tensor: LazyTensor, n: int, what: str) -> list[LazyTensor]:
    """n parts of the rows."""
    n_rows = tensor.shape[0]
    if n_rows % n:
        raise CheckpointError(f"{source!r} has {n_rows} rows, which do not form {what}")
    size = n_rows // n
    return [taken(tensor, np.arange(at, at + size)) for at in range(0, n_rows, size)]
