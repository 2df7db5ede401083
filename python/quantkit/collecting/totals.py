"""The sums of all chunks so far, saved to a file so that a stopped run can resume.

The file is a NumPy archive, replaced atomically: JSON that describes the sums, and the
concatenated sums.  Only a run with the same model, the same first chunks and the same
version of quantkit resumes from it.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..files.inputs import open_regular
from ..files.whole_file import replace_file
from ..gguf.source import SourceTensor
from ..importance.sums import F64, I64, Sums
from .observing import ChunkSums

__all__ = ["Totals", "refuse_foreign"]

ENTRY = b"about.npy"
"""The name of the first entry of the archive, at byte 30 of the file."""

EXPERTS = ("_exps.weight", "_chexps.weight")
"""The name suffix of tensors whose matrices each see only some of the tokens."""


def refuse_foreign(path: Path) -> None:
    """Refuse to replace a file that does not hold sums.

    Raises:
        OutputError: the file exists and holds something else.
    """
    try:
        with open_regular(path) as file:
            start = file.read(30 + len(ENTRY))
    except FileNotFoundError:
        return
    if start and not (start.startswith(b"PK") and start.endswith(ENTRY)):
        raise OutputError(
            f"`save` keeps the sums of a stopped run, but {path} holds something else; "
            "name another file (the matrix itself is written by "
            "`ImportanceMatrix.save`)"
        )


class Totals:
    """The sums of chunks, added in order.

    Args:
        tensors: the model's tensors by name.

    Attributes:
        n_chunks: the number of added chunks.
        nll: the negative log likelihoods of each chunk's scored tokens.
    """

    def __init__(self, tensors: Mapping[str, SourceTensor]) -> None:
        self._tensors = tensors
        self._sums: dict[str, F64] = {}  # [squares and values, matrices, cols]
        self._counts: dict[str, I64] = {}
        self.nll: list[F64] = []
        self.n_chunks = 0

    def add(self, chunk: ChunkSums, nll: Sequence[F64]) -> None:
        """Add the sums of some chunks, and the likelihoods of each."""
        for (name, matrix), found in chunk.items():
            if name not in self._sums:
                self._begin(name)
            self._sums[name][0, matrix] += found.squares
            self._sums[name][1, matrix] += found.values
            self._counts[name][matrix] += found.count
        self.nll += nll
        self.n_chunks += len(nll)

    def _begin(self, name: str) -> None:
        shape = self._tensors[name].shape
        n_matrices = math.prod(shape[:-2])
        self._sums[name] = np.zeros((2, n_matrices, shape[-1]), np.float64)
        self._counts[name] = np.zeros(n_matrices, np.int64)

    def finished(self) -> dict[str, Sums]:
        """The sums so far, in the form of imatrix files.

        Each expert has its own count.  All heads of a tensor see every token, so they
        become one matrix.
        """
        found = {}
        for name, sums in self._sums.items():
            counts = self._counts[name]
            if not name.endswith(EXPERTS):
                sums, counts = sums.reshape(2, 1, -1), counts[:1]
            found[name] = Sums(sums[0].copy(), sums[1].copy(), counts.copy())
        return found

    def save(self, path: Path, of: str) -> None:
        """Save the sums so far.

        Args:
            path: the file; a link is replaced, not followed.
            of: a hash of everything that determines the sums.

        Raises:
            OutputError: the file cannot be written.
        """
        file = io.BytesIO()
        about = json.dumps({"of": of, "tensors": list(self._sums)}).encode()
        np.savez(
            file,
            about=np.frombuffer(about, np.uint8),
            sums=np.concatenate([sums.ravel() for sums in self._sums.values()]),
            counts=np.concatenate(list(self._counts.values())),
            nll=np.stack(self.nll),
        )
        replace_file(path, file.getvalue())

    def recall(self, path: Path, of: Sequence[str]) -> None:
        """Load saved sums if they are intact and belong to this run.

        Args:
            path: the file.
            of: the hashes that `save` would use, by the number of chunks.
        """
        try:
            with (
                io.BufferedReader(open_regular(path)) as file,
                np.load(file, allow_pickle=False) as kept,
            ):
                about = json.loads(kept["about"].tobytes())
                sums, counts, nll = kept["sums"], kept["counts"], kept["nll"]
        except (BadZipFile, EOFError, FileNotFoundError, KeyError, ValueError):
            return
        if len(nll) >= len(of) or about["of"] != of[len(nll)]:
            return
        for name in about["tensors"]:
            self._begin(name)
            sums = _taken(self._sums[name], sums)
            counts = _taken(self._counts[name], counts)
        self.nll, self.n_chunks = list(nll), len(nll)


def _taken(into: NDArray[Any], start: NDArray[Any]) -> NDArray[Any]:
    """Fill `into` from the start of an array, and return the rest of that array."""
    into[:] = start[: into.size].reshape(into.shape)
    return start[into.size :]
