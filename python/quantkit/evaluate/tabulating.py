"""The rows of a comparison, computed from scores as they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count, takewhile

from .described import Described, DescribedRow
from .likelihood import TokenScores
from .measurement import Measurement, TextResult
from .places import Place
from .results import Comparison
from .saved import Timed
from .summary import macro_average, measurement

__all__ = ["Tabulation", "TimedScores"]

TimedScores = Mapping[str, Mapping[Place, Timed]]
"""Name of the row -> place -> scores and seconds."""


@dataclass(frozen=True)
class _Row:
    """The scores of a row on a text, and the figures computed from them."""

    scores: TokenScores
    measurement: Measurement


class Tabulation:
    """Computes comparisons; rows that have no new chunks are not computed again.

    Args:
        timed: the scores, to which others may be added later.
        quantize_seconds: name of the row -> seconds to quantize.
    """

    def __init__(
        self, timed: TimedScores, quantize_seconds: Mapping[str, float]
    ) -> None:
        self._timed = timed
        self._seconds = quantize_seconds
        self._rows: dict[tuple[str, int], _Row] = {}

    def comparison(self, described: Described) -> Comparison:
        """The comparison, by the chunks that each row and the base have in common.

        Args:
            described: the rows; each and the base have the first chunk of every text.
        """
        texts = described.texts
        found = [
            [self._row(described, row, t) for t in range(len(texts))]
            for row in described.rows
        ]
        base, *others = [[row.measurement for row in rows] for rows in found]
        average = macro_average(base)
        return Comparison(
            model=described.model,
            text=texts[0].name if len(texts) == 1 else "macro average",
            ctx=described.ctx,
            chunks=average.chunks,
            stride=described.stride,
            activations=described.activations,
            base=average,
            results=[macro_average(rows) for rows in others],
            texts=[
                TextResult(text.name, base[t].chunks, base[t], [r[t] for r in others])
                for t, text in enumerate(texts)
            ],
            scores={
                row.name: [each.scores for each in rows]
                for row, rows in zip(described.rows, found, strict=True)
            },
            on_grid=described.on_grid,
            fallbacks={row.name: row.fallbacks for row in described.rows},
            weighed=described.weighed,
            calibrated=described.calibrated,
            device=described.device,
        )

    def _row(self, described: Described, row: DescribedRow, t: int) -> _Row:
        """A row on a text, recomputed if there are new chunks."""
        own, base = self._timed[row.name], self._timed[described.rows[0].name]
        both = takewhile(lambda i: (t, i) in own and (t, i) in base, count())
        chunks = [own[t, i] for i in both]
        known = self._rows.get((row.name, t))
        if known is None or known.measurement.chunks != len(chunks):
            scores = TokenScores.stacked([chunk.scores for chunk in chunks])
            seconds = sum(chunk.seconds for chunk in chunks)
            speed = len(chunks) * described.ctx / seconds
            known = self._made(described, row, t, scores, speed)
            self._rows[row.name, t] = known
        return known

    def _made(
        self,
        described: Described,
        row: DescribedRow,
        t: int,
        scores: TokenScores,
        speed: float,
    ) -> _Row:
        base, first = scores, described.rows[0]
        if row.name != first.name:
            base = self._row(described, first, t).scores.first(len(scores.nll))
        seconds = self._seconds.get(row.name)
        return _Row(scores, measurement(row, scores, base, speed, seconds))
