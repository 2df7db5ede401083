"""Run a step on the whole text, and sum the inputs of some of its matrices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

from ..execution.carried import Carried
from ..execution.opened import Shared
from ..execution.workers import Workers
from ..inference.computing import EXACT, Computing
from .captured_model import CapturedModel, Step
from .capturing import CapturedWeights, Rounded
from .gathered import Gathered
from .sample import Sample
from .spans import NO_LAG, Lag, Span, blocks_of, gathered, spanned
from .streams import Stream, Wanted

__all__ = ["Gatherer"]


@dataclass(frozen=True, eq=False)
class Gatherer:
    """Sums inputs over the calibration text.

    Attributes:
        model: the model.
        sample: the tokens.
        workers: threads of this process.
        others: workers elsewhere that do an item with all their threads, in place of
            those; None: there are none.
        computing: where layers run and rows are summed.
    """

    model: Shared[CapturedModel]
    sample: Carried[Sample]
    workers: Workers
    others: Workers | None = None
    computing: Computing = EXACT

    @property
    def weights(self) -> CapturedWeights:
        """The model's weights."""
        return self.model.value.weights

    def gather(
        self,
        step: Step,
        wanted: Wanted,
        streams: Sequence[Stream],
        into: Sequence[Stream] = (),
        lag: Lag = NO_LAG,
    ) -> Gathered:
        """Run a step on the text, and sum the inputs of parts.

        Args:
            step: the step.
            wanted: the parts, and what their inputs do not depend on.
            streams: before the step; the last one is that which is solved for.
            into: where to put the streams after the step; none: nowhere.
            lag: which of the parts make up for the lag between the streams.
        """
        how = step, wanted, lag, streams, bool(into)
        if self.others is None:
            return _folded(self._here(self._spans(*how), into))
        spans = self._spans(*how, self.others.count)
        return _folded(self._elsewhere(self.others, spans, into))

    def _spans(
        self,
        step: Step,
        wanted: Wanted,
        lag: Lag,
        streams: Sequence[Stream],
        goes_on: bool,
        at_least: int = 1,
    ) -> Iterator[Span]:
        """The blocks of the text, or their batches if there are too few blocks."""
        blocks = blocks_of(self.sample.value)
        is_apart = len(blocks) < at_least
        rounded = self._rounded(step)
        for number, block in enumerate(blocks):
            for batches in [[batch] for batch in block] if is_apart else [block]:
                numbers = list(chain(*batches))
                yield Span(
                    *(self.model, self.sample, step, wanted, lag, rounded),
                    block=number,
                    batches=batches,
                    streams=[stream.part(numbers) for stream in streams],
                    goes_on=goes_on,
                )

    def _rounded(self, step: Step) -> Rounded:
        """The tensors that the step has in the rounded stream."""
        if step.layer is None:
            return {}
        known = self.weights.rounded
        names = self.model.value.tensors_of(step.layer)
        return {name: known[name] for name in names if name in known}

    def _here(
        self, spans: Iterable[Span], into: Sequence[Stream]
    ) -> Iterator[tuple[Span, Gathered]]:
        """Run spans in threads of this process."""
        for span in spans:
            own = [stream.part(span.numbers) for stream in into]
            yield span, gathered(span, own, self.workers, self.computing.number)

    def _elsewhere(
        self, others: Workers, spans: Iterable[Span], into: Sequence[Stream]
    ) -> Iterator[tuple[Span, Gathered]]:
        """Let other machines run spans."""
        for span, found in others.in_order(spanned, spans):
            for stream, after in zip(into, found.after, strict=True):
                stream.take(after)
            yield span, found.gathered


def _folded(found: Iterable[tuple[Span, Gathered]]) -> Gathered:
    """What all spans gave: the sum of their blocks."""
    whole = Gathered()
    for _, spans in groupby(found, key=lambda each: each[0].block):
        block = Gathered()
        for _, own in spans:
            block.add(own)
        whole.add(block)
    return whole
