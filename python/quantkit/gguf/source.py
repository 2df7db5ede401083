"""The common interface of models: GGUF files and checkpoints.

`convert`, `quantize` and `ppl` all read a `ModelSource`, so each accepts both.  Only
the requested rows of a tensor are in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..display import Displayed
from ..errors import FormatError, QuantkitError
from ..execution.opened import Opener, opened
from ..files.identity import files_identity
from ..files.open_files import OpenFiles
from ..settings import shown
from ..types import QuantType
from .layout import row_length

if TYPE_CHECKING:  # the GGUF reader imports this module
    from .keys import Field

__all__ = [
    "ModelSource",
    "SourceTensor",
    "identity_of",
    "opener_of",
    "refuse_changed",
    "unchanged",
]

Rows = NDArray[np.uint8]


@dataclass(frozen=True)
class SourceTensor(Displayed):
    """A tensor that can be read in ranges of rows.

    Attributes:
        name: GGUF name, such as "blk.0.attn_q.weight".
        shape: outermost axis first, row length last (GGUF files store the reverse);
            () for one number.
        type: the type of the rows that `read` returns.
        read: `read(start, stop)` returns rows start..stop-1 as uint8 [rows, row_bytes];
            rows are counted through all axes but the last.  Safe to call from several
            threads.

    Tensors of files can be pickled: another process opens the files again.  Others can
    if `read` can.
    """

    name: str
    shape: tuple[int, ...]
    type: QuantType
    read: Callable[[int, int], Rows]

    def __reduce__(self) -> tuple[Any, ...]:
        if "<" in getattr(self.read, "__qualname__", ""):  # of a lambda or a closure
            raise QuantkitError(
                f"tensor {shown(self.name)} is read by a function that other processes "
                "cannot import; use threads instead of processes"
            )
        return SourceTensor, (self.name, self.shape, self.type, self.read)

    def opened_by(self, opener: Opener[ModelSource]) -> SourceTensor:
        """The same tensor, made picklable: other processes open its source."""
        return replace(self, read=_RowsHere(self, opener))

    @property
    def n_cols(self) -> int:
        """The number of weights in a row."""
        return row_length(self.shape)

    @property
    def n_rows(self) -> int:
        """The number of rows, counted through all axes but the last."""
        return math.prod(self.shape[:-1])

    @property
    def n_weights(self) -> int:
        """The number of weights in the tensor."""
        return math.prod(self.shape)


class ModelSource(Protocol):
    """Metadata and tensors of a model, with GGUF names."""

    @property
    def metadata(self) -> Mapping[str, Field]:
        """Typed metadata by GGUF key."""

    @property
    def tensors(self) -> Mapping[str, SourceTensor]:
        """Tensors by GGUF name, in the order of a GGUF file."""


def opener_of(source: ModelSource) -> Opener[ModelSource] | None:
    """The opener of a source, or None if other processes cannot open it."""
    opener: Opener[ModelSource] | None = getattr(source, "opener", None)
    return opener


def identity_of(source: ModelSource) -> str:
    """The paths, sizes and times of the files that a source has open, as a string."""
    files: OpenFiles | None = getattr(source, "files", None)
    if files is None:
        return files_identity(getattr(source, "paths", ()))
    return files.identity


def refuse_changed(source: ModelSource) -> None:
    """Check that the files of a source have not changed since it was opened.

    A GGUF file or shard may be replaced by another file, because the opened one is read
    on; then the results are those of the opened one.

    Raises:
        FormatError: a file was written to or truncated, or the disk failed.
    """
    files: OpenFiles | None = getattr(source, "files", None)
    if files is not None:
        files.refuse_changed()


@contextmanager
def unchanged(*sources: ModelSource) -> Iterator[None]:
    """Check sources after work on them, even if it failed: a change may be why.

    Raises:
        FormatError: as for `refuse_changed`.
    """
    try:
        yield
    except QuantkitError:
        for source in sources:
            refuse_changed(source)
        raise
    for source in sources:
        refuse_changed(source)


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
    """Reads a tensor in another process, which opens the source on the first read."""

    name: str
    shape: tuple[int, ...]
    type: QuantType
    opener: Opener[ModelSource]

    def __call__(self, start: int, stop: int) -> Rows:
        tensor = opened(self.opener).tensors.get(self.name)
        if tensor is None or (tensor.shape, tensor.type) != (self.shape, self.type):
            raise FormatError(
                f"the model changed while it was read: expected a tensor {self.name!r} "
                f"of shape {list(self.shape)} and type {self.type.name}"
            )
        return tensor.read(start, stop)
