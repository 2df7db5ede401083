"""Collect an importance matrix: run a model on a text and sum its activations.

One worker computes one chunk.  Its sums are f64, and are added without rounding, so the
result does not depend on the number of workers, nor on who adds what.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .._version import __version__
from ..errors import FormatError, OptionError, OutputError
from ..evaluate.places import WHOLE, Share
from ..evaluate.shard_files import VERSION, tokens_hash
from ..execution.workers import Workers
from ..files.identity import hash_pieces
from ..files.target import target_of
from ..files.whole_file import refuse_unwritable
from ..gguf.content import content_of
from ..gguf.source import identity_of, refuse_changed, unchanged
from ..importance.matrix import ImportanceMatrix
from ..importance.sums import F64
from ..inference.computing import computing_of
from ..inference.damage import damage_named
from ..notebook import shows_progress
from ..parameters import check_callbacks, check_flags
from ..paths import StrPath, as_path
from ..progress import Progress
from ..sources.opening import ModelLike, open_runnable
from ..tokens.chunks import Chunks, chunk_text
from ..tokens.options import DEFAULT, TextOptions, checked_options
from ..tokens.texts import TextLike, as_texts, name_of
from .described import Described, matrix_of
from .observing import ChunkSums, share_observed
from .summing import ChunksToSum, sum_chunks
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
    activations: str | None = None,
    device: str = "cpu",
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
        activations: precision of activations in products; see `compare`.  They are
            summed before rounding.
        device: where the model runs, such as "cuda"; see `compare`.
        process_output: include the output head, which llama-quantize does not use.
        perplexity: also measure the perplexity of the text.
        threads: chunks at a time; None: one per core.  Results do not depend on it.
            On devices it has no effect.
        save: a file for the sums, from which a later call resumes; the matrix itself is
            written by `ImportanceMatrix.save`.
        progress: called after each chunk.

    Raises:
        BackendError: `device` cannot be used.
        DeviceMemoryError: its memory is too small for one chunk.
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
        device=device,
        process_output=process_output,
        perplexity=perplexity,
        threads=threads,
        save=None if save is None else target_of(as_path(save, "save")).path,
    )
    return collection.run(progress)


class Collection:
    """Collects an importance matrix; other arguments as for `imatrix`.

    Args:
        save: as for `imatrix`, but a symbolic link is not followed.
        save_every: the number of chunks after which sums are saved.
        share: which of the chunks are summed.
    """

    def __init__(
        self,
        model: ModelLike,
        text: TextLike | Sequence[TextLike],
        *,
        options: TextOptions = DEFAULT,
        activations: str | None = None,
        device: str = "cpu",
        process_output: bool = False,
        perplexity: bool = True,
        threads: int | Workers | None = None,
        save: Path | None = None,
        save_every: int = SAVE_EVERY,
        share: Share = WHOLE,
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
        self._computing = computing_of(activations, device)
        self._process_output, self._perplexity = process_output, perplexity
        self._runners = self._computing.runners(threads)
        self._save = save
        if save is not None:
            refuse_unwritable(save)
            refuse_foreign(save)
        self._save_every = save_every
        self._totals = Totals(self._source.tensors)
        self._shard: Mapping[str, Any] | None = None
        lengths = [len(cut) for _, cut in self._cut]
        self._places = share.of(
            [(t, i) for t, n in enumerate(lengths) for i in range(n)]
        )
        self._prefixes = self._hashed_prefixes() if self._save else []

    @property
    def n_chunks(self) -> int:
        """The number of chunks to sum, in all texts."""
        return len(self._places)

    @property
    def n_chunks_of_all(self) -> int:
        """The number of chunks of all shares."""
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
        return matrix_of(self._totals, self.described) if self.chunks_done else None

    @property
    def described(self) -> Described:
        """What is summed, without the model and the texts."""
        return Described(
            self._cut[0][1].tokens.shape[1],
            [name for name, _ in self._cut],
            self._computing.activations,
            self._computing.described,
        )

    def run(self, progress: Progress | None = None) -> ImportanceMatrix:
        """Sum all remaining chunks.

        Args:
            progress: called after each chunk.
        """
        self._recall()
        self._sum_rest(progress)
        with suppress(OutputError):  # only a run with more chunks needs it
            self._keep()
        result = self.so_far()
        assert result is not None  # for mypy; there is a chunk
        return result

    def run_shard(
        self, about: Mapping[str, Any], progress: Progress | None = None
    ) -> None:
        """Sum all remaining chunks of a shard, and keep the sums.

        Args:
            about: what describes the shard, kept with the sums.
            progress: called after each chunk.
        """
        self._recall()
        self._shard = about
        self._sum_rest(progress)
        self._keep()

    def determining(self, progress: Progress | None) -> dict[str, str]:
        """Everything that determines the sums, by its name in messages.

        Files count by what is in them, so that each machine may have its own copy.

        Args:
            progress: called after each piece of a file.
        """
        described, source = self.described, self._source
        of = {
            VERSION: __version__,
            "the instruction set, or the device": str(self._computing.place),
            "the context": f"{described.ctx} tokens",
            "the activations": described.activations,
            "the output head": "included" if self._process_output else "left out",
            "the perplexity": "measured" if self._perplexity else "left out",
            "the texts": ", ".join(described.texts),
        }
        for i, (name, cut) in enumerate(self._cut, start=1):
            of[f"the number of chunks of {name} (text {i})"] = str(len(cut))
            of[f"the tokens of {name} (text {i})"] = tokens_hash(cut)
        of["the model"] = content_of(source, self._runners, progress)
        return of

    def _recall(self) -> None:
        """Take up what an earlier run kept."""
        if self._save is not None:
            self._totals.recall(self._save, self._prefixes)

    def _sum_rest(self, progress: Progress | None) -> None:
        """Sum the chunks that are left; if that is stopped, keep what there is."""
        left = [(*self._cut[t], i) for t, i in self._places[self._totals.n_chunks :]]
        if not left:
            return
        try:
            with unchanged(self._source):
                self._sum(left, progress)
        except BaseException:
            self._keep()
            raise

    def _sum(
        self, places: Sequence[tuple[str, Chunks, int]], progress: Progress | None
    ) -> None:
        source = self._source
        model = share_observed(source, self._computing, self._runners)
        how = self._process_output, self._perplexity
        size = self._computing.sequences_at_a_time(places[0][1].tokens.shape[1])
        work = (
            ChunksToSum(
                [f"{name}, chunk {i + 1}" for name, _, i in batch],
                *(model, [cut.chunk(i) for _, cut, i in batch], *how),
            )
            for batch in (places[i : i + size] for i in range(0, len(places), size))
        )
        with damage_named(source):
            for _, found in self._runners.in_order(sum_chunks, work):
                refuse_changed(source)
                for sums, nll in found:
                    self._note(sums, nll)
                if progress is not None:
                    progress("importance", self._totals.n_chunks, self.n_chunks)

    def _note(self, sums: ChunkSums, nll: Sequence[F64]) -> None:
        """Add the sums of some chunks, and save all where it is due."""
        is_due = self._totals.n_chunks // self._save_every
        self._totals.add(sums, nll)
        if self._totals.n_chunks // self._save_every > is_due:
            self._keep()

    def _keep(self) -> None:
        n_chunks, shard = self._totals.n_chunks, self._shard
        if self._save is not None and (n_chunks or shard is not None):
            self._totals.save(self._save, self._prefixes[n_chunks], shard)

    def _hashed_prefixes(self) -> list[str]:
        """Hashes of what the sums depend on, by the number of chunks.

        Raises:
            OptionError: the model is not read from files.
        """
        if not getattr(self._source, "paths", ()):
            raise OptionError("`save` needs a model that is read from files")
        asked = self._computing.activations
        how = asked, self._process_output, self._perplexity
        where = f"{__version__} {self._computing.place}"
        first = f"{where} {identity_of(self._source)} {how}"
        hashes = [hash_pieces([first.encode()])]
        for t, i in self._places:
            _, cut = self._cut[t]
            pieces = (hashes[-1].encode(), cut.inputs(i).tobytes())
            hashes.append(hash_pieces([*pieces, cut.targets(i).tobytes()]))
        return hashes
