"""Name the tensor whose weights make a model predict NaN."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from .._native import native_types
from ..arrays.rows import dequantize_rows
from ..errors import NonFiniteError
from ..gguf.source import ModelSource, refuse_changed
from ..quantizing.slabs import slabs_of

__all__ = ["damage_named"]


@contextmanager
def damage_named(source: ModelSource) -> Iterator[None]:
    """Add the first tensor that is not finite to the errors of the block.

    All weights are read only after such an error.

    Raises:
        FormatError: the source has changed meanwhile.
        NonFiniteError: as in the block, with the tensor, the row and the column.
    """
    try:
        yield
    except NonFiniteError as error:
        refuse_changed(source)
        cause = _first_damage(source) or "all weights are finite, but products overflow"
        raise NonFiniteError(f"{error} ({cause})") from error


def _first_damage(source: ModelSource) -> str | None:
    """The first weight that is NaN or infinite, for messages."""
    for tensor in source.tensors.values():
        if tensor.type not in native_types():
            continue  # integers
        for slab in slabs_of(tensor, tensor.type):
            rows = dequantize_rows(slab.convert(), tensor.type, tensor.n_cols)
            for row, column in np.argwhere(~np.isfinite(rows))[:1]:
                return (
                    f"tensor {tensor.name!r} holds {rows[row, column]} at row "
                    f"{slab.start + row}, column {column}: convert or download the "
                    "model again"
                )
    return None
