"""The sums of all chunks so far, which a file keeps for a run that was killed.

The file is a NumPy archive that replaces the one before in one step: JSON that says
what the sums are of, and all of them one after the other.  It is taken up only by a run
over the same model that starts with the same chunks, by the same version of quantkit.
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

from ..files.whole_file import write_whole
from ..gguf.source import SourceTensor
from ..importance.sums import F64, I64, Sums
from .observing import ChunkSums

__all__ = ["Totals"]

EXPERTS = "_exps.weight"
"""How the names of tensors end whose matrices see a part of the tokens each."""


class Totals:
    """The sums of chunks, added in the order in which they come.

    Args:
        tensors: of the model, by name.

    Attributes:
        n_chunks: how many chunks were added.
        nll: of each, the negative log likelihoods of its scored tokens.
    """

    def __init__(self, tensors: Mapping[str, SourceTensor]) -> None:
        self._tensors = tensors
        self._sums: dict[str, F64] = {}  # [squares and values, matrices, cols]
        self._counts: dict[str, I64] = {}
        self.nll: list[F64] = []
        self.n_chunks = 0

    def add(self, chunk: ChunkSums, nll: F64) -> None:
        """Add the sums of a chunk."""
        for (name, matrix), found in chunk.items():
            if name not in self._sums:
                self._begin(name)
            self._sums[name][0, matrix] += found.squares
            self._sums[name][1, matrix] += found.values
            self._counts[name][matrix] += found.count
        self.nll.append(nll)
        self.n_chunks += 1

    def _begin(self, name: str) -> None:
        shape = self._tensors[name].shape
        n_matrices = math.prod(shape[:-2])
        self._sums[name] = np.zeros((2, n_matrices, shape[-1]), np.float64)
        self._counts[name] = np.zeros(n_matrices, np.int64)

    def finished(self) -> dict[str, Sums]:
        """The sums so far, as files have them.

        Experts are counted each; the heads of a tensor see every token all of them, and
        are one matrix.
        """
        found = {}
        for name, sums in self._sums.items():
            counts = self._counts[name]
            if not name.endswith(EXPERTS):
                sums, counts = sums.reshape(2, 1, -1), counts[:1]
            found[name] = Sums(sums[0].copy(), sums[1].copy(), counts.copy())
        return found

    def save(self, path: Path, of: str) -> None:
        """Keep the sums so far.

        Args:
            path: the file.
            of: what they depend on.

        Raises:
            OutputError: it cannot be written.
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
        write_whole(path, file.getvalue())

    def recall(self, path: Path, of: Sequence[str]) -> None:
        """Take up the sums that a file keeps, if they are whole and of this.

        Args:
            path: the file.
            of: what the sums of so many chunks depend on, by their number.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
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
    """Fill an array from the start of another, and give what is left of that."""
    into[:] = start[: into.size].reshape(into.shape)
    return start[into.size :]
