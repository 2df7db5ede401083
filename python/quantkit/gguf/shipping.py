"""A model whose files are on another machine: rows are fetched when they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..types import QuantType
from .layout import row_length
from .source import ModelSource, Rows, SourceTensor

if TYPE_CHECKING:  # the GGUF reader imports this module
    from .keys import Field

__all__ = ["Ask", "Description", "ShippedSource", "described"]

FETCHED_BYTES = 4 << 20
"""The most bytes that are fetched at a time, about a slab; but one row at least."""


class Ask(Protocol):
    """Asks a process that has the files."""

    def __call__(self, name: str = "", start: int = 0, stop: int = 0) -> Any:
        """Rows start..stop-1 of a tensor; without a name the `Description`."""


@dataclass(frozen=True)
class Description:
    """A source without its weights.

    Attributes:
        metadata: its metadata.
        tensors: name, shape and type of each tensor, in order.
    """

    metadata: Mapping[str, Field]
    tensors: Sequence[tuple[str, tuple[int, ...], QuantType]]


def described(source: ModelSource) -> Description:
    """The description of a source."""
    tensors = source.tensors.values()
    return Description(
        dict(source.metadata), [(each.name, each.shape, each.type) for each in tensors]
    )


class ShippedSource:
    """See `ModelSource`.

    Args:
        ask: asks a process that has the files.
    """

    def __init__(self, ask: Ask) -> None:
        found: Description = ask()
        self.metadata = found.metadata
        self.tensors = {
            name: SourceTensor(
                name, shape, type, partial(_fetched, ask, name, type, shape)
            )
            for name, shape, type in found.tensors
        }


def _fetched(
    ask: Ask, name: str, type: QuantType, shape: tuple[int, ...], start: int, stop: int
) -> Rows:
    """Rows of a tensor, fetched range by range."""
    row_bytes = type.row_bytes(row_length(shape))
    step = max(1, FETCHED_BYTES // max(1, row_bytes))
    rows = np.empty((stop - start, row_bytes), np.uint8)
    for first in range(start, stop, step):
        last = min(first + step, stop)
        rows[first - start : last - start] = ask(name, first, last)
    return rows
