"""Run a step on the whole text, and sum the inputs of some of its matrices."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..execution.workers import Workers
from ..forward.base import F32
from ..inference.computing import EXACT, Computing
from .capturing import CapturedWeights, Part
from .device_sums import add_rows_there
from .sample import Sample
from .site import Site
from .streams import ALONE, Ran, Step, Stream, Wanted, run_step
from .sums import Found, Rows, Sums, add_rows, found_in, sites_of

__all__ = ["Gathered", "Gatherer", "Lag"]


@dataclass(eq=False)
class Gathered:
    """The sites of a step.

    Attributes:
        sites: by their first parts.
        leaders: by part, the first part of its site.
    """

    sites: dict[Part, Site] = field(default_factory=dict)
    leaders: dict[Part, Part] = field(default_factory=dict)

    def of(self, part: Part) -> Site | None:
        """The site of a part; None: no token has reached it."""
        return self.sites.get(self.leaders.get(part, part))

    def found(
        self, ran: Sequence[Ran], lag: F32 | None, lagging: Collection[str]
    ) -> Iterator[tuple[Part, Found]]:
        """The inputs that one sequence has at each site.

        Args:
            ran: what the streams gave.
            lag: of the residual stream [tokens, width].
            lagging: the tensors that make up for it.
        """
        seen = ran[-1].inputs
        for leader, parts in sites_of(seen).items():
            self.leaders |= dict.fromkeys(parts, leader)
            own = seen[leader]
            exact = own if len(ran) == 1 else ran[0].inputs.get(leader)
            yield (
                leader,
                found_in(own, exact, lag if leader.tensor in lagging else None),
            )


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
class Gatherer:
    """Sums inputs over the calibration text.

    Attributes:
        weights: the model's weights.
        sample: the tokens.
        workers: run some sequences, or sum some rows, at a time.
        computing: where layers run and rows are summed.
    """

    weights: CapturedWeights
    sample: Sample
    workers: Workers
    computing: Computing = EXACT

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
        gathered = Gathered()
        is_held_out, is_compared = self.sample.is_held_out, self.sample.is_compared
        for batch in run_step(self.weights, step, wanted, streams, self.workers):
            rows: dict[Part, list[Rows]] = {}
            for number, ran in batch:
                behind = lag.of(streams, number)
                for leader, found in gathered.found(ran, behind, lag.tensors):
                    site = self._site(gathered, leader, found)
                    if number == ALONE:
                        site.add_alone(found, self.sample.is_alone_held_out)
                        continue
                    if is_held_out[number]:
                        site.held.append(found.later)
                        continue
                    rows.setdefault(leader, []).append(found.later)
                    if is_compared[number]:
                        site.compared.append(found.later)
                if into:
                    _put(into, number, ran)
            added = [
                (gathered.sites[at].sums, Rows.joined(all)) for at, all in rows.items()
            ]
            if self.computing.cards:
                add_rows_there(added, self.computing)
            else:
                add_rows(added, self.workers)
        return gathered

    def _site(self, gathered: Gathered, leader: Part, found: Found) -> Site:
        if leader not in gathered.sites:
            sample = self.sample
            n_alone_held = int(sample.is_alone_held_out.sum())
            gathered.sites[leader] = Site(
                Sums(found.rows.seen.shape[1]),
                n_all=sample.n_tokens,
                n_all_held=sample.n_held_out,
                n_all_compared=sample.n_compared,
                per_chunk=sample.chunks.shape[1],
                n_alone=len(sample.alone) - n_alone_held,
                n_alone_held=n_alone_held,
            )
        return gathered.sites[leader]


def _put(into: Sequence[Stream], number: int, ran: Sequence[Ran]) -> None:
    for stream, each in zip(into, ran, strict=True):
        assert each.output is not None  # the step was run to its end
        stream.of(number)[...] = each.output
