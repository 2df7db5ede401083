"""Read importance matrices from GGUF files and legacy .dat files.

    GGUF   NAME.in_sum2 f32 [matrices, cols], NAME.counts f32 [matrices, 1]; newer files
           also have NAME.in_sum, shaped like in_sum2; for metadata see `Contents`
    .dat   number of entries i32
           per entry: length i32, name, calls i32, n i32, f32 [n]
           optional: chunks i32, length i32, name of the text

A .dat file stores mean squares times calls; a call is a chunk.
Source: common/imatrix-loader of llama.cpp.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..files.inputs import open_regular, read_regular
from ..gguf.keys import Field, ValueType
from ..gguf.reader import GGUFFile
from ..gguf.source import SourceTensor
from ..paths import StrPath, as_path
from ..types import QuantType
from .sums import F64, Sums

__all__ = [
    "CHUNK_COUNT",
    "CHUNK_SIZE",
    "COUNTS",
    "DATASETS",
    "N_LAYER_NEXTN",
    "SQUARES",
    "VALUES",
    "Contents",
    "read_contents",
    "read_imatrix",
]

SQUARES, VALUES, COUNTS = ".in_sum2", ".in_sum", ".counts"
DATASETS, CHUNK_COUNT = "imatrix.datasets", "imatrix.chunk_count"
CHUNK_SIZE, N_LAYER_NEXTN = "imatrix.chunk_size", "imatrix.n_layer_nextn"

MAX_COUNT = 2**53
"""The largest count that f64 represents exactly."""


@dataclass(frozen=True)
class Contents:
    """The contents of an imatrix file.

    Attributes:
        sums: the sums by tensor name.
        datasets: the names of the texts.
        chunk_size: tokens per chunk; 0: unknown.
        chunk_count: the number of chunks; 0: unknown.
        n_layer_nextn: the number of multi-token prediction layers at the end.
        is_legacy: the file is a .dat file, whose counts are chunks, not tokens.
    """

    sums: dict[str, Sums]
    datasets: tuple[str, ...] = ()
    chunk_size: int = 0
    chunk_count: int = 0
    n_layer_nextn: int = 0
    is_legacy: bool = False

    def importance(self) -> dict[str, NDArray[np.float32]]:
        """Each tensor's mean squares; see `read_imatrix`."""
        return {name: sums.importance for name, sums in self.sums.items()}


def read_imatrix(path: StrPath) -> dict[str, NDArray[np.float32]]:
    """The importance of every tensor in an imatrix file.

    Args:
        path: a GGUF imatrix, or a legacy .dat file.

    Returns:
        Tensor name -> mean squares, f32 [matrices, cols]; [cols] for a single matrix,
        and [matrices * cols] from a .dat file.  Ones for a matrix (expert) that no
        token reached.

    Raises:
        FormatError: the file is neither, is damaged, or contains NaN or infinities.
    """
    return read_contents(as_path(path, "path")).importance()


def read_contents(path: Path) -> Contents:
    """The contents of a GGUF imatrix or a legacy .dat file.

    Raises:
        FormatError: as for `read_imatrix`.
    """
    if path.is_dir():
        raise FormatError(f"{path} is a folder; expected an importance matrix")
    with open_regular(path) as start:
        is_gguf = start.read(4) == b"GGUF"
    found = _read_gguf(path) if is_gguf else _read_legacy(path)
    for name, sums in found.sums.items():
        is_finite = sums.values is None or np.isfinite(sums.values).all()
        if (
            not is_finite
            or not (sums.squares >= 0).all()
            or sums.squares.max() == np.inf
        ):
            raise FormatError(
                f"{path}: the importance of {name} has a negative or non-finite "
                "number; collect the importance matrix again"
            )
    if not found.sums:
        raise FormatError(
            f"{path} contains no importance; expected an importance matrix, such as "
            "`imatrix` collects from a model and a text"
        )
    return found


