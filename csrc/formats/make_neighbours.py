"""Writes neighbours.c: for every point of a codebook type, the entries to choose from.

    python csrc/formats/make_neighbours.py neighbours.c     # CMake does; no packages

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
from collections.abc import Iterator
from pathlib import Path

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
UNIT = 16
MOST_NEIGHBOURS = 511

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


def square(a: Levels, b: Levels) -> int:
    """Squared distance."""
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def neighbour_lists(entries: list[Levels], distances: int) -> Iterator[list[int]]:
    """For each point the entries to choose from, by index; none if it is an entry."""
    half = len(entries[0]) // 2
    levels = range(1 + max(map(max, entries)))
    halves = list(itertools.product(levels, repeat=half))
    place = {a: i for i, a in enumerate(halves)}
    table = {a: [square(a, b) for b in halves] for a in halves}
    split = [(place[e[:half]], place[e[half:]]) for e in entries]
    known = set(entries)
    for point in points(2 * half):
        if point in known:
            yield []
            continue
        first, second = table[point[:half]], table[point[half:]]
        found = [first[a] + second[b] for a, b in split]
        farthest = sorted(set(found))[:distances][-1]
        near = [i for i, x in enumerate(found) if x <= farthest]
        yield sorted(near, key=found.__getitem__)


def steps(a: Levels, b: Levels) -> int:
    """The steps from a to b as bits, one for each level passed in each place."""
    found = 0
    for x, y in zip(a, b, strict=True):
        up, down = (1 << max(y - x, 0)) - 1, (1 << max(x - y, 0)) - 1
        found = found << 16 | up << 8 | down
    return found


def shortened(point: Levels, neighbours: list[int], entries: list[Levels]) -> list[int]:
    """Neighbours without those that another is on the way to.

    Weights that round to the point are at least as near to that other in every place.
    """
    kept: list[int] = []
    passed: list[int] = []
    for i in neighbours:
        path = steps(point, entries[i])
        if all(other & ~path for other in passed):
            kept.append(i)
            passed.append(path)
    return kept


def table(array: str, values: list[int]) -> str:
    """One C array of numbers, many a line."""
    numbers = [str(v) for v in values]
    lines = [",".join(numbers[i : i + 16]) + "," for i in range(0, len(numbers), 16)]
    return f"const {array}[] = {{\n" + "\n".join(lines) + "\n};\n"


def tables(name: str, distances: int) -> str:
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
            place[found] = len(codes) // UNIT
            codes.extend(found + found[-1:] * (-len(found) % UNIT))
        assert len(found) <= MOST_NEIGHBOURS
        return -(1 << 31) + place[found] * (MOST_NEIGHBOURS + 1) + len(found)

    lists = list(neighbour_lists(entries, distances))
    keys = list(points(len(entries[0])))
    heads = [add(p, found) for p, found in zip(keys, lists, strict=True)]
    if name not in WITHOUT_SHORT_LISTS:
        for p, found in zip(keys, lists, strict=True):
            heads.append(add(p, shortened(p, found, entries)))
    lists_array = f"_Alignas({2 * UNIT}) uint16_t qk_{name}_lists"
    return table(f"int32_t qk_{name}_points", heads) + table(lists_array, codes)


def main() -> None:
    """Write the C file that is named on the command line."""
    parts = [tables(name, distances) for name, distances in DISTANCES.items()]
    head = '/* Written by make_neighbours.py. */\n#include "formats/neighbours.h"\n\n'
    Path(sys.argv[1]).write_text(head + "\n".join(parts), encoding="utf8")


if __name__ == "__main__":
    main()
