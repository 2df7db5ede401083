"""Work items that score chunks of text, for one model or for several and a base.

An item contains everything that determines its scores, so any thread or process can
compute them.  On the CPU it has one chunk; a device computes several at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from threading import Event
from time import perf_counter
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from ..errors import DeviceMemoryError
from ..execution.opened import Opener, Shared
from ..forward.base import F32, Head, Model
from ..forward.engines import on_host
from ..tokens.chunks import Chunk, targets_of
from .likelihood import (
    Predictions,
    TokenScores,
    compare_all,
    negative_log_likelihood,
    refuse_broken,
)
from .places import Place
from .saved import Timed

__all__ = [
    "Alone",
    "ChunkScores",
    "HeadOpener",
    "Stop",
    "Together",
    "in_parts",
    "predicting",
    "predicting_rows",
    "score_alone",
    "score_together",
]

Result = TypeVar("Result")
W = TypeVar("W", bound="OfChunks")


class OfChunks(Protocol):
    """A work item of several chunks."""

    @property
    def chunks(self) -> Sequence[Chunk]:
        """The chunks."""

    def part(self: W, which: slice) -> W:
        """Some of the chunks."""


@dataclass(frozen=True, eq=False)
class Alone:
    """Chunks to score with one model.

    Attributes:
        name: the model's name in messages.
        model: the model.
        chunks: the tokens, of chunks of one length.
    """

    name: str
    model: Shared[Model]
    chunks: Sequence[Chunk]

    def part(self, which: slice) -> Alone:
        """Some of the chunks."""
        return replace(self, chunks=self.chunks[which])


class Stop:
    """Tells the threads of this process to leave the rest of their items undone."""

    def __init__(self) -> None:
        self._event = Event()

    def set(self) -> None:
        """Stop."""
        self._event.set()

    def check(self) -> None:
        """End the item if it is to stop.

        Raises:
            RuntimeError: it is; nobody waits for its result.
        """
        if self._event.is_set():
            raise RuntimeError("stopped")

    def __reduce__(self) -> tuple[Any, ...]:
        return Stop, ()  # other processes finish their items


@dataclass(frozen=True, eq=False)
class Together:
    """Chunks to score with several models, compared with the base.

    Attributes:
        places: identify the chunks.
        names: identify the models.
        chunks: the tokens, of chunks of one length.
        models: the models beside the base.
        base: the base; None: its hidden states are given.
        head: the base's output head.
        hidden: the base's final hidden states at the positions that predict scored
            tokens, f32 [n_scored, width] of each chunk; None: the base is evaluated.
        keeps_hidden: the result has them.
        stop: ends the item early.
    """

    places: Sequence[Place]
    names: Sequence[str]
    chunks: Sequence[Chunk]
    models: Sequence[Shared[Model]]
    base: Shared[Model] | None
    head: Shared[Head]
    hidden: Sequence[F32] | None
    keeps_hidden: bool
    stop: Stop

    def part(self, which: slice) -> Together:
        """Some of the chunks."""
        hidden = None if self.hidden is None else self.hidden[which]
        places, chunks = self.places[which], self.chunks[which]
        return replace(self, places=places, chunks=chunks, hidden=hidden)

    @property
    def where(self) -> str:
        """The first chunk and the models, for messages."""
        text, chunk = self.places[0]
        return f"chunk {chunk + 1} of text {text + 1} with {', '.join(self.names)}"


@dataclass(frozen=True, eq=False)
class ChunkScores:
    """The scores of a chunk; those of a broken model are NaN or huge.

    Attributes:
        base: of the base; the time is that of its head alone if its hidden states were
            given.
        hidden: the base's hidden states, as in `Together`, if they are kept.
        models: of each model.
    """

    base: Timed
    hidden: F32 | None
    models: list[Timed]


@dataclass(frozen=True)
class HeadOpener:
    """Opens a model's head in another process; the rest of the model is freed."""

    kept: ClassVar[int] = 1

    model: Opener[Model]

    def open(self) -> Head:
        """Open the head.

        Raises:
            QuantkitError: as for the model's opener.
        """
        return self.model.open().head


