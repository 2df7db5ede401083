"""Which matrices of a step read the same inputs, and in which order they run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from .captured_model import CapturedModel, Step
from .capturing import CapturedWeights, Part
from .streams import Piece, Stream, Wanted, run_piece
from .sums import sites_of

__all__ = ["Stage", "passes", "stages_of"]

BUDGET = 2 << 30
"""Bytes of sums that are in memory at a time, unless one site needs more; and as many
of the block of the text that is summed."""


@dataclass(frozen=True)
class Stage:
    """Tensors that read the same inputs.

    Attributes:
        tensors: their names.
        skipped: the tensors of this stage and of the later ones of the step, which the
            inputs do not depend on.
    """

    tensors: tuple[str, ...]
    skipped: frozenset[str]


def stages_of(
    model: CapturedModel,
    step: Step,
    stream: Stream,
    names: Collection[str],
) -> list[Stage]:
    """The stages of a step, in the order in which it multiplies their matrices.

    The first sequence is run to find out.

    Args:
        model: the model.
        step: the step.
        stream: the unquantized stream.
        names: the tensors that are to be solved.
    """
    parts = model.weights.parts
    wanted = Wanted(frozenset(part for name in names for part in parts(name)))
    (ran,) = run_piece(Piece(model, step, wanted, (stream,), 0, {}))
    groups: list[list[str]] = []
    for sharing in sites_of(ran.inputs).values():
        tensors = dict.fromkeys(part.tensor for part in sharing)
        known = [group for group in groups if not tensors.keys().isdisjoint(group)]
        if not known:
            groups.append(list(tensors))
            continue
        known[0] += [name for name in tensors if name not in known[0]]
        for other in known[1:]:
            known[0] += [name for name in other if name not in known[0]]
            groups.remove(other)
    return [
        Stage(tuple(group), frozenset(name for later in groups[i:] for name in later))
        for i, group in enumerate(groups)
    ]


def passes(
    weights: CapturedWeights, stages: Sequence[Stage], n_sums: int
) -> Iterator[list[Part]]:
    """The parts of stages, as many at a time as the budget of their sums allows.

    Parts with the same number (the experts' matrices) stay together.

    Args:
        weights: the model's weights.
        stages: the stages.
        n_sums: the number of sums [n_cols, n_cols] that a site needs.
    """
    chosen: list[Part] = []
    n_bytes = 0
    for stage in stages:
        parts = [weights.parts(name) for name in stage.tensors]
        for number in range(max(map(len, parts))):
            own = [each[number] for each in parts if number < len(each)]
            widest = max(weights.n_cols(part.tensor) for part in own)
            needed = n_sums * 8 * widest**2
            if chosen and n_bytes + needed > BUDGET:
                yield chosen
                chosen, n_bytes = [], 0
            chosen += own
            n_bytes += needed
    if chosen:
        yield chosen
