"""When to take which file, by what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..evaluate.measurement import Measurement
from ..evaluate.results import Comparison
from ..evaluate.verdict import GOOD_ENOUGH, smallest_good
from ..quantities import bytes_as_text

__all__ = ["FIRST", "advice", "base_name"]

FIRST = f"first choice: the smallest with a KLD below {GOOD_ENOUGH}"
CERTAIN = 0.05


def base_name(base: Measurement) -> str:
    """How texts name the model that files are compared with."""
    is_plain = base.type in ("F32", "F16", "BF16")
    return "the unquantized model" if is_plain else f"the model in {base.type}"


def advice(result: Comparison, shown: Mapping[str, str]) -> Mapping[str, str]:
    """When to take each row, by its name.

    Args:
        result: the comparison.
        shown: how texts name a row, by its name.
    """
    rows = sorted(result.results, key=lambda row: row.size_bytes)
    names = result.pareto()
    front = [row for row in rows if row.name in names]
    first = smallest_good(front)
    told = {}
    for row in rows:
        if row.name not in names:
            told[row.name] = _beaten(row, result, shown)
        elif first is not None and row.name == first.name:
            told[row.name] = FIRST
        else:
            told[row.name] = _on_front(row, front, first, shown)
    return told


def _on_front(
    row: Measurement,
    front: Sequence[Measurement],
    first: Measurement | None,
    shown: Mapping[str, str],
) -> str:
    """For a row that no other one beats."""
    larger = [each for each in front if each.size_bytes > row.size_bytes]
    if first is not None and row.size_bytes > first.size_bytes:
        return f"loses less than {shown[first.name]}"
    if not larger:
        return "loses least of these files"
    size = bytes_as_text(larger[0].size_bytes)
    return f"if {shown[larger[0].name]} ({size}) does not fit"


def _beaten(row: Measurement, result: Comparison, shown: Mapping[str, str]) -> str:
    """For a row than which another one is no larger and loses no more."""
    better = [
        each
        for each in result.rows
        if each.size_bytes <= row.size_bytes
        and each.kld_mean <= row.kld_mean
        and each.name != row.name
    ]
    best = min(better, key=lambda each: (each.kld_mean, each.size_bytes))
    if result.versus(row.name, best.name).kld_p_value < CERTAIN:
        return f"no: {shown[best.name]} is no larger and loses less"
    return f"no better than {shown[best.name]}, which is no larger"
