"""The sums of chunks so far, saved to a file so that a stopped run can resume it.

Sums are exact (see `exact`), so it does not matter which chunks were added before
which, or whether some were added elsewhere.

The file is a NumPy archive, replaced atomically: JSON that describes the sums, and the
concatenated sums.  Matrices with the same input, such as those of queries, keys and
values, have equal sums, which are there once.  Only a run with the same model, the same
first chunks and the same version of quantkit resumes from it.

    about   {"of": hash, "shard": of a shard, see `shard_files`,
             "tensors": [[name, matrices, cols, number of its sums], ...],
             "terms": of each of the different sums, the number of terms}
    sums    f64 [terms, squares and values, matrices, cols] of each
    counts  int64 [matrices] of each tensor
    nll     f64 [chunks, scored tokens]
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile
from zlib import error

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, OutputError
from ..files.identity import hash_pieces
from ..files.inputs import open_regular
from ..files.whole_file import replace_file
from ..gguf.source import SourceTensor
from ..importance.sums import F64, I64, Sums
from ..settings import COUNT, LIST, OBJECT, SIZE, TEXT, checked, list_of
from . import exact
from .observing import ChunkSums

__all__ = ["Totals", "holds_sums", "read_totals", "refuse_foreign"]

ENTRY = b"about.npy"
"""The name of the first entry of the archive, at byte 30 of the file."""

EXPERTS = ("_exps.weight", "_chexps.weight")
"""The name suffix of tensors whose matrices each see only some of the tokens."""


def refuse_foreign(path: Path) -> None:
    """Refuse to replace a file that does not hold sums.

    Raises:
        OutputError: the file exists and holds something else.
    """
    if path.exists() and path.stat().st_size and not holds_sums(path):
        raise OutputError(
            f"`save` keeps the sums of a stopped run, but {path} holds something else; "
            "name another file (the matrix itself is written by "
            "`ImportanceMatrix.save`)"
        )


def holds_sums(path: Path) -> bool:
    """Whether a file begins as `Totals.save` writes it."""
    with open_regular(path) as file:
        start = file.read(30 + len(ENTRY))
    return start.startswith(b"PK") and start.endswith(ENTRY)


class Totals:
    """The sums of chunks.

    Args:
        tensors: the model's tensors by name.

    Attributes:
        n_chunks: the number of added chunks.
        nll: the negative log likelihoods of each chunk's scored tokens.
    """

    def __init__(self, tensors: Mapping[str, SourceTensor]) -> None:
        self._tensors = tensors
        self._terms: dict[str, list[F64]] = {}  # [squares and values, matrices, cols]
        self._counts: dict[str, I64] = {}
        self.nll: list[F64] = []
        self.n_chunks = 0

    def add(self, chunk: ChunkSums, nll: Sequence[F64]) -> None:
        """Add the sums of some chunks, and the likelihoods of each."""
        for (name, matrix), found in chunk.items():
            if name not in self._terms:
                shape = self._tensors[name].shape
                self._begin(name, math.prod(shape[:-2]), shape[-1])
            own = np.stack((found.squares, found.values))
            exact.add(self._terms[name], own, (slice(None), matrix))
            self._counts[name][matrix] += found.count
        self.nll += nll
        self.n_chunks += len(nll)

    def join(self, other: Totals) -> None:
        """Add the sums of other chunks of the same model; not the likelihoods."""
        for name, terms in other._terms.items():
            if name not in self._terms:
                self._begin(name, *terms[0].shape[1:])
            for term in terms:
                exact.add(self._terms[name], term)
            self._counts[name] += other._counts[name]
        self.n_chunks += other.n_chunks

    def _begin(self, name: str, n_matrices: int, n_cols: int) -> None:
        self._terms[name] = [np.zeros((2, n_matrices, n_cols), np.float64)]
        self._counts[name] = np.zeros(n_matrices, np.int64)

    def finished(self) -> dict[str, Sums]:
        """The sums so far, in the form of imatrix files.

        Each expert has its own count.  All heads of a tensor see every token, so they
        become one matrix.
        """
        found = {}
        for name, terms in self._terms.items():
            sums, counts = exact.rounded(terms), self._counts[name]
            if not name.endswith(EXPERTS):
                sums, counts = sums.reshape(2, 1, -1), counts[:1]
            found[name] = Sums(sums[0].copy(), sums[1].copy(), counts.copy())
        return found

    def __eq__(self, other: object) -> bool:
        """Whether the sums of the same chunks are equal."""
        if not isinstance(other, Totals):
            return NotImplemented
        one, two = self.finished(), other.finished()
        pairs = zip(self.nll, other.nll, strict=False)
        is_same = self.n_chunks == other.n_chunks and one == two
        return is_same and all(np.array_equal(a, b) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Tensor name -> matrices, cols."""
        return {name: terms[0].shape[1:] for name, terms in self._terms.items()}

    def save(self, path: Path, of: str, shard: Mapping[str, Any] | None = None) -> None:
        """Save the sums so far.

        Args:
            path: the file; a link is replaced, not followed.
            of: a hash of everything that determines the sums.
            shard: what describes the run of a shard.

        Raises:
            OutputError: the file cannot be written.
        """
        which: dict[str, int] = {}
        different: list[list[F64]] = []
        tensors = []
        for name, terms in self._terms.items():
            content = hash_pieces(term.tobytes() for term in terms)
            key = f"{content} {terms[0].shape}"
            if key not in which:
                which[key] = len(different)
                different.append(terms)
            tensors.append([name, *terms[0].shape[1:], which[key]])
        n_terms = [*map(len, different)]
        about: dict[str, Any] = {"of": of, "tensors": tensors, "terms": n_terms}
        if shard is not None:
            about["shard"] = shard
        file = io.BytesIO()
        np.savez(
            file,
            about=np.frombuffer(json.dumps(about).encode(), np.uint8),
            sums=_flat([term for terms in different for term in terms], np.float64),
            counts=_flat([*self._counts.values()], np.int64),
            nll=np.stack(self.nll) if self.nll else np.empty((0, 0)),
        )
        replace_file(path, file.getvalue())

    def recall(self, path: Path, of: Sequence[str]) -> None:
        """Load saved sums if they are intact and belong to this run.

        Args:
            path: the file.
            of: the hashes that `save` would use, by the number of chunks.
        """
        try:
            about, found = read_totals(path)
        except (FileNotFoundError, FormatError):
            return
        if found.n_chunks < len(of) and about["of"] == of[found.n_chunks]:
            self._terms, self._counts = found._terms, found._counts
            self.nll, self.n_chunks = found.nll, found.n_chunks