def score_alone(work: Alone) -> list[Timed]:
    """The scores of a model, of each chunk.

    Raises:
        DeviceMemoryError: a device has not enough memory for one chunk.
        NonFiniteError: the model predicts NaN.
    """
    return in_parts(_scored_alone, work)


def _scored_alone(work: Alone) -> list[Timed]:
    start = perf_counter()
    model, targets = work.model.value, targets_of(work.chunks)
    hidden = predicting(model, work.chunks)
    nll = negative_log_likelihood(hidden, model.head, targets)
    seconds = (perf_counter() - start) / len(work.chunks)
    parts = np.split(nll, len(work.chunks))
    for part in parts:
        refuse_broken(part, work.name)
    return [Timed(TokenScores.of_base(part), seconds) for part in parts]


def score_together(work: Together) -> list[ChunkScores]:
    """The scores of the base and the models, including the divergences, of each chunk.

    Raises:
        DeviceMemoryError: a device has not enough memory for one chunk.
    """
    return in_parts(_scored_together, work)


def _scored_together(work: Together) -> list[ChunkScores]:
    start, n_chunks = perf_counter(), len(work.chunks)
    if work.hidden is not None:
        hidden = np.concatenate(work.hidden)
    else:
        assert work.base is not None  # either is given
        hidden = predicting(work.base.value, work.chunks)
    base = Predictions(hidden, work.head.value, perf_counter() - start)
    models = []
    for model in work.models:
        work.stop.check()
        start = perf_counter()
        own = predicting(model.value, work.chunks)
        models.append(Predictions(own, model.value.head, perf_counter() - start))
    work.stop.check()
    if models:  # stored hidden states are the host's
        there = np.asarray(hidden, like=models[0].hidden)
        base = replace(base, hidden=there)
    found = compare_all(base, models, targets_of(work.chunks))
    apart = [_by_chunk(scores, seconds, n_chunks) for scores, seconds in found]
    kept: list[F32 | None] = [None] * n_chunks
    if work.keeps_hidden:
        kept = list(np.split(on_host(hidden), n_chunks))
    return [
        ChunkScores(of_base, own, list(of_models))
        for own, (of_base, *of_models) in zip(
            kept, zip(*apart, strict=True), strict=True
        )
    ]


def in_parts(work: Callable[[W], list[Result]], item: W) -> list[Result]:
    """What `work` makes of an item's chunks; of half of them if memory is short.

    Raises:
        DeviceMemoryError: a device has not enough memory for one chunk.
    """
    with suppress(DeviceMemoryError) if len(item.chunks) > 1 else nullcontext():
        return work(item)
    half = len(item.chunks) // 2
    parts = item.part(slice(half)), item.part(slice(half, None))
    return [result for part in parts for result in in_parts(work, part)]


def predicting(model: Model, chunks: Sequence[Chunk]) -> F32:
    """The final hidden states at the positions that predict scored tokens.

    Args:
        model: the model.
        chunks: chunks of one length.

    Returns:
        f32 [chunks * scored tokens, width], computed, not only queued on a device.
    """
    tokens = np.stack([chunk.inputs for chunk in chunks])
    hidden = model.hidden(tokens[0] if len(chunks) == 1 else tokens)
    found = predicting_rows(hidden, chunks)
    if not isinstance(found, np.ndarray):
        on_host(found[:1, :1])  # waits, so that the time of a model is its own
    return found


def predicting_rows(hidden: F32, chunks: Sequence[Chunk]) -> F32:
    """The rows of hidden states [chunks * ctx, width] that predict scored tokens."""
    n_chunks, width = len(chunks), hidden.shape[1]
    apart = hidden.reshape(n_chunks, -1, width)[:, chunks[0].predicting]
    rows: F32 = apart.copy().reshape(-1, width)
    return rows


def _by_chunk(scores: TokenScores, seconds: float, n_chunks: int) -> list[Timed]:
    return [Timed(part, seconds / n_chunks) for part in scores.split(n_chunks)]
