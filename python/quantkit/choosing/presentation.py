"""A choice as tables: what became of each candidate, and where memory goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..cells import Cells
from ..quantities import bytes_as_text, share_as_text, value_as_text
from .candidate import CHOSEN, Candidate

if TYPE_CHECKING:  # which shows itself by these tables
    from .choice import Choice

__all__ = ["candidate_cells", "memory_cells"]

PARTS = {
    "weights": "weights",
    "cache": "keys and values",
    "state": "recurrent state",
    "compute": "compute buffers (estimate)",
}


def candidate_cells(choice: Choice) -> Cells:
    """One row per candidate, the smallest first."""
    rows = [
        (
            ">" if each.outcome == CHOSEN else "",
            each.name,
            bytes_as_text(each.size_bytes),
            *_figures(each),
            each.outcome,
        )
        for each in choice.candidates
    ]
    columns = ("", "type", ">size", ">chunks", ">KLD", ">PPL", "outcome")
    return Cells(columns, rows)


def _figures(candidate: Candidate) -> tuple[str, str, str]:
    if candidate.kld_mean is None or candidate.ppl_loss is None:
        return "", "", ""
    return (
        str(candidate.chunks),
        value_as_text(candidate.kld_mean, candidate.kld_mean_error),
        share_as_text(candidate.ppl_loss, None),
    )


def memory_cells(choice: Choice) -> Cells | None:
    """The parts of the chosen candidate's memory; None: memory is not limited."""
    if choice.chosen is None or choice.chosen.need is None:
        return None
    need = choice.chosen.need
    rows = [
        (name, bytes_as_text(getattr(need, part)))
        for part, name in PARTS.items()
        if getattr(need, part)
    ]
    return Cells(("memory", ">bytes"), [*rows, ("total", bytes_as_text(need.total))])
