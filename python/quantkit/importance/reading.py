"""Importance matrices from files: GGUF, and the older .dat.

    GGUF   NAME.in_sum2 f32 [matrices, cols], NAME.counts f32 [matrices, 1], and in
           newer files NAME.in_sum as in_sum2; the metadata in `Contents`
    .dat   entries i32 | per entry: length i32, name, calls i32, n i32, f32 [n]
           and from there on optional: chunks i32, length i32, name of the text

A .dat file holds means of squares times calls, a call being a chunk.
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
"""What f64 counts exactly."""


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Attributes:
        sums: by name of the tensor.
        datasets: the texts that it was made from.
        chunk_size: tokens of a chunk; 0: the file does not say.
        chunk_count: how many chunks there were, as the file says; 0: it does not.
        n_layer_nextn: how many of the last layers predict tokens further ahead.
        is_legacy: it is a .dat file, so that rows are whole chunks.
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
        By tensor name, f32 [matrices, cols] ([cols] of one matrix, and of any in a .dat
        file): mean squares, or ones for a matrix (an expert) that no token reached.

    Raises:
        FormatError: the file is neither, is damaged, or holds NaN or infinities.
    """
    return read_contents(as_path(path, "path")).importance()


def read_contents(path: Path) -> Contents:
    """All of a file, a GGUF imatrix or a legacy .dat file.

    Raises:
        FormatError: as `read_imatrix`.
    """
    with path.open("rb") as start:
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
                f"{path}: the importance of {name} holds a number that is not finite "
                "or is negative; collect the importance matrix anew"
            )
    if not found.sums:
        raise FormatError(f"{path} holds no importance; is it an imatrix file?")
    return found


def _read_gguf(path: Path) -> Contents:
    with GGUFFile(path) as file:
        names = [n.removesuffix(SQUARES) for n in file.tensors if n.endswith(SQUARES)]
        sums = {name: _sums_of(path, file.tensors, name) for name in names}
        metadata = file.metadata
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
            f"{path}: sums of {len(squares)} matrices without as many counts; the file "
            "may be incomplete"
        )
    if values is not None and values.shape != tensors[name + SQUARES].shape:
        raise FormatError(
            f"{path}: {values.name} has shape {list(values.shape)}, and {name}"
            f"{SQUARES} {list(tensors[name + SQUARES].shape)}; they must be equal"
        )
    n = _floats(path, counts).reshape(-1)
    if not ((n >= 0) & (n <= MAX_COUNT)).all():
        raise FormatError(f"{path}: {counts.name} holds a number that counts nothing")
    return Sums(
        squares,
        None if values is None else _floats(path, values),
        np.rint(n).astype(np.int64),
    )


def _floats(path: Path, tensor: SourceTensor) -> F64:
    if tensor.type is not QuantType.F32:
        raise FormatError(
            f"{path}: {tensor.name} is {tensor.type.name}; an imatrix holds F32"
        )
    if not tensor.n_weights:
        raise FormatError(f"{path}: {tensor.name} is empty")
    rows = tensor.read(0, tensor.n_rows)
    return rows.view(np.float32).reshape(-1, tensor.n_cols).astype(np.float64)


def _number(field: Field | None) -> int:
    """A count in the metadata; 0 where it is absent."""
    is_number = field is not None and field.type is ValueType.UINT32
    return int(field.value) if field is not None and is_number else 0


def _texts(field: Field | None) -> tuple[str, ...]:
    if field is None or field.item_type is not ValueType.STRING:
        return ()
    return tuple(map(str, field.value))


def _read_legacy(path: Path) -> Contents:
    data = path.read_bytes()
    sums: dict[str, Sums] = {}
    at = 0
    try:
        (n_entries,) = struct.unpack_from("<i", data)
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
        n_chunks, texts = _end_of(data[at:])
    except (struct.error, ValueError):
        raise FormatError(
            f"{path} is neither a GGUF file nor a whole legacy imatrix: of its "
            f"{len(data)} bytes those from {at} on are no entry; it may be incomplete"
        ) from None
    return Contents(sums, texts, chunk_count=n_chunks, is_legacy=True)


def _end_of(data: bytes) -> tuple[int, tuple[str, ...]]:
    """Chunks, and the name of the text, where a .dat file has one or both.

    Raises:
        struct.error: it has half of them.
    """
    if not data:
        return 0, ()
    (n_chunks,) = struct.unpack_from("<i", data)
    if len(data) == 4:
        return n_chunks, ()
    (length,) = struct.unpack_from("<i", data, 4)
    (name,) = struct.unpack_from(f"<{max(length, 0)}s", data, 8)
    return n_chunks, (name.decode(errors="replace"),) if name else ()
