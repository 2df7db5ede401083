"""Work items that score one chunk of text, for one model or for several and a base.

An item contains everything that determines its scores, so any thread or process can
compute them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from time import perf_counter
from typing import Any, ClassVar

from ..execution.opened import Opener, Shared
from ..forward.base import F32, Head, Model
from ..tokens.chunks import Chunk
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
    "score_alone",
    "score_together",
]


@dataclass(frozen=True, eq=False)
class Alone:
    """A chunk to score with one model.

    Attributes:
        name: the model's name in messages.
        model: the model.
        chunk: the tokens.
    """

    name: str
    model: Shared[Model]
    chunk: Chunk


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
    """A chunk to score with several models, compared with the base.

    Attributes:
        place: identifies the chunk.
        names: identify the models.
        chunk: the tokens.
        models: the models beside the base.
        base: the base; None: its hidden states are given.
        head: the base's output head.
        hidden: the base's final hidden states at the positions that predict scored
            tokens, f32 [n_scored, width]; None: the base is evaluated.
        keeps_hidden: the result has them.
        stop: ends the item early.
    """

    place: Place
    names: Sequence[str]
    chunk: Chunk
    models: Sequence[Shared[Model]]
    base: Shared[Model] | None
    head: Shared[Head]
    hidden: F32 | None
    keeps_hidden: bool
    stop: Stop

    @property
    def where(self) -> str:
        """The chunk and the models, for messages."""
        text, chunk = self.place
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


def score_alone(work: Alone) -> Timed:
    """The scores of a model.

    Raises:
        NonFiniteError: the model predicts NaN.
    """
    start = perf_counter()
    hidden = _hidden(work.model.value, work.chunk)
    nll = negative_log_likelihood(hidden, work.model.value.head, work.chunk.targets)
    refuse_broken(nll, work.name)
    return Timed(TokenScores.of_base(nll), perf_counter() - start)


def score_together(work: Together) -> ChunkScores:
    """The scores of the base and the models, including the divergences."""
    start, chunk = perf_counter(), work.chunk
    if work.hidden is not None:
        hidden = work.hidden
    else:
        assert work.base is not None  # either is given
        hidden = _hidden(work.base.value, chunk)
    base = Predictions(hidden, work.head.value, perf_counter() - start)
    models = []
    for model in work.models:
        work.stop.check()
        start = perf_counter()
        own = _hidden(model.value, chunk)
        models.append(Predictions(own, model.value.head, perf_counter() - start))
    work.stop.check()
    found = compare_all(base, models, chunk.targets)
    of_base, *of_models = [Timed(scores, seconds) for scores, seconds in found]
    return ChunkScores(of_base, hidden if work.keeps_hidden else None, of_models)


def _hidden(model: Model, chunk: Chunk) -> F32:
    """The final hidden states at the positions that predict scored tokens."""
    hidden: F32 = model.hidden(chunk.inputs)[chunk.predicting].copy()
    return hidden
