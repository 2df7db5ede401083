"""Collect an importance matrix: run a model on a text and sum its activations.

One worker computes one chunk.  Sums are f64 and are added in the order of the chunks,
so the result does not depend on the number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .._native import active_backend
from .._version import __version__
from ..errors import FormatError, OptionError, OutputError
from ..evaluate.likelihood import negative_log_likelihood, refuse_broken
from ..evaluate.statistics import perplexity_estimate
from ..execution.opened import Shared
from ..execution.workers import Workers, share_memory, workers_of
from ..files.identity import hash_pieces
from ..files.target import target_of
from ..files.whole_file import refuse_unwritable
from ..forward.base import Activations
from ..gguf.source import identity_of, refuse_changed, unchanged
from ..importance.matrix import ImportanceMatrix
from ..importance.sums import F64
from ..inference.damage import damage_named
from ..inference.shared import model_opener
from ..inference.weights import DEFAULT_ACTIVATIONS, load_weights, precision_named
from ..notebook import shows_progress
from ..parameters import check_callbacks, check_flags
from ..paths import StrPath, as_path
from ..perplexity_result import PerplexityResult
from ..progress import Progress
from ..sources.checking import check_source
from ..sources.opening import ModelLike, open_runnable
from ..tokens.chunks import Chunk, Chunks, chunk_text
from ..tokens.options import DEFAULT, TextOptions, checked_options
from ..tokens.texts import TextLike, as_texts, name_of
from .observing import ChunkSums, ObservedModel, ObservedOpener
from .totals import Totals, refuse_foreign

__all__ = ["Collection", "imatrix"]

SAVE_EVERY = 10
"""The number of chunks after which sums are saved."""


@shows_progress
def imatrix(
    model: ModelLike,
    text: TextLike | Sequence[TextLike],
    *,
    options: TextOptions = DEFAULT,
    activations: str = DEFAULT_ACTIVATIONS,
    process_output: bool = False,
    perplexity: bool = True,
    threads: int | Workers | None = None,
    save: StrPath | None = None,
    progress: Progress | None = None,
) -> ImportanceMatrix:
    """Collect the importance matrix of a model on a text.

    Args:
        model: a GGUF file, a checkpoint folder, or an open source.
        text: a str is the text itself, a Path is a UTF-8 file (*.jsonl: documents); or
            several texts, read one after the other.
        options: how texts are cut; see `TextOptions`.  All positions of a chunk are
            summed, so `stride` is not allowed.
        activations: precision of activations in products with quantized weights:
            "i16", "q8" or "f32"; see `compare`.  They are summed before rounding.
        process_output: include the output head, which llama-quantize does not use.
        perplexity: also measure the perplexity of the text.
        threads: chunks at a time; None: one per core.  Results do not depend on it.
        save: a file for the sums, from which a later call resumes; the matrix itself is
            written by `ImportanceMatrix.save`.
        progress: called after each chunk.

    Raises:
        NonFiniteError: an activation is NaN or infinite; the message names the tensor.
        OutputError: `save` cannot be written, or holds something else.
        OptionError: a parameter is not valid.
        QuantkitError: a text is too short for `ctx`, or quantkit cannot run the model.

    Example:
        >>> matrix = imatrix("model.gguf", Path("wiki.txt"))  # doctest: +SKIP
        >>> matrix.chunk_count  # doctest: +SKIP
        573
    """
    check_callbacks(progress=progress)
    collection = Collection(
        *(model, text),
        options=options,
        activations=activations,
        process_output=process_output,
        perplexity=perplexity,
        threads=threads,
        save=None if save is None else target_of(as_path(save, "save")).path,
    )
    return collection.run(progress)


@dataclass(frozen=True, eq=False)
class ChunkToSum:
    """A chunk of text on which a model's activations are summed.

    Attributes:
        where: the name of the chunk in messages.
        model: the model.
        chunk: the tokens.
        process_output: include the activations of the output head.
        perplexity: compute the likelihoods of the tokens.
    """

    where: str
    model: Shared[ObservedModel]
    chunk: Chunk
    process_output: bool
    perplexity: bool


def sum_chunk(work: ChunkToSum) -> tuple[ChunkSums, F64]:
    """Compute the sums of a chunk and the negative log likelihoods of its tokens.

    Raises:
        NonFiniteError: an activation is NaN or infinite, or the model predicts NaN.
    """
    observed, chunk = work.model.value, work.chunk
    with observed.recorder.chunk(work.where) as sums:
        hidden = observed.model.hidden(chunk.inputs)
        if work.process_output:
            observed.recorder.add(observed.head, 0, Activations(hidden))
    if not work.perplexity:
        return sums, np.empty(0)
    scored, head = hidden[chunk.predicting], observed.model.head
    nll = negative_log_likelihood(scored, head, chunk.targets)
    refuse_broken(nll)
    return sums, nll


class Collection:
    """Collects an importance matrix; other arguments as for `imatrix`.

    Args:
        save: as for `imatrix`, but a symbolic link is not followed.
        save_every: the number of chunks after which sums are saved.
    """

    def __init__(
        self,
        model: ModelLike,
        text: TextLike | Sequence[TextLike],
        *,
        options: TextOptions = DEFAULT,
        activations: str = DEFAULT_ACTIVATIONS,
        process_output: bool = False,
        perplexity: bool = True,
        threads: int | Workers | None = None,
        save: Path | None = None,
        save_every: int = SAVE_EVERY,
    ) -> None:
        check_flags(process_output=process_output, perplexity=perplexity)
        texts = as_texts(text)
        if checked_options(options).stride is not None:
            raise OptionError(
                "`stride` is not allowed: all positions of a chunk are summed"
            )
        self._source = open_runnable(model)
        self._cut = [
            (str(each) if isinstance(each, Path) else name_of(each), cut)
            for each in texts
            for cut in [chunk_text(self._source, each, options)]
        ]
        self._activations, self._precision = activations, precision_named(activations)
        self._process_output, self._perplexity = process_output, perplexity
        self._workers = workers_of(threads)
        self._save = save
        if save is not None:
            refuse_unwritable(save)
            refuse_foreign(save)
        self._save_every = save_every
        self._totals = Totals(self._source.tensors)
        self._prefixes = self._hashed_prefixes() if self._save else []

    @property
    def n_chunks(self) -> int:
        """The number of chunks in all texts."""
        return sum(len(cut) for _, cut in self._cut)

    @property
    def chunks_done(self) -> int:
        """The number of summed chunks."""
        return self._totals.n_chunks

    def refuse_unlike(self, other: ImportanceMatrix) -> None:
        """Raise a FormatError if a matrix cannot be merged with this one."""
        for name, sums in other.sums.items():
            tensor = self._source.tensors.get(name)
            if tensor is None or sums.squares.size in (
                tensor.n_cols,
                math.prod(tensor.shape[:-2]) * tensor.n_cols,
            ):
                continue
            raise FormatError(
                f"{other.origin} belongs to another model: tensor {name} has "
                f"{sums.squares.size} sums there and {tensor.n_cols} columns here"
            )

    def so_far(self) -> ImportanceMatrix | None:
        """The matrix of the chunks summed so far; None if there are none."""
        if not self._totals.n_chunks:
            return None
        nll = np.stack(self._totals.nll)
        found = None
        if nll.size:
            ppl = perplexity_estimate(nll)
            errors = ppl.error, ppl.token_error
            found = PerplexityResult(
                ppl.value, *errors, len(nll), nll.size, nll, self._activations
            )
        ctx = self._cut[0][1].tokens.shape[1]
        names = tuple(name for name, _ in self._cut)
        return ImportanceMatrix(self._totals.finished(), ctx, names, perplexity=found)

    def run(self, progress: Progress | None = None) -> ImportanceMatrix:
        """Sum all remaining chunks.

        Args:
            progress: called after each chunk.
        """
        if self._save is not None:
            self._totals.recall(self._save, self._prefixes)
        places = [(cut, name, i) for name, cut in self._cut for i in range(len(cut))]
        left = places[self._totals.n_chunks :]
        if left:
            try:
                with unchanged(self._source):
                    self._sum(left, progress)
            except BaseException:
                self._keep()
                raise
            with suppress(OutputError):  # only a run with more chunks needs it
                self._keep()
        result = self.so_far()
        assert result is not None  # for mypy; there is a chunk
        return result

    def _sum(
        self, places: Sequence[tuple[Chunks, str, int]], progress: Progress | None
    ) -> None:
        source, precision = self._source, self._precision
        check_source(source)
        opener = model_opener(source, precision=precision)
        there = None if opener is None else ObservedOpener(opener)
        here = None
        if there is None or share_memory(self._workers):
            here = ObservedModel.of(source, load_weights(source, precision=precision))
        model = Shared(there, here)
        work = (
            ChunkToSum(
                *(f"{name}, chunk {i + 1}", model, cut.chunk(i)),
                *(self._process_output, self._perplexity),
            )
            for cut, name, i in places
        )
        with damage_named(source):
            for _, (sums, nll) in self._workers.in_order(sum_chunk, work):
                refuse_changed(source)
                self._totals.add(sums, nll)
                if self._totals.n_chunks % self._save_every == 0:
                    self._keep()
                if progress is not None:
                    progress("importance", self._totals.n_chunks, self.n_chunks)

    def _keep(self) -> None:
        if self._save is not None and self._totals.n_chunks:
            self._totals.save(self._save, self._prefixes[self._totals.n_chunks])

    def _hashed_prefixes(self) -> list[str]:
        """Hashes of what the sums depend on, by the number of chunks.

        Raises:
            OptionError: the model is not read from files.
        """
        if not getattr(self._source, "paths", ()):
            raise OptionError("`save` needs a model that is read from files")
        how = self._precision.name, self._process_output, self._perplexity
        where = f"{__version__} {active_backend().ops}"
        first = f"{where} {identity_of(self._source)} {how}"
        hashes = [hash_pieces([first.encode()])]
        for _, cut in self._cut:
            for i in range(len(cut)):
                pieces = (hashes[-1].encode(), cut.inputs(i).tobytes())
                hashes.append(hash_pieces([*pieces, cut.targets(i).tobytes()]))
        return hashes
