"""An importance matrix: sums over the activations of each tensor of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..by_value import ByValue
from ..errors import FormatError, OptionError
from ..integers import as_integer
from ..paths import StrPath, as_path, listed
from ..perplexity_result import PerplexityResult
from .reading import Contents, read_contents
from .statistics import Statistics, statistics_of
from .sums import Sums
from .writing import refuse_too_large, write_gguf, write_legacy

__all__ = ["DEFAULT_CHUNK_SIZE", "ImportanceMatrix", "check_name"]

DEFAULT_CHUNK_SIZE = 512


@dataclass(frozen=True, eq=False)
class ImportanceMatrix(ByValue):
    """How large the activations of each column of each weight matrix are.

    Attributes:
        sums: by tensor name.
        chunk_size: tokens per chunk.
        datasets: the names of the texts.
        n_layer_nextn: number of multi-token-prediction layers at the end.
        perplexity: of the model on the text, if measured.
        origin: name of the matrix in messages.

    Example:
        >>> matrix = qk.imatrix("model.gguf", Path("wiki.txt"))  # doctest: +SKIP
        >>> matrix.save("imatrix.gguf")  # doctest: +SKIP
        >>> qk.quantize_file(  # doctest: +SKIP
        ...     "model.gguf", "q2.gguf", "Q2_K", importance=matrix
        ... )
    """

    sums: Mapping[str, Sums]
    chunk_size: int = DEFAULT_CHUNK_SIZE
    datasets: tuple[str, ...] = ()
    n_layer_nextn: int = 0
    perplexity: PerplexityResult | None = field(default=None, compare=False)
    origin: str = field(default="an importance matrix", compare=False)

    @classmethod
    def load(
        cls, path: StrPath, chunk_size: int = DEFAULT_CHUNK_SIZE
    ) -> ImportanceMatrix:
        """Load the importance matrix in a file.

        Args:
            path: a GGUF imatrix, or a legacy .dat file.
            chunk_size: tokens per chunk, if the file does not state it.

        Raises:
            FormatError: the file is neither, is damaged, or contains NaN or infinities.
        """
        return cls.load_merged([path], chunk_size)

    @classmethod
    def load_merged(
        cls, paths: StrPath | Sequence[StrPath], chunk_size: int = DEFAULT_CHUNK_SIZE
    ) -> ImportanceMatrix:
        """Load and merge the importance matrices in several files; see `merged`.

        Args:
            paths: GGUF imatrix files and legacy .dat files.
            chunk_size: tokens per chunk, if no file states it.

        Raises:
            FormatError: as in `load` and `merged`.
        """
        named = [as_path(path, "paths") for path in listed(paths)]
        chunk_size = as_integer(chunk_size, "chunk_size", 1)
        files = [(str(path), read_contents(path)) for path in named]
        size = next((f.chunk_size for _, f in files if f.chunk_size), chunk_size)
        return cls.merged(*(cls._of(name, found, size) for name, found in files))

    @classmethod
    def _of(cls, origin: str, found: Contents, chunk_size: int) -> ImportanceMatrix:
        sums = found.sums
        if found.is_legacy:  # its counts are chunks
            sums = {name: each.times(chunk_size) for name, each in sums.items()}
        size, nextn = found.chunk_size or chunk_size, found.n_layer_nextn
        return cls(sums, size, found.datasets, nextn, origin=origin)

    @classmethod
    def merged(cls, *matrices: ImportanceMatrix) -> ImportanceMatrix:
        """Merge matrices into that of one run over all their texts.

        Sums and counts are added; tensors may be missing in some matrices.  The chunk
        size is that of the first matrix, the perplexity the first that is known.

        Raises:
            OptionError: there are no matrices, or one is something else.
            FormatError: the matrices have different columns for a tensor.
        """
        if not matrices:
            raise OptionError("there is no importance matrix to merge")
        for matrix in matrices:
            if not isinstance(matrix, cls):
                raise OptionError(
                    f"`matrices` has an item of type {type(matrix).__name__}; expected "
                    "ImportanceMatrix objects; `load_merged` takes paths"
                )
        sums: dict[str, Sums] = {}
        for matrix in matrices:
            for name, own in matrix.sums.items():
                try:
                    sums[name] = sums[name].plus(own) if name in sums else own
                except FormatError as error:
                    raise FormatError(
                        f"{matrix.origin} does not fit the others: tensor {name}: "
                        f"{error}; merge matrices of one model only"
                    ) from None
        return cls(
            sums,
            matrices[0].chunk_size,
            tuple(text for matrix in matrices for text in matrix.datasets),
            max(matrix.n_layer_nextn for matrix in matrices),
            next((m.perplexity for m in matrices if m.perplexity), None),
            ", ".join(matrix.origin for matrix in matrices),
        )

    @property
    def n_rows(self) -> int:
        """The largest count of all tensors: the number of tokens in the text."""
        return max((int(s.counts.max()) for s in self.sums.values()), default=0)

    @property
    def chunk_count(self) -> int:
        """The number of chunks, rounded, as in llama-imatrix."""
        return (self.n_rows + self.chunk_size // 2) // self.chunk_size

    @property
    def unreached(self) -> dict[str, int]:
        """Tensor name -> its number of matrices (experts) without tokens, if any."""
        zeros = {name: int((s.counts == 0).sum()) for name, s in self.sums.items()}
        return {name: n for name, n in zeros.items() if n}

    def importance(self) -> dict[str, NDArray[np.float32]]:
        """The mean squares of each tensor, for parameters called `importance`.

        Returns:
            By tensor name, f32 [matrices, cols], or [cols] for one matrix.  A matrix
            (an expert) without tokens has ones.  `read_imatrix` returns the same for
            the file that `save` writes.

        Raises:
            NonFiniteError: a sum is negative or NaN, or too large for f32.
        """
        refuse_too_large(self.sums)
        return {name: sums.importance for name, sums in self.sums.items()}

    def statistics(self) -> Statistics:
        """llama-imatrix's statistics of each tensor and layer; see `Statistics`."""
        return statistics_of(self.sums, self.n_layer_nextn)

    def save(self, path: StrPath) -> None:
        """Write a file as llama-imatrix does: *.gguf, or *.dat in the older format.

        Raises:
            OptionError: the name ends in neither .gguf nor .dat.
            NonFiniteError: a sum is too large for f32.
            OutputError: the file cannot be written; no partial file is left.
        """
        out = as_path(path, "path")
        check_name(out)
        refuse_too_large(self.sums)
        contents = Contents(
            dict(self.sums),
            self.datasets,
            self.chunk_size,
            self.chunk_count,
            self.n_layer_nextn,
        )
        if out.suffix.lower() == ".dat":
            write_legacy(out, contents)
        else:
            write_gguf(out, contents, self.statistics())


def check_name(path: Path) -> None:
    """Refuse a file name without a known suffix.

    Raises:
        OptionError: the name ends in neither .gguf nor .dat.
    """
    if path.suffix.lower() not in (".gguf", ".dat"):
        raise OptionError(
            f"{path}: the name of an importance matrix must end in .gguf, or in .dat "
            "for the older format"
        )
