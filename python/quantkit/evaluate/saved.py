"""Save the scores of a comparison, so that a later run can resume it.

`results.json.scores` belongs to `results.json`.  It has a record (see `RecordFile`) for
each chunk that a model was measured on:

    {"key": hash, "seconds": duration, "nll": ..., "kld": ..., "same_top": ...,
     "rank": ...}

Arrays are base64.  The key is a hash of everything that determines the scores: the
files of the model and the base, the recipe, the importance, the tokens and the version
of quantkit.  So after a change of these no scores are found, and after other changes
(more types, more chunks, other threads) all are found.

The file of a shard also has a record that describes the run; see `shard_files`:

    {"key": "shard", "about": ...}
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..files.records import RecordFile
from ..files.target import beside
from ..settings import OBJECT, TEXT, number
from .likelihood import TokenScores

__all__ = [
    "ABOUT",
    "SavedRecords",
    "SavedScores",
    "Timed",
    "is_record",
    "scores_beside",
    "scores_in",
    "seconds_in",
]

Own = TypeVar("Own", bound="SavedRecords")
ABOUT = "shard"
"""The key of the record that describes the run of a shard."""

SCORES = {
    "nll": np.float64,
    "kld": np.float64,
    "same_top": np.bool_,
    "rank": np.uint8,
}


@dataclass(frozen=True)
class Timed:
    """The scores of a chunk and the seconds that they took."""

    scores: TokenScores
    seconds: float


def scores_beside(results: Path) -> Path | None:
    """The path of the scores file of a results file; None for a device or FIFO.

    Raises:
        OutputError: the results file cannot be written.
    """
    return beside(results, "{}.scores")


class SavedRecords:
    """Seconds and arrays by key, in a file locked by this process; a context manager.

    Args:
        path: the file.

    Raises:
        OutputError: the file cannot be written, or another process is writing it.
    """

    def __init__(self, path: Path) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        self._file = RecordFile(
            path,
            f"cannot write {path}: another process is writing it; wait for it, or "
            "save to another file",
        )
        if self._file.is_foreign:
            self._file.close()
            raise OutputError(
                f"cannot save scores in {path}: the file has other content; move it, "
                "or save under another name"
            )
        while is_record(record := self._file.read()):
            self._known[record["key"]] = record
        self._file.cut()
        self._is_empty = not self._known

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file; remove it if it has no scores."""
        if self._is_empty:
            self._file.remove()
        else:
            self._file.close()

    def seconds(self, key: str) -> float | None:
        """The saved seconds of a step, or None."""
        return seconds_in(self._known.get(key))

    def arrays(self, key: str, types: Mapping[str, type]) -> list[NDArray[Any]] | None:
        """The saved arrays of a step, flat, or None; `types` are by name."""
        return arrays_in(self._known.get(key), types)

    @property
    def about(self) -> Any:
        """What describes the run; None: nothing."""
        return self._known.get(ABOUT, {}).get("about")

    def describe(self, about: dict[str, Any]) -> None:
        """Save what describes the run, unless it is saved already."""
        record = json.loads(json.dumps({"key": ABOUT, "about": about}))  # as it is read
        if self._known.get(ABOUT) != record:
            self._write(record)

    def write(self, key: str, seconds: float, **arrays: NDArray[Any]) -> None:
        """Save seconds and arrays under a key."""
        record: dict[str, Any] = {"key": key, "seconds": seconds}
        record |= {
            name: b64encode(values.tobytes()).decode()
            for name, values in arrays.items()
        }
        self._write(record)

    def _write(self, record: dict[str, Any]) -> None:
        self._file.write(record)
        self._is_empty = False


class SavedScores(SavedRecords):
    """The scores of tokens by key."""

    def scores(self, key: str) -> Timed | None:
        """The saved scores of a chunk, or None."""
        return scores_in(self._known.get(key))

    def add(self, key: str, seconds: float, scores: TokenScores | None = None) -> None:
        """Save scores and seconds under a key."""
        arrays = {} if scores is None else {n: getattr(scores, n) for n in SCORES}
        self.write(key, seconds, **arrays)


Record = Mapping[str, Any]


def seconds_in(record: Record | None) -> float | None:
    """The seconds of a record, or None."""
    if record is None or record["key"] == ABOUT:
        return None
    return float(record["seconds"])


def arrays_in(
    record: Record | None, types: Mapping[str, type]
) -> list[NDArray[Any]] | None:
    """The arrays of a record, flat, or None; `types` are by name."""
    if record is None:
        return None
    try:
        return [
            np.frombuffer(b64decode(record[name]), type) for name, type in types.items()
        ]
    except (KeyError, TypeError, ValueError):
        return None  # not written by `SavedRecords`


def scores_in(record: Record | None) -> Timed | None:
    """The scores of a chunk in a record, or None."""
    found, seconds = arrays_in(record, SCORES), seconds_in(record)
    if found is None or seconds is None or len(set(map(len, found))) > 1:
        return None
    return Timed(TokenScores(*found), seconds)


def is_record(value: Any) -> bool:
    """Whether a value in the file has a key, and seconds above 0 or a description."""
    if not isinstance(value, dict) or not TEXT.accepts(value.get("key")):
        return False
    if value["key"] == ABOUT:
        return OBJECT.accepts(value.get("about"))
    return number(above=0).accepts(value.get("seconds"))
