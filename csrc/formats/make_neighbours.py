"""Writes neighbours.c: for every point of a codebook type, the entries to choose from.

    python csrc/formats/make_neighbours.py neighbours.c     # CMake does; no packages
    python csrc/formats/make_neighbours.py neighbours.cuh   # for CUDA

A point is what a few weights round to: eight levels of 0..2, or four of 0..7.  Few
points are entries of the codebook.  For one that is not, a quantizer chooses among the
entries at the few smallest distances from it, in order of distance and then of index.
That order decides ties, so it is part of the bytes (ggml: iq2xs_init_impl and
iq3xs_init_impl).
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

GRIDS = Path(__file__).with_name("grids.h")
# How many smallest distances count.
DISTANCES = {
    "iq1_s": 3,
    "iq2_xxs": 2,
    "iq2_xs": 2,
    "iq2_s": 1,
    "iq3_xxs": 2,
    "iq3_s": 3,
}

# As in neighbours.h.
MOST_NEIGHBOURS = 511


class Form(NamedTuple):
    """A file of tables.

    Attributes:
        unit: NEIGHBOUR_UNIT, in codes.
        head: what comes before the tables.
        table: what a table is declared as.
        align: what aligns one to so many bytes.
    """

    unit: int
    head: str
    table: str
    align: str


FORMS = {
    ".c": Form(16, '#include "formats/neighbours.h"\n', "const", "_Alignas({})"),
    ".cuh": Form(32, "#define NEIGHBOUR_UNIT 32\n", "QK_TABLE", "alignas({})"),
}
"""By the ending of the file: for processors, and to be included for CUDA."""

# Their searches do not choose by distance from the weights that were rounded.
WITHOUT_SHORT_LISTS = {"iq1_s"}

Levels = tuple[int, ...]


def codebook(name: str) -> list[Levels]:
    """The entries of one codebook as levels: 0 for the smallest value, and so on."""
    text = GRIDS.read_text(encoding="utf8")
    body = re.search(rf" {name}_grid\[\d+\]\[\d\] = \{{(.*?)\n\}};", text, re.S)
    assert body, f"no {name}_grid in {GRIDS}"
    rows = re.findall(r"\{([-\d,]+)\}", body[1])
    values = [tuple(map(int, row.split(","))) for row in rows]
    level_of = {v: i for i, v in enumerate(sorted({v for row in values for v in row}))}
    return [tuple(level_of[v] for v in row) for row in values]


def points(dims: int) -> Iterator[Levels]:
    """Every point in the order of its key, which lanes compute as they round."""
    if dims == 8:  # the key in base 3, the first level first
        return itertools.product(range(3), repeat=8)
    return (p[::-1] for p in itertools.product(range(8), repeat=4))  # it is the code


def code(levels: Levels) -> int:
    """Levels as bits, the first lowest: 2 bits each of eight, 3 bits each of four."""
    bits = 2 if len(levels) == 8 else 3
    return sum(level << bits * i for i, level in enumerate(levels))


class Halves:
    """Sums over the places of two sets of levels, for many entries, from tables.

    Levels are taken as two halves, of which there are few: each is a number 0..255.
    """

    def __init__(self, entries: list[Levels]) -> None:
        self.size = len(entries[0]) // 2
        n_levels = 1 + max(map(max, entries))
        self.all = list(itertools.product(range(n_levels), repeat=self.size))
        self.number = {half: i for i, half in enumerate(self.all)}
        split = [self.split(entry) for entry in entries]
        self.first, self.second = (bytes(part) for part in zip(*split, strict=True))
        self.squares = [bytes(self._of_half(a, square)) for a in self.all]
        self.steps = [self._of_half(a, steps) for a in self.all]

    def split(self, levels: Levels) -> tuple[int, int]:
        """The numbers of the halves of levels."""
        return self.number[levels[: self.size]], self.number[levels[self.size :]]

    def _of_half(
        self, a: Levels, function: Callable[[Levels, Levels], int]
    ) -> list[int]:
        return [function(a, b) for b in self.all] + [0] * (256 - len(self.all))

    def distances(self, point: Levels) -> bytes:
        """The squared distance of each entry from a point, which fits a byte."""
        first, second = (self.squares[half] for half in self.split(point))
        a, b = self.first.translate(first), self.second.translate(second)
        both = int.from_bytes(a, "little") + int.from_bytes(b, "little")
        return both.to_bytes(len(a), "little")

    def path(self, point: Levels, entry: int) -> int:
        """The steps from a point to an entry."""
        first, second = (self.steps[half] for half in self.split(point))
        bits = 16 * self.size
        return first[self.first[entry]] << bits | second[self.second[entry]]


def square(a: Levels, b: Levels) -> int:
    """Squared distance."""
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def steps(a: Levels, b: Levels) -> int:
    """The steps from a to b as bits, one for each level passed in each place."""
    found = 0
    for x, y in zip(a, b, strict=True):
        up, down = (1 << max(y - x, 0)) - 1, (1 << max(x - y, 0)) - 1
        found = found << 16 | up << 8 | down
    return found


def places_of(value: int, items: bytes) -> Iterator[int]:
    """Where the items have a value, in order."""
    at = items.find(value)
    while at >= 0:
        yield at
        at = items.find(value, at + 1)


def neighbours_of(point: Levels, halves: Halves, distances: int) -> list[int]:
    """The entries to choose from for a point, by index; none if it is an entry."""
    found = halves.distances(point)
    nearest = sorted(set(found))[:distances]
    if nearest[0] == 0:
        return []
    return [i for distance in nearest for i in places_of(distance, found)]


def shortened(point: Levels, neighbours: list[int], halves: Halves) -> list[int]:
    """Neighbours without those that another is on the way to.

    Weights that round to the point are at least as near to that other in every place.
    """
    kept: list[int] = []
    passed: list[int] = []
    for i in neighbours:
        path = halves.path(point, i)
        if all(other & ~path for other in passed):
            kept.append(i)
            passed.append(path)
    return kept


def table(declared: str, values: list[int]) -> str:
    """One C array of numbers, many a line."""
    numbers = [str(v) for v in values]
    lines = [",".join(numbers[i : i + 16]) + "," for i in range(0, len(numbers), 16)]
    return f"{declared}[] = {{\n" + "\n".join(lines) + "\n};\n"


def tables(name: str, distances: int, form: Form) -> str:
    """The points and lists of one codebook; neighbours.h says what they hold."""
    entries = codebook(name)
    index = {entry: i for i, entry in enumerate(entries)}
    place: dict[tuple[int, ...], int] = {}
    codes: list[int] = []

    def add(point: Levels, neighbours: list[int]) -> int:
        if not neighbours:
            return index[point] << 16 | code(point)
        found = tuple(code(entries[i]) for i in neighbours)
        if found not in place:
            place[found] = len(codes) // form.unit
            codes.extend(found + found[-1:] * (-len(found) % form.unit))
        assert len(found) <= MOST_NEIGHBOURS
        return -(1 << 31) + place[found] * (MOST_NEIGHBOURS + 1) + len(found)

    halves = Halves(entries)
    keys = list(points(len(entries[0])))
    lists = [neighbours_of(point, halves, distances) for point in keys]
    heads = [add(p, found) for p, found in zip(keys, lists, strict=True)]
    if name not in WITHOUT_SHORT_LISTS:
        for p, found in zip(keys, lists, strict=True):
            heads.append(add(p, shortened(p, found, halves)))
    align = form.align.format(2 * form.unit)
    return table(f"{form.table} int32_t qk_{name}_points", heads) + table(
        f"{align} {form.table} uint16_t qk_{name}_lists", codes
    )


def main() -> None:
    """Write the file that is named on the command line."""
    target = Path(sys.argv[1])
    form = FORMS[target.suffix]
    parts = [tables(name, distances, form) for name, distances in DISTANCES.items()]
    head = f"/* Written by make_neighbours.py. */\n{form.head}\n"
    target.write_text(head + "\n".join(parts), encoding="utf8")


if __name__ == "__main__":
    main()
