"""Write importance matrices to files as llama-imatrix does; see `reading` for layouts.

A GGUF file also has NAME.stats for every tensor: the 12 numbers named in `SCHEMA` (see
`statistics`).  Source: tools/imatrix of llama.cpp, b11434.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import NonFiniteError
from ..files.whole_file import write_whole
from ..gguf.keys import Field, ValueType, array, string, uint32
from ..gguf.layout import TensorSpec
from ..gguf.writer import GGUFWriter
from ..types import QuantType
from .reading import (
    CHUNK_COUNT,
    CHUNK_SIZE,
    COUNTS,
    DATASETS,
    N_LAYER_NEXTN,
    SQUARES,
    VALUES,
    Contents,
)
from .statistics import SCHEMA, Statistics, TensorStatistics
from .sums import Sums

__all__ = ["refuse_too_large", "write_gguf", "write_legacy"]

F32 = NDArray[np.float32]


def write_gguf(path: Path, matrix: Contents, statistics: Statistics) -> None:
    """Write a GGUF file.

    Raises:
        OutputError: the file cannot be written; no partial file is left.
    """
    tensors = dict(_tensors(matrix, statistics))
    specs = [TensorSpec(name, x.shape, QuantType.F32) for name, x in tensors.items()]
    with GGUFWriter(path, _metadata(matrix), specs) as writer:
        for name, values in tensors.items():
            writer.write(name, values.view(np.uint8))


def _metadata(matrix: Contents) -> Mapping[str, Field]:
    nextn = matrix.n_layer_nextn
    return {
        "general.type": string("imatrix"),
        DATASETS: array(ValueType.STRING, matrix.datasets),
        CHUNK_COUNT: uint32(matrix.chunk_count),
        CHUNK_SIZE: uint32(matrix.chunk_size),
        **({N_LAYER_NEXTN: uint32(nextn)} if nextn else {}),
        "imatrix.stats_schema": array(ValueType.STRING, SCHEMA),
    }


def _tensors(matrix: Contents, statistics: Statistics) -> Iterator[tuple[str, F32]]:
    """All tensors in order; a single matrix is written with one axis."""
    found = {each.name: each for each in statistics.tensors}
    for name, sums in sorted(matrix.sums.items()):
        yield name + SQUARES, _axes(sums.squares.astype(np.float32))
        yield name + COUNTS, _axes(sums.counts.astype(np.float32)[:, None])
        if sums.values is not None:
            yield name + VALUES, _axes(sums.values.astype(np.float32))
        yield name + ".stats", _stats(found.get(name))


def _axes(values: F32) -> F32:
    return values if len(values) > 1 else values[0]


def _stats(found: TensorStatistics | None) -> F32:
    """The numbers in the order of `SCHEMA`; zeros for a tensor without tokens."""
    if found is None:
        return np.zeros(len(SCHEMA), np.float32)
    return np.array([getattr(found, key) for key in SCHEMA], np.float32)


def refuse_too_large(sums: Mapping[str, Sums]) -> None:
    """Refuse sums that overflow f32, which files and quantizers use.

    Raises:
        NonFiniteError: a sum is NaN or too large, or a sum of squares is negative.
    """
    largest = np.finfo(np.float32).max
    for name, own in sums.items():
        if not own.squares.min(initial=0) >= 0:
            raise NonFiniteError(
                f"tensor {name}: a sum of squares is {own.squares.min():g}; expected "
                "no negative number and no NaN; collect the importance matrix again"
            )
        for kept in (own.squares, own.values):
            if kept is not None and not np.abs(kept).max(initial=0) <= largest:
                raise NonFiniteError(
                    f"tensor {name}: a sum of {np.abs(kept).max():g} is too large for "
                    "32-bit floats, which quantizers and imatrix files use; the "
                    "model's activations are out of range, so check the model"
                )


def write_legacy(path: Path, matrix: Contents) -> None:
    """Write a .dat file, without tensors that no token reached.

    Raises:
        OutputError: the file cannot be written; no partial file is left.
    """
    entries = [
        _legacy_entry(name, sums, matrix.chunk_size)
        for name, sums in sorted(matrix.sums.items())
        if sums.counts.any()
    ]
    named = matrix.datasets[-1] if matrix.datasets else ""
    dataset = named.encode(errors="surrogateescape")
    end = struct.pack("<ii", matrix.chunk_count, len(dataset)) + dataset
    write_whole(path, b"".join([struct.pack("<i", len(entries)), *entries, end]))


def _legacy_entry(name: str, sums: Sums, chunk_size: int) -> bytes:
    """Means times calls, each step in f32; ones for experts without tokens."""
    n_calls = -(-int(sums.counts.max()) // chunk_size)
    values = np.atleast_2d(sums.importance) * np.float32(n_calls)
    raw = name.encode()
    head = struct.pack(f"<i{len(raw)}sii", len(raw), raw, n_calls, values.size)
    return b"".join([head, values.astype("<f4").tobytes()])
