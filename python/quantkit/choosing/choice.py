"""The answer to a question of choice, with the evidence for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..by_value import ByValue
from ..cells import Cells
from ..evaluate.pairs import PairedDifference
from ..evaluate.results import Comparison
from ..files.json_file import without_nan
from ..mixing.mix import Mix
from .budget import Budget
from .candidate import Candidate
from .presentation import candidate_cells, memory_cells

__all__ = ["Choice"]

VERSION = 1
"""The version of the JSON, increased when a key changes its meaning."""


@dataclass(frozen=True, eq=False)
class Choice(ByValue):
    """Which type to take, and why.

    Attributes:
        model: the name of the model.
        text: the name of the text.
        budget: the limits.
        ctx: the context for which memory was computed; None: memory is not limited.
        chosen: the candidate to take; None: no candidate keeps the limits.
        smaller, larger: its neighbours: the next smaller and the next larger candidate
            that is not beaten by another one; None: there is none.
        differences: each neighbour minus the chosen one, paired.
        candidates: all candidates, the smallest first.
        sentence: the answer in one sentence.
        comparison: the measurements; None: nothing had to be measured.
        mix: the mix of types that was tried; None: there was none.
    """

    model: str
    text: str
    budget: Budget
    ctx: int | None
    chosen: Candidate | None
    smaller: Candidate | None
    larger: Candidate | None
    differences: Sequence[PairedDifference]
    candidates: Sequence[Candidate]
    sentence: str
    comparison: Comparison | None = field(repr=False)
    mix: Mix | None = field(default=None, repr=False)

    def cells(self) -> Cells:
        """The candidates as a table of text, the smallest first."""
        return candidate_cells(self)

    def _shown(self) -> list[Cells | str]:
        memory = memory_cells(self)
        return [self.sentence, self.cells(), *([] if memory is None else [memory])]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with None for unknown values."""
        names = ("model", "text", "budget", "ctx", "chosen", "smaller", "larger")
        data: dict[str, Any] = {"version": VERSION, "sentence": self.sentence}
        for name in names:
            value = getattr(self, name)
            is_plain = value is None or isinstance(value, str | int)
            data[name] = value if is_plain else asdict(value)
        for name in ("differences", "candidates"):
            data[name] = [asdict(each) for each in getattr(self, name)]
        comparison, mix = self.comparison, self.mix
        data["mix"] = None if mix is None else mix.to_dict()
        data["comparison"] = None if comparison is None else comparison.to_dict()
        plain: dict[str, Any] = without_nan(data)
        return plain
