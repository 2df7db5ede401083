"""Work items that score one chunk of text, for one model or compared with the base.

An item contains everything that determines its scores, so any thread or process can
compute them.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import ClassVar

from ..execution.opened import Opener, Shared
from ..forward.base import F32, Head, Model
from ..tokens.chunks import Chunk
from .likelihood import (
    TokenScores,
    compare_tokens,
    negative_log_likelihood,
    refuse_broken,
)
from .saved import Timed

__all__ = ["Alone", "Beside", "HeadOpener", "score_alone", "score_base", "score_beside"]


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

    def hidden(self) -> F32:
        """The model's final hidden states at the positions that predict scored tokens:
        f32 [n_scored, width]."""
        return self.model.value.hidden(self.chunk.inputs)[self.chunk.predicting]


@dataclass(frozen=True, eq=False)
class Beside(Alone):
    """A chunk to score with a model and compare with the base.

    Attributes:
        base_head: the base's output head.
        base_hidden: the base's final hidden states, as `hidden` returns them.
    """

    base_head: Shared[Head]
    base_hidden: F32


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
    return score_base(work)[0]


def score_base(work: Alone) -> tuple[Timed, F32]:
    """The scores of the base, and its final hidden states for comparisons.

    Raises:
        NonFiniteError: the model predicts NaN.
    """
    start = perf_counter()
    hidden, head = work.hidden(), work.model.value.head
    nll = negative_log_likelihood(hidden, head, work.chunk.targets)
    refuse_broken(nll, work.name)
    return Timed(TokenScores.of_base(nll), perf_counter() - start), hidden


def score_beside(work: Beside) -> Timed:
    """The scores of a model, including its divergence from the base.

    Raises:
        NonFiniteError: the model predicts NaN.
    """
    start = perf_counter()
    own = work.hidden(), work.model.value.head
    base = work.base_hidden, work.base_head.value
    scores = compare_tokens(*own, *base, work.chunk.targets)
    refuse_broken(scores.nll, work.name)
    return Timed(scores, perf_counter() - start)
