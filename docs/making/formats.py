"""The page of byte layouts, from the table of them: docs/formats.md.

    python -m docs.making.formats

writes it; a test says if that is due.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from quantkit.types import QuantType

from .layouts import CODEBOOKS, LAYOUTS, Bits, Group, Layout, Units

__all__ = ["PATH", "page"]

PATH = Path(__file__).parents[1] / "formats.md"

HEAD = """\
# Formats

What the bytes of each block type mean. Rows of a tensor are stored one after another,
and each row is a sequence of blocks. This page is written by
`python -m docs.making.formats` from a table. A test decodes random blocks by the table
and compares every weight with `quantkit.dequantize`.

How to read the drawings: a line is a *unit* of 1, 2 or 4 bytes (little-endian), with
its highest bit on the left, as numbers are written. If a part has several units, `i`
counts them from 0; if it has several groups of units, `g` counts the groups.
`code[i + 16]` is the number i + 16 of the codes. "bits 4-5" are these bits of a number
whose other bits are elsewhere. `f16` is a half-precision float, `int8` a signed byte;
all other numbers are unsigned. The formula below a drawing gives weight `j` of the
block, in Python: `//` divides without a remainder, `%` gives the remainder.

F32, F16 and BF16 have no blocks: each weight is a number. Q8_1 and Q8_K occur only in
llama.cpp's memory, never in files.

{overview}

A *codebook* is a fixed list of points; a point has the values of 4 or 8 weights, up to
scale and sign. `book[p, k]` is value k of point p. The lists are in
`csrc/formats/grids.h`; IQ1_S and IQ1_M have the same one. `sign(s, k)` is -1 if bit k
of s is set, else 1.
"""


def page() -> str:
    """The text of the page."""
    parts = [HEAD.format(overview="\n".join(_overview()))]
    for name, layout in LAYOUTS.items():
        parts.append("\n".join(_section(name, layout)) + "\n")
    return "\n".join(parts)


def _overview() -> Iterator[str]:
    yield "| type | weights per block | bytes | bits per weight | codebook |"
    yield "|---|---|---|---|---|"
    for name in LAYOUTS:
        kind = QuantType[name]
        book = ""
        if name in CODEBOOKS:
            book = "{} points of {} weights".format(*CODEBOOKS[name])
        bits = f"{kind.bits_per_weight:g}"
        link = f"[{name}](#{name.lower()})"
        yield f"| {link} | {kind.block_size} | {kind.block_bytes} | {bits} | {book} |"


def _section(name: str, layout: Layout) -> Iterator[str]:
    kind = QuantType[name]
    yield f"## {name}"
    yield ""
    yield (
        f"{kind.block_size} weights in {kind.block_bytes} bytes: "
        f"{kind.bits_per_weight:g} bits per weight."
    )
    yield ""
    yield from _drawing(layout)
    yield ""
    yield f"    weight[j] = {layout.weight}"
    if layout.note:
        yield ""
        yield layout.note


def _drawing(layout: Layout) -> Iterator[str]:
    """An HTML table: bytes of a part, how often, and a cell for each field."""
    shape = Shape.of(layout)
    yield '<table class="bytes">'
    yield (
        f'<tr><th>bytes</th><th>units</th><th colspan="{shape.columns}">'
        "a unit, from its highest bit to its lowest</th></tr>"
    )
    start = 0
    for group in layout.groups:
        for part in group.parts:
            yield _line(start, group, part, shape)
            start += part.count * part.unit_bytes
        start += (group.count - 1) * _group_bytes(group)
    yield "</table>"


@dataclass(frozen=True)
class Shape:
    """What all lines of a drawing share.

    Attributes:
        columns: bits of the largest unit; each is a column of the table.
        width: by the name of a number, its bits.
    """

    columns: int
    width: dict[str, int]

    @classmethod
    def of(cls, layout: Layout) -> Shape:
        """That of a layout."""
        units = [part for group in layout.groups for part in group.parts]
        width: dict[str, int] = {}
        for field in (field for part in units for field in part.fields):
            width[field.name] = max(width.get(field.name, 0), field.low + field.width)
        return cls(8 * max(part.unit_bytes for part in units), width)


def _group_bytes(group: Group) -> int:
    return sum(part.count * part.unit_bytes for part in group.parts)


def _line(start: int, group: Group, part: Units, shape: Shape) -> str:
    first, last = str(start), str(start + part.count * part.unit_bytes - 1)
    if group.count > 1:
        step = f" + {_group_bytes(group)}g"
        first, last = first + step, last + step
    place = first if first == last else f"{first} to {last}"
    width = shape.columns // (8 * part.unit_bytes)
    cells = (
        f'<td class="{field.name}" colspan="{field.width * width}">'
        f"{_contents(field, group, part, shape)}</td>"
        for field in reversed(part.fields)
    )
    return f"<tr><td>{place}</td><td>{_units(group, part)}</td>{''.join(cells)}</tr>"


def _units(group: Group, part: Units) -> str:
    size = {1: "byte", 2: "16 bits", 4: "32 bits"}[part.unit_bytes]
    counts = (str(count) for count in (group.count, part.count) if count > 1)
    return " x ".join((*counts, size))


def _contents(field: Bits, group: Group, part: Units, shape: Shape) -> str:
    """What a cell holds, such as "code[i + 32] bits 4-5"."""
    text = f"<b>{field.name}</b>"
    if field.digits:
        starts = (field.start + n * field.by_digit for n in range(field.digits))
        indices = (_index(at, field, group, part) for at in starts)
        return f"{text}[{'], ['.join(indices)}]: digits of base 3"
    if not field.alone:
        text += f"[{_index(field.start, field, group, part)}]"
    if field.width < shape.width[field.name]:
        last = field.low + field.width - 1
        return text + (
            f" bits {field.low}-{last}" if field.width > 1 else f" bit {last}"
        )
    return f"{text} {field.kind}".rstrip()


def _index(start: int, field: Bits, group: Group, part: Units) -> str:
    """The index in units `i` and groups `g`, such as "64g + i + 32"."""
    terms = []
    for factor, letter, count in (
        (field.by_group, "g", group.count),
        (field.by_unit, "i", part.count),
    ):
        if factor and count > 1:
            terms.append(letter if factor == 1 else f"{factor}{letter}")
    if start or not terms:
        terms.append(str(start))
    return " + ".join(terms)


if __name__ == "__main__":
    PATH.write_text(page(), encoding="utf-8")
