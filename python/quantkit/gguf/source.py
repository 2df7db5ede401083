"""What quantkit reads weights from: a GGUF file or a checkpoint, seen the same way.

`convert`, `quantize` and `ppl` all map over a `ModelSource`, so each works on either
kind of input, and a tensor is never larger in memory than the rows that were asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ..types import QuantType

if TYPE_CHECKING:  # the GGUF reader imports this module
    from .keys import Field

__all__ = ["ModelSource", "SourceTensor"]


@dataclass(frozen=True)
class SourceTensor:
    """A tensor that can be read in ranges of rows.

    Attributes:
        name: GGUF name, such as "blk.0.attn_q.weight".
        shape: outermost axis first, row length last (GGUF files store the reverse).
        type: the type in which `read` delivers rows.
        read: `read(start, stop)` gives rows start..stop-1 as uint8 [rows, row_bytes];
            rows count through all axes but the last.  Safe to call from many threads.
    """

    name: str
    shape: tuple[int, ...]
    type: QuantType
    read: Callable[[int, int], NDArray[np.uint8]]

    @property
    def n_cols(self) -> int:
        """Weights in a row."""
        return self.shape[-1]

    @property
    def n_rows(self) -> int:
        """Rows, through all axes but the last."""
        return math.prod(self.shape[:-1])

    @property
    def n_weights(self) -> int:
        """Weights in the tensor."""
        return math.prod(self.shape)


class ModelSource(Protocol):
    """Metadata and tensors of a model, by GGUF names, tensors in file order."""

    @property
    def metadata(self) -> Mapping[str, Field]:
        """Typed metadata by GGUF key."""

    @property
    def tensors(self) -> Mapping[str, SourceTensor]:
        """Tensors by GGUF name, in the order in which a file lists them."""
