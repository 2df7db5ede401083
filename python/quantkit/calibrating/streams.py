"""Streams: the residual stream of all sequences, between two steps of a model.

One worker runs one sequence through a step: a whole layer, or its attention or
feed-forward part.  Sequences of one token run together, since they do not see each
other; they are the last piece of work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..execution.workers import Workers
from ..forward.base import F32
from ..forward.engines import on_host
from .capturing import CapturedWeights, Input, Part, Run

__all__ = ["ALONE", "Step", "Stream", "Wanted", "run_step"]

ALONE = -1
"""The number of the sequences of one token, among sequences."""

BATCH_TOKENS = 4096
"""Tokens whose inputs are in memory at a time."""


@dataclass(frozen=True, eq=False)
class Stream:
    """The residual stream of one model.

    Attributes:
        is_rounded: whether the model has the matrices that were solved so far.
        chunks: f32 [n_chunks, ctx, width].
        alone: of the sequences of one token: f32 [n, width].
    """

    is_rounded: bool
    chunks: F32
    alone: F32

    def of(self, number: int) -> F32:
        """The stream of a sequence: f32 [tokens, width]."""
        return self.alone if number == ALONE else self.chunks[number]


@dataclass(frozen=True, eq=False)
class Step:
    """A function from stream to stream.

    Attributes:
        together: for a sequence.
        alone: for sequences of one token.
    """

    together: Callable[[F32], F32]
    alone: Callable[[F32], F32]


@dataclass(frozen=True)
class Wanted:
    """What to run a step for.

    Attributes:
        parts: the parts whose inputs are wanted.
        skipped: the tensors that these do not depend on; None: run the step to its end.
    """

    parts: frozenset[Part] = frozenset()
    skipped: Collection[str] | None = None


@dataclass(frozen=True, eq=False)
class Piece:
    """A sequence to run through a step, in each stream."""

    weights: CapturedWeights
    step: Step
    wanted: Wanted
    streams: Sequence[Stream]
    number: int


@dataclass(frozen=True, eq=False)
class Ran:
    """What a step gave in one stream.

    Attributes:
        inputs: the wanted inputs.
        output: the stream after the step; None: it was not run to its end.
    """

    inputs: dict[Part, Input]
    output: F32 | None


def run_piece(piece: Piece) -> list[Ran]:
    """Run a sequence through a step: what each stream gives.

    Raises:
        NonFiniteError: an activation is NaN or infinite.
    """
    step = piece.step.alone if piece.number == ALONE else piece.step.together
    found = []
    for stream in piece.streams:
        run = Run(stream.is_rounded, piece.wanted.parts, piece.wanted.skipped)
        output = None
        with piece.weights.running(run):
            x = piece.weights.placed(np.array(stream.of(piece.number)))
            output = on_host(step(x))
        found.append(Ran(run.inputs, output))
    return found


def run_step(
    weights: CapturedWeights,
    step: Step,
    wanted: Wanted,
    streams: Sequence[Stream],
    workers: Workers,
) -> Iterator[list[tuple[int, list[Ran]]]]:
    """Run all sequences through a step; yields batches of (number, what it gave).

    Batches depend on nothing but the sequences, so that sums over them do not depend on
    the number of threads.
    """
    n_chunks, ctx, _ = streams[0].chunks.shape
    numbers = *range(n_chunks), ALONE
    size = max(1, BATCH_TOKENS // ctx)
    for start in range(0, len(numbers), size):
        batch = numbers[start : start + size]
        pieces = [Piece(weights, step, wanted, streams, number) for number in batch]
        yield [
            (piece.number, ran) for piece, ran in workers.in_order(run_piece, pieces)
        ]
