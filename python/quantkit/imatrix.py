"""Importance matrices as llama-imatrix writes them: GGUF files and the older .dat.

For every matrix of weights such a file holds how large the activations of each column
were on a calibration text: the sum of their squares, and how many there were.  The
mean square is the importance that quantizers weigh errors with.
Source: tools/imatrix and common/imatrix-loader of llama.cpp.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError
from .gguf.reader import GGUFFile
from .source import SourceTensor
from .types import QuantType

__all__ = ["read_imatrix"]

F32 = NDArray[np.float32]

SUMS, COUNTS = ".in_sum2", ".counts"


def read_imatrix(path: str | Path) -> dict[str, F32]:
    """The importance of every tensor in an imatrix file.

    Args:
        path: a GGUF imatrix, or a legacy .dat file.

    Returns:
        By tensor name, f32 [matrices, cols] (flat from a .dat file): mean squares, or
        ones for a matrix (an expert) that no token reached.

    Raises:
        FormatError: the file is neither, is damaged, or holds NaN or infinities.
    """
    file = Path(path)
    with file.open("rb") as start:
        is_gguf = start.read(4) == b"GGUF"
    entries = _read_gguf(file) if is_gguf else _read_legacy(file)
    for name, importance in entries.items():
        if not np.isfinite(importance).all() or (importance < 0).any():
            raise FormatError(
                f"{file}: the importance of {name} holds a number that is not finite "
                "or is negative; collect the importance matrix anew"
            )
    if not entries:
        raise FormatError(f"{file} holds no importance; is it an imatrix file?")
    return entries


def _read_gguf(path: Path) -> dict[str, F32]:
    with GGUFFile(path) as file:
        tensors = file.tensors
        return {
            name.removesuffix(SUMS): _mean_squares(
                path,
                _floats(path, tensor),
                tensors.get(name.removesuffix(SUMS) + COUNTS),
            )
            for name, tensor in tensors.items()
            if name.endswith(SUMS)
        }


def _floats(path: Path, tensor: SourceTensor) -> F32:
    if tensor.type is not QuantType.F32:
        raise FormatError(
            f"{path}: {tensor.name} is {tensor.type.name}; an imatrix holds F32"
        )
    rows = tensor.read(0, tensor.n_rows)
    return rows.view(np.float32).reshape(-1, tensor.n_cols)


def _mean_squares(path: Path, sums: F32, counts: SourceTensor | None) -> F32:
    if counts is None or counts.n_weights != len(sums):
        raise FormatError(
            f"{path}: sums of {len(sums)} matrices without as many counts; the file "
            "may be incomplete"
        )
    n = _floats(path, counts).reshape(-1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(n > 0, sums / n, np.float32(1))


def _read_legacy(path: Path) -> dict[str, F32]:
    data = path.read_bytes()
    entries: dict[str, F32] = {}
    try:
        (n_entries,) = struct.unpack_from("<i", data)
        at = 4
        for _ in range(n_entries):
            (length,) = struct.unpack_from("<i", data, at)
            name = struct.unpack_from(f"<{length}s", data, at + 4)[0].decode()
            n_calls, n_values = struct.unpack_from("<iI", data, at + 4 + length)
            at += 12 + length
            values = np.frombuffer(data, "<f4", n_values, at).astype(np.float32)
            entries[name] = values / np.float32(max(n_calls, 1))
            at += 4 * n_values
    except (struct.error, ValueError) as error:
        raise FormatError(
            f"{path} is neither a GGUF file nor a whole legacy imatrix: {error}"
        ) from None
    return entries
