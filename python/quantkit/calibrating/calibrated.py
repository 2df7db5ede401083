"""The result of a calibration: roundings that return the bytes that were solved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..execution.carried import Carried
from ..gguf.importance import Importance
from ..gguf.source import SourceTensor
from ..quantizing.rounding import NearestRoundings, Rounding
from ..types import QuantType
from .gain import Gain
from .store import Store

__all__ = ["Calibrated", "StoredRounding", "keeping"]

F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class StoredRounding:
    """Returns rows that were solved before, from a file; see `Rounding`.

    Attributes:
        path: the file of the tensor's rows.
        first: the first of them that this rounding returns.
        importance: the weight of errors in each column; None: all equal.
    """

    path: Path
    first: int
    importance: F32 | None

    def quantized(
        self, rows: F32, type: QuantType, start: int = 0
    ) -> NDArray[np.uint8]:
        """See `Rounding.quantized`; `rows` give only the shape.

        Raises:
            OutputError: the file is not there any more, or is too short.
        """
        row_bytes = type.row_bytes(rows.shape[1])
        return _read_rows(self.path, self.first + start, len(rows), row_bytes)


@dataclass(frozen=True, eq=False)
class SentRounding:
    """Returns rows that were solved before, on a machine that has no file of them.

    Attributes:
        rows: all rows of the tensor: uint8 [rows, row bytes].
        first, importance: as in `StoredRounding`.
    """

    rows: Carried[NDArray[np.uint8]]
    first: int
    importance: F32 | None

    def quantized(
        self, rows: F32, type: QuantType, start: int = 0
    ) -> NDArray[np.uint8]:
        """See `Rounding.quantized`; `rows` give only their number."""
        first = self.first + start
        return self.rows.value[first : first + len(rows)]


@dataclass(frozen=True, eq=False)
class Calibrated:
    """The roundings of a calibrated model; see `Roundings`.

    A context manager, because the solved rows are in files: leaving it removes them,
    unless it is left by an interruption such as Ctrl-C, so that the next run goes on.

    Attributes:
        gains: by name, the tensors that were calibrated.
        importance: by name of tensor, the mean squares of its inputs on the calibration
            text, where the caller gave no importance; and what the caller gave.
        store: the folder of these files.
        device: the number of the CUDA device that rounds tensors that were not
            calibrated; None: the CPU.
        is_sent: the rows are sent to other machines, which may not have the folder.
    """

    gains: Mapping[str, Gain]
    importance: Importance
    store: Store
    device: int | None = None
    is_sent: bool = False

    @property
    def identity(self) -> str:
        """A hash of everything that determines the solved rows."""
        return self.store.identity

    def of(self, tensor: SourceTensor) -> Sequence[Rounding]:
        """The solved rows of a tensor; `Nearest` for one that was not calibrated.

        Raises:
            ShapeError: the importance does not match the tensor's shape.
        """
        nearest = NearestRoundings(self.importance, self.device).of(tensor)
        path = self.store.paths.get(tensor.name)
        if path is None:
            return nearest
        n_share = tensor.n_rows // len(nearest)
        if self.is_sent:
            rows = self.carried(tensor)
            return [
                SentRounding(rows, i * n_share, each.importance)
                for i, each in enumerate(nearest)
            ]
        return [
            StoredRounding(path.absolute(), i * n_share, each.importance)
            for i, each in enumerate(nearest)
        ]

    def carried(self, tensor: SourceTensor) -> Carried[NDArray[np.uint8]]:
        """The solved rows of a tensor: uint8 [rows, row bytes], read when needed."""
        path = self.store.paths[tensor.name].absolute()
        row_bytes = self.gains[tensor.name].type.row_bytes(tensor.n_cols)
        return Carried(read=partial(_read_rows, path, 0, tensor.n_rows, row_bytes))

    def all_carried(
        self, tensors: Mapping[str, SourceTensor]
    ) -> dict[str, Carried[NDArray[np.uint8]]]:
        """The same of all calibrated tensors, by name."""
        return {name: self.carried(tensors[name]) for name in self.store.paths}

    def close(self) -> None:
        """Remove the files of the solved rows."""
        self.store.remove()

    def __enter__(self) -> Calibrated:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.store.leave(kind)


def _read_rows(
    path: Path, first: int, n_rows: int, row_bytes: int
) -> NDArray[np.uint8]:
    try:
        skipped = first * row_bytes
        found = np.fromfile(path, np.uint8, n_rows * row_bytes, offset=skipped)
    except OSError as error:
        raise OutputError(f"cannot read calibrated rows: {error}") from error
    if found.size != n_rows * row_bytes:
        raise OutputError(f"{path} was changed: it lacks calibrated rows")
    return found.reshape(n_rows, row_bytes)


@contextmanager
def keeping(store: Store) -> Iterator[None]:
    """Leave a store if the block fails; see `Calibrated`.

    Raises:
        KeyboardInterrupt: its message says how to go on.
    """
    try:
        yield
    except KeyboardInterrupt as stopped:
        store.leave(KeyboardInterrupt)
        raise KeyboardInterrupt(*filter(None, [store.remedy(str(stopped))])) from None
    except BaseException as error:
        store.leave(type(error))
        raise
