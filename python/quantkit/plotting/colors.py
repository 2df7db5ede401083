"""The colors of figures by their roles.

Each role has a color of its own, so that a report can replace it by a variable of its
style sheet, which has other values on a dark screen (`svg`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

__all__ = ["COLORS", "Colors", "variables"]


@dataclass(frozen=True)
class Colors:
    """Roles of colors, as #rrggbb, for light paper.

    Attributes:
        paper: what figures are on.
        ink: text.
        muted: axes, and text beside figures.
        rule, grid: lines that are part of the paper.
        best: what is on the Pareto front.
        other: what is not.
        chosen: what was chosen.
        floor: the noise floor.
        heat: a large error; smaller ones are paler.
    """

    paper: str = "#fefefe"
    ink: str = "#1b2330"
    muted: str = "#5a6473"
    rule: str = "#aab2be"
    grid: str = "#e6e9ee"
    best: str = "#1c5fc0"
    other: str = "#8a93a1"
    chosen: str = "#c2480e"
    floor: str = "#7b5ea7"
    heat: str = "#b3362c"


COLORS = Colors()


def variables() -> dict[str, str]:
    """The color of each role."""
    return asdict(COLORS)
