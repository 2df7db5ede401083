"""Spans: some sequences to run through a step, whose sums are a part of the text's.

The sums over a text have a fixed tree: those of a block are the sums of its batches,
and those of the text are the sums of its blocks, each added in their order.  So another
machine can sum a block, or a batch of one, and the result is the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain

import numpy as np

from .._device import DeviceSums
from ..execution.carried import Carried
from ..execution.opened import Shared
from ..execution.workers import Workers, kept_open, workers_of
from ..forward.base import F32
from .captured_model import CapturedModel, Step
from .capturing import Part, Rounded
from .gathered import Gathered
from .sample import Sample
from .site import Site
from .streams import ALONE, Piece, Ran, Stream, Wanted, run_piece
from .sums import Found, Rows, Sums, add_rows

__all__ = ["NO_LAG", "Lag", "Span", "Spanned", "blocks_of", "gathered", "spanned"]

BATCH_TOKENS = 4096
"""Tokens whose inputs are in memory at a time."""

BLOCK_BATCHES = 4
"""Batches of a block.  Its sums take the same memory and time on their way from another
machine, however many tokens they are of."""


def blocks_of(sample: Sample) -> list[list[list[int]]]:
    """The numbers of the sequences, in batches, in blocks.

    They depend on nothing but the sample.
    """
    n_chunks, ctx = sample.chunks.shape
    numbers = [*range(n_chunks), ALONE]
    size = max(1, BATCH_TOKENS // ctx)
    batches = [numbers[i : i + size] for i in range(0, len(numbers), size)]
    starts = range(0, len(batches), BLOCK_BATCHES)
    return [batches[i : i + BLOCK_BATCHES] for i in starts]


@dataclass(frozen=True)
class Lag:
    """Which matrices make up for the lag of the residual stream.

    Attributes:
        tensors: those whose outputs are added to the stream.
        scale: multiplies these outputs.
    """

    tensors: Collection[str] = ()
    scale: float = 1.0

    def of(self, streams: Sequence[Stream], number: int) -> F32 | None:
        """How far the rounded stream of a sequence is behind, in units of outputs."""
        if not self.tensors or len(streams) == 1:
            return None
        lag: F32 = streams[0].of(number) - streams[-1].of(number)
        return lag if self.scale == 1 else lag / np.float32(self.scale)


NO_LAG = Lag()


@dataclass(frozen=True, eq=False)
class Span:
    """A block of sequences, or a batch of one, and what to run on it.

    Attributes:
        model: the model.
        sample: all tokens.
        step: the step.
        wanted: the parts, and what their inputs do not depend on.
        lag: which of the parts make up for the lag between the streams.
        rounded: by name, the tensors of the rounded stream.
        block: the number of the block.
        batches: the numbers of the sequences.
        streams: those of the sequences before the step; the last one is that which is
            solved for.
        goes_on: whether the streams after the step are wanted.
    """

    model: Shared[CapturedModel]
    sample: Carried[Sample]
    step: Step
    wanted: Wanted
    lag: Lag
    rounded: Rounded
    block: int
    batches: Sequence[Sequence[int]]
    streams: Sequence[Stream]
    goes_on: bool

    @property
    def numbers(self) -> list[int]:
        """The numbers of its sequences."""
        return list(chain(*self.batches))

    @property
    def where(self) -> str:
        """The step and the sequences, for messages."""
        layer = self.step.layer
        what = "the output head" if layer is None else f"layer {layer}"
        first = max(0, self.batches[0][0])
        return f"calibration of {what}, from sequence {first + 1} of the text on"


@dataclass(frozen=True, eq=False)
class Spanned:
    """What a span gave.

    Attributes:
        gathered: its sums, and its inputs that are kept.
        after: the streams after the step; empty: they are not wanted.
    """

    gathered: Gathered
    after: Sequence[Stream]


def spanned(span: Span) -> Spanned:
    """Run a span in a process that has not the streams of the other sequences.

    It uses all threads that this process has for an item.

    Raises:
        NonFiniteError: an activation is NaN or infinite.
    """
    weights = span.model.value.weights
    if span.step.layer is not None:
        weights.forget_others(span.model.value.tensors_of(span.step.layer))
    after = [stream.empty() for stream in span.streams] if span.goes_on else []
    with kept_open(workers_of(None)) as workers:
        return Spanned(gathered(span, after, workers), after)


def gathered(
    span: Span,
    into: Sequence[Stream],
    workers: Workers,
    device: int | None = None,
) -> Gathered:
    """Run a span, and sum the inputs of the wanted parts.

    Args:
        span: the span.
        into: where to put its streams after the step; empty: nowhere.
        workers: threads that run some sequences, or sum some rows, at a time.
        device: the number of the CUDA device for sums; None: the CPU.
    """
    found = Gathered()
    with ExitStack() as stack:
        there = None
        if device is not None:
            there = stack.enter_context(DeviceSums(device))
        for batch in span.batches:
            rows = _taken(found, span, _ran(span, batch, workers), into)
            added = [
                (found.sites[at].sums, Rows.joined(some)) for at, some in rows.items()
            ]
            add_rows(added, workers, there)
        if there is not None:
            there.finish()
    return found


def _ran(
    span: Span, batch: Sequence[int], workers: Workers
) -> Iterable[tuple[int, list[Ran]]]:
    """Run the sequences of a batch: (number, what the streams gave)."""
    model = span.model.value
    how = span.step, span.wanted, span.streams
    pieces = [Piece(model, *how, number, span.rounded) for number in batch]
    return [(piece.number, ran) for piece, ran in workers.in_order(run_piece, pieces)]


def _taken(
    found: Gathered,
    span: Span,
    batch: Iterable[tuple[int, Sequence[Ran]]],
    into: Sequence[Stream],
) -> dict[Part, list[Rows]]:
    """Take some sequences, and give what is to be summed at each site."""
    sample, lag = span.sample.value, span.lag
    is_held_out, is_compared = sample.is_held_out, sample.is_compared
    rows: dict[Part, list[Rows]] = {}
    for number, ran in batch:
        behind = lag.of(span.streams, number)
        for leader, own in found.found(ran, behind, lag.tensors):
            site = _site(found, leader, own, sample)
            if number == ALONE:
                site.add_alone(own, sample.is_alone_held_out)
                continue
            if is_held_out[number]:
                site.held.append(own.later)
                continue
            rows.setdefault(leader, []).append(own.later)
            if is_compared[number]:
                site.compared.append(own.later)
        if into:
            _put(into, number, ran)
    return rows


def _site(found: Gathered, leader: Part, own: Found, sample: Sample) -> Site:
    if leader not in found.sites:
        n_alone_held = int(sample.is_alone_held_out.sum())
        found.sites[leader] = Site(
            Sums(own.rows.seen.shape[1]),
            n_all=sample.n_tokens,
            n_all_held=sample.n_held_out,
            n_all_compared=sample.n_compared,
            per_chunk=sample.chunks.shape[1],
            n_alone=len(sample.alone) - n_alone_held,
            n_alone_held=n_alone_held,
        )
    return found.sites[leader]


def _put(into: Sequence[Stream], number: int, ran: Sequence[Ran]) -> None:
    for stream, each in zip(into, ran, strict=True):
        assert each.output is not None  # the step was run to its end
        stream.of(number)[...] = each.output
