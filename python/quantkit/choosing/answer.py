"""From the measurements to the answer: what became of each candidate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..evaluate.entries import Entry
from ..evaluate.known import Known
from ..evaluate.measurement import Measurement
from ..evaluate.pairs import PairedDifference
from ..evaluate.pareto import on_front
from ..evaluate.results import Comparison
from .candidate import CHOSEN, Candidate
from .choice import Choice
from .contest import LESS_IS_ENOUGH
from .selection import Selection
from .sentence import sentence_of

__all__ = ["answered"]

TOO_LARGE = "does not fit"
NOT_MEASURED = "not measured"
BASE = "the model as it is"


def answered(
    known: Known,
    selection: Selection,
    result: Comparison | None,
    winner: str | None,
    out: Mapping[str, str],
) -> Choice:
    """The answer.

    Args:
        known: the model and the texts.
        selection: the candidates.
        result: the measurements; None: there are none.
        winner: the name of the candidate to take; None: none is good enough.
        out: why others were not chosen, by name; see `Contest.outcomes`.
    """
    rows = {} if result is None else {row.name: row for row in result.results}
    made = {
        entry.name: _candidate(selection, entry, rows.get(entry.name), winner, out)
        for entry in (selection.base, *selection.entries.values())
    }
    ordered = sorted(made.values(), key=lambda each: (each.size_bytes, each.name))
    chosen = None if winner is None else made[winner]
    smaller, larger = _neighbours(ordered, chosen)
    pairs = _paired(result, smaller, chosen), _paired(result, larger, chosen)
    ctx = None if selection.runtime is None else selection.runtime.ctx
    return Choice(
        model=known.model,
        text=", ".join(text.name for text in known.texts),
        budget=selection.budget,
        ctx=ctx,
        chosen=chosen,
        smaller=smaller,
        larger=larger,
        differences=[pair for pair in pairs if pair is not None],
        candidates=ordered,
        sentence=sentence_of(
            *(selection.budget, ctx, chosen),
            *((smaller, larger), pairs, _nearest(selection, ordered)),
        ),
        comparison=result,
    )


def _candidate(
    selection: Selection,
    entry: Entry,
    row: Measurement | None,
    winner: str | None,
    out: Mapping[str, str],
) -> Candidate:
    """What became of an entry, from its row if it was measured."""
    outcome, is_barred = out.get(entry.name), False
    if entry.name == winner:
        outcome = CHOSEN
    elif not selection.fits(entry):
        outcome, is_barred = TOO_LARGE, True
    elif outcome is None:
        outcome = _left_over(entry, winner)
    return Candidate(
        entry.name,
        None if entry.wanted is None else entry.wanted.file or entry.wanted.name,
        entry.file_bytes,
        entry.bits_per_weight,
        entry.importance is not None,
        selection.need(entry),
        is_barred,
        outcome,
    ).measured(row)


def _left_over(entry: Entry, winner: str | None) -> str:
    """Why an entry that fits, and took no part in the contest, was not chosen."""
    if entry.wanted is not None:
        return NOT_MEASURED
    return BASE if winner is None else LESS_IS_ENOUGH


def _neighbours(
    ordered: Sequence[Candidate], chosen: Candidate | None
) -> tuple[Candidate | None, Candidate | None]:
    """The next smaller and the next larger candidate that is not beaten."""
    if chosen is None or chosen.kld_mean is None:
        return None, None
    measured = [each for each in ordered if each.kld_mean is not None]
    front = on_front(measured, measured, lambda e: (e.size_bytes, e.kld_mean or 0.0))
    smaller = [each for each in front if each.size_bytes < chosen.size_bytes]
    larger = [each for each in front if each.size_bytes > chosen.size_bytes]
    return (smaller[-1] if smaller else None), (larger[0] if larger else None)


def _paired(
    result: Comparison | None, other: Candidate | None, chosen: Candidate | None
) -> PairedDifference | None:
    """A neighbour minus the chosen candidate."""
    if result is None or other is None or chosen is None:
        return None
    return result.versus(other.name, chosen.name)


def _nearest(selection: Selection, ordered: Sequence[Candidate]) -> Candidate | None:
    """The candidate that comes nearest to the limits, if none keeps them.

    The smallest one if none fits, otherwise the one that loses least of those that do.
    """
    able = [each for each in ordered if each.name in selection.fitting]
    measured = [each for each in able if each.kld_mean is not None]
    if not measured:
        return ordered[0] if ordered and not able else None
    return min(measured, key=lambda each: each.kld_mean or math.inf)