def read_totals(path: Path) -> tuple[dict[str, Any], Totals]:
    """What `Totals.save` saved: what describes it, and the sums.

    Raises:
        FormatError: the file is damaged, or another one.
        FileNotFoundError: it is not there.
    """
    try:
        with (
            io.BufferedReader(open_regular(path)) as file,
            np.load(file, allow_pickle=False) as kept,
        ):
            about = json.loads(kept["about"].tobytes())
            arrays = [kept[name] for name in ("sums", "counts", "nll")]
    except (BadZipFile, EOFError, KeyError, NotImplementedError, ValueError, error):
        raise FormatError(
            f"{path} is damaged, or holds no sums of activations"
        ) from None
    checked(about, OBJECT, str(path))
    found = Totals({})
    _fill(found, about, arrays, path)
    return dict(about), found


def _fill(
    totals: Totals, about: Mapping[str, Any], arrays: Sequence[NDArray[Any]], path: Path
) -> None:
    """Put saved sums in place.

    Raises:
        FormatError: a value is missing, or cannot be right.
    """
    checked(about.get("of"), TEXT, f"{path}: of")
    n_terms = checked(about.get("terms"), list_of(SIZE), f"{path}: terms")
    tensors = checked(about.get("tensors"), list_of(LIST), f"{path}: tensors")
    sums, counts, nll = arrays
    types = [array.dtype for array in arrays]
    if types != [np.float64, np.int64, np.float64] or nll.ndim != 2:
        raise FormatError(f"{path}: the sums have other types than expected")
    if not (np.isfinite(sums).all() and np.isfinite(nll).all() and (counts >= 0).all()):
        raise FormatError(f"{path}: sums are not finite, or counts are negative")
    different: list[list[F64]] = []
    for name, n_matrices, n_cols, which in map(partial(_tensor, path=path), tensors):
        shape, is_new = (2, n_matrices, n_cols), which == len(different)
        if is_new and which < len(n_terms):
            own, sums = _split(sums.reshape(-1), n_terms[which] * math.prod(shape))
            if own.size:
                different.append([*own.reshape(n_terms[which], *shape)])
        if which >= len(different) or different[which][0].shape != shape:
            raise FormatError(f"{path}: the sums of tensor {name} are missing")
        totals._terms[name] = [term.copy() for term in different[which]]
        own, counts = _split(counts.reshape(-1), n_matrices)
        if len(own) < n_matrices:
            raise FormatError(f"{path}: the counts of tensor {name} are missing")
        totals._counts[name] = own.copy()
    if sums.size or counts.size or len(different) < len(n_terms):
        raise FormatError(f"{path}: there are more sums than tensors")
    totals.nll, totals.n_chunks = list(nll), len(nll)


def _tensor(found: Sequence[Any], path: Path) -> tuple[str, int, int, int]:
    """Name, matrices, cols and number of the sums of a tensor."""
    kinds = TEXT, SIZE, SIZE, COUNT
    if len(found) != len(kinds):
        raise FormatError(f"{path}: tensors has {found}")
    name, *numbers = map(checked, found, kinds, [f"{path}: tensors"] * len(kinds))
    return (name, *numbers)


def _split(array: NDArray[Any], n: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The first n items, or none if there are fewer; and the others."""
    return (array[:n], array[n:]) if n <= array.size else (array[:0], array)


def _flat(arrays: Sequence[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *(each.ravel() for each in arrays)])
