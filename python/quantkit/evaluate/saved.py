"""Save the scores of a comparison, so that a later run can resume it.

`results.json.scores` belongs to `results.json`.  It has a record (see `RecordFile`) for
each chunk that a model was measured on:

    {"key": hash, "seconds": duration, "nll": ..., "kld": ..., "same_top": ...,
     "rank": ...}

Arrays are base64.  The key is a hash of everything that determines the scores: the
files of the model and the base, the recipe, the importance, the tokens and the version
of quantkit.  So after a change of these no scores are found, and after other changes
(more types, more chunks, other threads) all are found.
"""

from __future__ import annotations

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
from ..settings import TEXT, number
from .likelihood import TokenScores

__all__ = ["SavedRecords", "SavedScores", "Timed", "scores_beside"]

Own = TypeVar("Own", bound="SavedRecords")
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
        while _is_record(record := self._file.read()):
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
        record = self._known.get(key)
        return None if record is None else float(record["seconds"])

    def arrays(self, key: str, types: Mapping[str, type]) -> list[NDArray[Any]] | None:
        """The saved arrays of a step, flat, or None; `types` are by name."""
        record = self._known.get(key)
        if record is None:
            return None
        try:
            return [
                np.frombuffer(b64decode(record[name]), type)
                for name, type in types.items()
            ]
        except (KeyError, TypeError, ValueError):
            return None  # not written by this class

    def write(self, key: str, seconds: float, **arrays: NDArray[Any]) -> None:
        """Save seconds and arrays under a key."""
        record: dict[str, Any] = {"key": key, "seconds": seconds}
        record |= {
            name: b64encode(values.tobytes()).decode()
            for name, values in arrays.items()
        }
        self._file.write(record)
        self._is_empty = False


class SavedScores(SavedRecords):
    """The scores of tokens by key."""

    def scores(self, key: str) -> Timed | None:
        """The saved scores of a chunk, or None."""
        found, seconds = self.arrays(key, SCORES), self.seconds(key)
        if found is None or seconds is None:
            return None
        scores = TokenScores(*found)
        if len(set(map(len, found))) > 1:
            return None
        return Timed(scores, seconds)

    def add(self, key: str, seconds: float, scores: TokenScores | None = None) -> None:
        """Save scores and seconds under a key."""
        arrays = {} if scores is None else {n: getattr(scores, n) for n in SCORES}
        self.write(key, seconds, **arrays)


def _is_record(value: Any) -> bool:
    """Whether a value in the file has a key and a positive number of seconds."""
    return (
        isinstance(value, dict)
        and TEXT.accepts(value.get("key"))
        and number(above=0).accepts(value.get("seconds"))
    )
