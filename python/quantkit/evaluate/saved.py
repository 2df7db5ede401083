"""What was measured so far, kept beside a result so that a later run goes on with it.

`results.json` has `results.json.scores` beside it: a line for each chunk that a model
was measured on,

    CRC-32 {"key": of what, "seconds": it took, "nll": ..., "kld": ..., "same_top": ...}

with arrays in base 64.  The key is a hash of all that the scores depend on: the files
of the model and of the base, the recipe, the importance, the tokens, the version of
quantkit.  A changed option
or file therefore finds nothing, one that changes no score (more types, more chunks,
other threads) finds all there is, and a line that was not written to its end counts
for nothing.
"""

from __future__ import annotations

import io
import json
import re
from base64 import b64decode, b64encode
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from ..errors import OutputError
from ..files.locks import open_alone
from .likelihood import TokenScores

__all__ = ["SavedScores", "Timed", "scores_beside"]


@dataclass(frozen=True)
class Timed:
    """The scores of a chunk and the seconds that they took."""

    scores: TokenScores
    seconds: float


def scores_beside(results: Path) -> Path:
    """The path of the scores file of a results file."""
    return results.with_name(f"{results.name}.scores")


class SavedScores:
    """Scores by key, in a file that one process at a time has; a context manager.

    Args:
        path: the file.

    Raises:
        OutputError: the file cannot be written, or another process writes it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, Any]] = {}
        self._file = self._opened()
        self._read()

    def __enter__(self) -> SavedScores:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file, which stays."""
        with suppress(OSError):  # a full disk has been told of
            self._file.close()

    def _opened(self) -> io.BufferedRandom:
        path = self._path
        try:
            raw = open_alone(path)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        if raw is None:
            raise OutputError(
                f"cannot write {path}: another process is measuring into it; wait for "
                "that, or save to another file"
            )
        return io.BufferedRandom(raw)

    def _read(self) -> None:
        """Take in the lines of earlier runs, and cut off what is not whole."""
        end = 0
        for line in self._file:
            record = _parse(line)
            if record is None:
                break
            self._known[record["key"]] = record
            end += len(line)
        self._file.seek(0)
        if not end and not re.match(rb"[0-9a-f]{8} |\Z", self._file.read(9)):
            self._file.close()
            raise OutputError(
                f"cannot keep scores in {self._path}: that file holds something else; "
                "move it, or save under another name"
            )
        self._file.seek(end)
        self._file.truncate()

    def scores(self, key: str) -> Timed | None:
        """The saved scores of a chunk, or None."""
        record = self._known.get(key)
        if record is None:
            return None
        found = TokenScores(
            np.frombuffer(b64decode(record["nll"]), np.float64),
            np.frombuffer(b64decode(record["kld"]), np.float64),
            np.frombuffer(b64decode(record["same_top"]), np.bool_),
        )
        return Timed(found, record["seconds"])

    def seconds(self, key: str) -> float | None:
        """The saved seconds of a step without scores, or None."""
        record = self._known.get(key)
        return None if record is None else float(record["seconds"])

    def add(self, key: str, seconds: float, scores: TokenScores | None = None) -> None:
        """Save scores and seconds under a key."""
        record: dict[str, Any] = {"key": key, "seconds": seconds}
        if scores is not None:
            arrays = {"nll": scores.nll, "kld": scores.kld, "same_top": scores.same_top}
            record |= {
                name: b64encode(values.tobytes()).decode()
                for name, values in arrays.items()
            }
        line = json.dumps(record).encode()
        try:
            self._file.write(b"%08x " % crc32(line) + line + b"\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}") from error


def _parse(line: bytes) -> dict[str, Any] | None:
    """The record of a line; None if it is not whole."""
    checksum, _, text = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % crc32(text):
        return None
    record: dict[str, Any] = json.loads(text)
    return record
