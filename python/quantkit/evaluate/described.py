"""What a comparison is of: all of its result that is known before any score.

It holds no model and no text, so that it can be kept beside the scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import FormatError
from ..inference.computing import ACTIVATIONS
from ..settings import (
    NULL,
    OBJECT,
    SIZE,
    TEXT,
    Kind,
    checked,
    either,
    integer,
    list_of,
    number,
)
from .entries import Entry
from .precisions import BOTH

__all__ = ["Described", "DescribedRow", "DescribedText"]

NAMES = list_of(TEXT)
NAMED = (*ACTIVATIONS, BOTH)
PRECISION = Kind(f"one of {', '.join(NAMED)}", lambda value: value in NAMED)
PAIR = Kind("two names", lambda value: NAMES.accepts(value) and len(value) == 2)


@dataclass(frozen=True)
class DescribedRow:
    """A row without scores.

    Attributes:
        name: of the row.
        type: the type of most weights.
        size_bytes: bytes of the file, see `Entry.file_bytes`.
        bpw: bits per weight of all tensors.
        fallbacks: which matrices did not get the type's own type, and why.
    """

    name: str
    type: str
    size_bytes: int
    bpw: float
    fallbacks: Sequence[str]

    @classmethod
    def of(cls, entry: Entry) -> DescribedRow:
        """The description of an entry."""
        return cls(
            *(entry.name, entry.main_type.name, entry.file_bytes),
            *(entry.bits_per_weight, entry.fallbacks),
        )


@dataclass(frozen=True)
class DescribedText:
    """A text: its name, and the number of its chunks."""

    name: str
    chunks: int


@dataclass(frozen=True)
class Described:
    """A comparison without scores; attributes as of `Comparison`, and these.

    Attributes:
        n_scored: the number of scored tokens of each chunk.
        rows: the base first.
    """

    model: str
    ctx: int
    stride: int | None
    n_scored: int
    activations: str
    texts: Sequence[DescribedText]
    rows: Sequence[DescribedRow]
    on_grid: Sequence[str]
    weighed: Sequence[tuple[str, str]]
    calibrated: Sequence[tuple[str, str]]
    device: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any, where: str) -> Described:
        """What `to_dict` gave.

        Args:
            data: the data, of which nothing is believed.
            where: the file, for messages.

        Raises:
            FormatError: a value is missing, or cannot be right.
        """
        found = _fields(data, FIELDS, where)
        for key, made, fields in (
            ("texts", DescribedText, TEXT_FIELDS),
            ("rows", DescribedRow, ROW_FIELDS),
        ):
            parts = [_fields(each, fields, where) for each in found[key]]
            found[key] = [made(**part) for part in parts]
        for key in ("weighed", "calibrated"):
            found[key] = [tuple(pair) for pair in found[key]]
        described = cls(**found)
        names = [row.name for row in described.rows]
        told = [
            name for pair in found["weighed"] + found["calibrated"] for name in pair
        ]
        if not (described.texts and names) or not {*told} <= {*names}:
            raise FormatError(f"{where}: rows or texts are missing")
        if len({*names}) < len(names):
            raise FormatError(f"{where}: two rows have the same name")
        return described


FIELDS = {
    "model": TEXT,
    "ctx": SIZE,
    "stride": either(NULL, SIZE),
    "n_scored": SIZE,
    "activations": PRECISION,
    "texts": list_of(OBJECT),
    "rows": list_of(OBJECT),
    "on_grid": NAMES,
    "weighed": list_of(PAIR),
    "calibrated": list_of(PAIR),
    "device": TEXT,
}
TEXT_FIELDS = {"name": TEXT, "chunks": SIZE}
ROW_FIELDS = {
    "name": TEXT,
    "type": TEXT,
    "size_bytes": integer(1, 1 << 62),
    "bpw": number(above=0),
    "fallbacks": NAMES,
}


def _fields(data: Any, kinds: Mapping[str, Kind], where: str) -> dict[str, Any]:
    """The values of these keys, each of its kind; no others."""
    checked(data, OBJECT, where)
    return {
        key: checked(data.get(key), kind, f"{where}: {key}")
        for key, kind in kinds.items()
    }
