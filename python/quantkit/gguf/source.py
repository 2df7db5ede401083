"""What quantkit reads weights from: a GGUF file or a checkpoint, seen the same way.

`convert`, `quantize` and `ppl` all map over a `ModelSource`, so each works on either
kind of input, and a tensor is never larger in memory than the rows that were asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..execution.opened import Opener, opened
from ..files.identity import files_identity
from ..types import QuantType

if TYPE_CHECKING:  # the GGUF reader imports this module
    from .keys import Field

__all__ = ["ModelSource", "SourceOpener", "SourceTensor", "opener_of"]

Rows = NDArray[np.uint8]


@dataclass(frozen=True)
class SourceTensor:
    """A tensor that can be read in ranges of rows.

    Attributes:
        name: GGUF name, such as "blk.0.attn_q.weight".
        shape: outermost axis first, row length last (GGUF files store the reverse).
        type: the type in which `read` delivers rows.
        read: `read(start, stop)` gives rows start..stop-1 as uint8 [rows, row_bytes];
            rows count through all axes but the last.  Safe to call from many threads.

    Pickled, a tensor that was `opened_by` something is read in the source that this
    opens; others cannot be pickled.
    """

    name: str
    shape: tuple[int, ...]
    type: QuantType
    read: Callable[[int, int], Rows]

    def opened_by(self, opener: Opener[ModelSource]) -> SourceTensor:
        """The tensor of a source which other processes can open, too."""
        return replace(self, read=_RowsHere(self, opener))

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


@dataclass(frozen=True)
class SourceOpener:
    """Opens a source in another process, if its files are as they were.

    Attributes:
        kind: the class of the source.
        arguments: those that it was made with.
        paths: the files that it was read from.
        state: of those, see `files_identity`.
    """

    kept: ClassVar[int] = 8

    kind: Callable[..., ModelSource]
    arguments: tuple[tuple[str, Hashable], ...]
    paths: tuple[Path, ...]
    state: str

    @classmethod
    def of(
        cls,
        kind: Callable[..., ModelSource],
        paths: tuple[Path, ...],
        **arguments: Hashable,
    ) -> SourceOpener:
        """How to open what `kind(**arguments)` made from some files."""
        return cls(kind, tuple(arguments.items()), paths, files_identity(paths))

    def open(self) -> ModelSource:
        """The source.

        Raises:
            FormatError: a file changed since it was opened first.
        """
        if files_identity(self.paths) != self.state:
            names = ", ".join(map(str, self.paths))
            raise FormatError(f"{names} changed while it was in use; start again")
        return self.kind(**dict(self.arguments))


def opener_of(source: ModelSource) -> Opener[ModelSource] | None:
    """How another process opens a source; None: it cannot."""
    opener: Opener[ModelSource] | None = getattr(source, "opener", None)
    return opener


@dataclass(frozen=True, eq=False)
class _RowsHere:
    """Reads a tensor of a source that is open in this process."""

    tensor: SourceTensor
    opener: Opener[ModelSource]

    def __call__(self, start: int, stop: int) -> Rows:
        return self.tensor.read(start, stop)

    def __reduce__(self) -> tuple[Any, ...]:
        tensor = self.tensor
        parts = tensor.name, tensor.shape, tensor.type, self.opener
        return _RowsElsewhere, parts


@dataclass(frozen=True)
class _RowsElsewhere:
    """Reads a tensor in another process, which opens the source when it is asked to."""

    name: str
    shape: tuple[int, ...]
    type: QuantType
    opener: Opener[ModelSource]

    def __call__(self, start: int, stop: int) -> Rows:
        tensor = opened(self.opener).tensors.get(self.name)
        if tensor is None or (tensor.shape, tensor.type) != (self.shape, self.type):
            raise FormatError(
                f"the model changed while it was read: expected a tensor {self.name} "
                f"of shape {list(self.shape)} and type {self.type.name}"
            )
        return tensor.read(start, stop)
