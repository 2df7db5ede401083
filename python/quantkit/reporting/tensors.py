"""Tensors by kind and layer: the recipe of each row, and where its error is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from ..cells import Cells
from ..evaluate.details import Details
from ..plotting.heat import HeatMap, draw_maps, height_of
from ..types import QuantType
from .page import Figure, Table

__all__ = ["error_maps", "recipe_table"]

IN_LAYER = re.compile(r"^(enc\.|dec\.)?blk\.(\d{1,6})\.(.+)$")
MOST_MAPS = 6


def _kind(tensor: str) -> str:
    """A tensor's name without its layer."""
    found = IN_LAYER.match(tensor)
    kind = f"{found[1] or ''}{found[3]}" if found else tensor
    return kind.removesuffix(".weight")


def recipe_table(details: Details, rows: Sequence[str]) -> Table:
    """The types of the matrices, by kind; `rows` are the names in their order."""
    kinds = list(dict.fromkeys(_kind(t) for name in rows for t in details.types[name]))
    kinds = [k for k in kinds if _is_mixed(details, rows, k)] or kinds[:1]
    cells = [
        (name, *(_types_of(details.types[name], kind) for kind in kinds))
        for name in rows
    ]
    return Table(
        "The type of each kind of tensor, and how many layers have it. Kinds with the "
        "same type in every row are left out.",
        Cells(("row", *kinds), cells),
    )


def _is_mixed(details: Details, rows: Sequence[str], kind: str) -> bool:
    """Whether the rows differ in the type of a kind."""
    return len({_types_of(details.types[name], kind) for name in rows}) > 1


def _types_of(types: Mapping[str, QuantType], kind: str) -> str:
    """Such as "Q4_K", or "15 Q6_K, 15 Q4_K"."""
    counts = Counter(type.name for name, type in types.items() if _kind(name) == kind)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{n} {type}" for type, n in counts.most_common())


def error_maps(details: Details, names: Sequence[str]) -> Figure | None:
    """The errors of weights of at most `MOST_MAPS` rows; None: there are none."""
    known = [name for name in names if name in details.weight_errors]
    maps = [_map(name, details.weight_errors[name]) for name in known[:MOST_MAPS]]
    maps = [each for each in maps if each.errors]
    if not maps:
        return None
    others = ""
    if len(known) > MOST_MAPS:
        others = f" Not shown: {', '.join(known[MOST_MAPS:])}."
    outside = "; ".join(filter(None, (_outside(details, m.name) for m in maps)))
    beside = f" Outside of the layers: {outside}." if outside else ""
    height = height_of(maps)
    return Figure(
        "errors",
        "The error of the weights by layer and kind of tensor",
        f"Columns are layers, the first at the left. {_measure(details, maps)} Each "
        f"map has its own scale.{beside}{others}",
        lambda figure: draw_maps(figure, maps),
        height,
        height,
        "; ".join(_as_text(each) for each in maps),
    )


def _measure(details: Details, maps: Sequence[HeatMap]) -> str:
    """What the errors are."""
    plain = "root mean square of quantized minus original weight, divided by that of "
    plain += "the original weights, from a sample of rows of each tensor."
    weighted = [each.name for each in maps if each.name in details.weighted]
    if not weighted:
        return f"Color is the error of the weights: the {plain}"
    return (
        f"Color is the error of the weights: the {plain} In {', '.join(weighted)} both "
        "are weighted by the importance of their columns, so it is about the error of "
        "the matrix's output."
    )


def _map(name: str, errors: Mapping[str, float]) -> HeatMap:
    """The errors inside layers."""
    found: dict[str, dict[int, float]] = {}
    for tensor, error in errors.items():
        place = IN_LAYER.match(tensor)
        if place:
            found.setdefault(_kind(tensor), {})[int(place[2])] = error
    return HeatMap(name, found)


def _outside(details: Details, name: str) -> str:
    """The errors of tensors that are in no layer, as text."""
    errors = details.weight_errors[name]
    parts = [
        f"{_kind(tensor)} {100 * error:.2g} %"
        for tensor, error in errors.items()
        if not IN_LAYER.match(tensor)
    ]
    return f"{name}: {', '.join(parts)}" if parts else ""


def _as_text(map: HeatMap) -> str:
    """The mean error of each kind."""
    means = {k: sum(row.values()) / len(row) for k, row in map.errors.items()}
    return f"{map.name}: {', '.join(f'{k} {100 * v:.2g} %' for k, v in means.items())}"
