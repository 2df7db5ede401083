"""Streams: the residual stream of all sequences, between two steps of a model.

One thread runs one sequence through a step: a whole layer, or its attention or
feed-forward part.  Sequences of one token run together, since they do not see each
other; they are the last piece of work.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..forward.base import F32
from ..forward.engines import on_host
from .captured_model import CapturedModel, Step
from .capturing import Input, Part, Rounded, Run

__all__ = ["ALONE", "Piece", "Ran", "Stream", "Wanted", "run_piece"]

ALONE = -1
"""The number of the sequences of one token, among sequences."""


@dataclass(frozen=True, eq=False)
class Stream:
    """The residual stream of one model.

    Attributes:
        is_rounded: whether the model has the matrices that were solved so far.
        chunks: f32 [n_chunks, ctx, width].
        alone: of the sequences of one token: f32 [n, width].
        first: the number of the first chunk.
    """

    is_rounded: bool
    chunks: F32
    alone: F32
    first: int = 0

    def of(self, number: int) -> F32:
        """The stream of a sequence: f32 [tokens, width]."""
        return self.alone if number == ALONE else self.chunks[number - self.first]

    def part(self, numbers: Collection[int]) -> Stream:
        """The stream of some sequences, without a copy; chunks follow each other."""
        chunks = [number for number in numbers if number != ALONE]
        first, stop = (min(chunks), max(chunks) + 1) if chunks else (0, 0)
        alone = self.alone if ALONE in numbers else self.alone[:0]
        at = slice(first - self.first, stop - self.first)
        return Stream(self.is_rounded, self.chunks[at], alone, first)

    def take(self, part: Stream) -> None:
        """Take the values of a part."""
        at = part.first - self.first
        self.chunks[at : at + len(part.chunks)] = part.chunks
        if len(part.alone):
            self.alone[...] = part.alone

    def empty(self) -> Stream:
        """A stream of the same shape, whose values are to be set."""
        chunks = np.empty(self.chunks.shape, np.float32)
        alone = np.empty(self.alone.shape, np.float32)
        return Stream(self.is_rounded, chunks, alone, self.first)

    def __reduce__(self) -> tuple[Any, ...]:
        arrays = np.asarray(self.chunks), np.asarray(self.alone)  # and no maps of files
        return Stream, (self.is_rounded, *arrays, self.first)


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
    """A sequence to run through a step, in each stream.

    Attributes:
        model: the model.
        step: the step.
        wanted: what it is run for.
        streams: before the step.
        number: of the sequence.
        rounded: the tensors of the rounded stream.
    """

    model: CapturedModel
    step: Step
    wanted: Wanted
    streams: Sequence[Stream]
    number: int
    rounded: Rounded


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
    model, wanted = piece.model, piece.wanted
    step = model.function(piece.step, alone=piece.number == ALONE)
    found = []
    for stream in piece.streams:
        rounded = piece.rounded if stream.is_rounded else None
        run = Run(rounded, wanted.parts, wanted.skipped)
        output = None
        with model.weights.running(run):
            x = model.weights.placed(np.array(stream.of(piece.number)))
            output = on_host(step(x))
        found.append(Ran(run.inputs, output))
    return found