def _read_gguf(path: Path) -> Contents:
    with GGUFFile(path) as file:
        names = [n.removesuffix(SQUARES) for n in file.tensors if n.endswith(SQUARES)]
        sums = {name: _sums_of(path, file.tensors, name) for name in names}
        metadata = file.metadata
        file.files.refuse_changed()
    return Contents(
        sums,
        _texts(metadata.get(DATASETS)),
        _number(metadata.get(CHUNK_SIZE)),
        _number(metadata.get(CHUNK_COUNT)),
        _number(metadata.get(N_LAYER_NEXTN)),
    )


def _sums_of(path: Path, tensors: Mapping[str, SourceTensor], name: str) -> Sums:
    squares = _floats(path, tensors[name + SQUARES])
    counts, values = tensors.get(name + COUNTS), tensors.get(name + VALUES)
    if counts is None or counts.n_weights != len(squares):
        raise FormatError(
            f"{path}: {name} has sums of {len(squares)} matrices, but not as many "
            "counts; the file may be incomplete"
        )
    if values is not None and values.shape != tensors[name + SQUARES].shape:
        raise FormatError(
            f"{path}: {values.name} has shape {list(values.shape)}, but {name}"
            f"{SQUARES} has {list(tensors[name + SQUARES].shape)}; they must be equal"
        )
    n = _floats(path, counts).reshape(-1)
    if not ((n >= 0) & (n <= MAX_COUNT)).all():
        raise FormatError(f"{path}: {counts.name} has a number that is not a count")
    return Sums(
        squares,
        None if values is None else _floats(path, values),
        np.rint(n).astype(np.int64),
    )


def _floats(path: Path, tensor: SourceTensor) -> F64:
    if tensor.type is not QuantType.F32:
        raise FormatError(f"{path}: {tensor.name} is {tensor.type.name}; expected F32")
    if not tensor.n_weights:
        raise FormatError(f"{path}: {tensor.name} is empty")
    rows = tensor.read(0, tensor.n_rows)
    return rows.view(np.float32).reshape(-1, tensor.n_cols).astype(np.float64)


def _number(field: Field | None) -> int:
    """A count in the metadata; 0 if it is missing."""
    is_number = field is not None and field.type is ValueType.UINT32
    return int(field.value) if field is not None and is_number else 0


def _texts(field: Field | None) -> tuple[str, ...]:
    if field is None or field.item_type is not ValueType.STRING:
        return ()
    return tuple(map(str, field.value))


def _read_legacy(path: Path) -> Contents:
    data = read_regular(path)
    sums: dict[str, Sums] = {}
    at = 0
    try:
        (n_entries,) = struct.unpack_from("<i", data)
        if n_entries < 1:
            raise ValueError("there is no entry")
        at = 4
        for _ in range(n_entries):
            (length,) = struct.unpack_from("<i", data, at)
            name = struct.unpack_from(f"<{length}s", data, at + 4)[0].decode()
            n_calls, n_values = struct.unpack_from("<iI", data, at + 4 + length)
            at += 12 + length
            values = np.frombuffer(data, "<f4", n_values, at).astype(np.float64)
            if not n_values:
                raise ValueError(f"no values for {name!r}")
            counts = np.array([max(n_calls, 1)], np.int64)
            sums[name] = Sums(values.reshape(1, -1), None, counts)
            at += 4 * n_values
        n_chunks, texts = _end_of(data, at)
    except (struct.error, ValueError):
        raise FormatError(
            f"{path} is neither a GGUF file nor a complete legacy imatrix file: there "
            f"is no valid entry at byte {at} of {len(data)}; it may be incomplete"
        ) from None
    return Contents(sums, texts, chunk_count=n_chunks, is_legacy=True)


def _end_of(data: bytes, at: int) -> tuple[int, tuple[str, ...]]:
    """The optional number of chunks and name of the text at the end of a .dat file.

    Raises:
        struct.error: they are incomplete.
    """
    if at == len(data):
        return 0, ()
    (n_chunks,) = struct.unpack_from("<i", data, at)
    if at + 4 == len(data):
        return n_chunks, ()
    (length,) = struct.unpack_from("<i", data, at + 4)
    (name,) = struct.unpack_from(f"<{max(length, 0)}s", data, at + 8)
    return n_chunks, (name.decode(errors="replace"),) if name else ()
