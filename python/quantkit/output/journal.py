"""A journal of what a run has written, so that the next run can resume it.

The records (see `RecordFile`):

    {"of": what determines the file's bytes, "parts": names of the partial files}
    [CRC-32 of the first slab's bytes, its error sums if they were measured]
    [the same for the second slab ...

A line is written after the bytes that it describes.  So its presence shows that the
process wrote them, and its checksum shows whether they reached the disk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from ..files.records import RecordFile
from ..files.target import real_path
from ..quantizing.tensor_errors import TensorErrors

__all__ = ["Journal", "Record", "remedy"]


@dataclass(frozen=True)
class Record:
    """A written slab: the CRC-32 of its bytes, and its error sums if measured."""

    checksum: int
    errors: TensorErrors = field(default_factory=TensorErrors)

    def to_json(self) -> list[int | float]:
        """The record as a line of the journal."""
        errors = [] if self.errors == TensorErrors() else astuple(self.errors)
        return [self.checksum, *errors]

    @classmethod
    def of_json(cls, values: list[Any]) -> Record:
        """The record in a line of the journal."""
        return cls(values[0], TensorErrors(*values[1:]))


class Journal:
    """The file `.<name>.journal` in the target's folder, locked by one process.

    Entering reads what an earlier run recorded.  Leaving removes the journal, unless
    the run is interrupted without an error, for example by Ctrl-C.

    Args:
        target: the output file, or the name from which split files derive theirs.
        of: description -> value of everything that determines the bytes; a journal with
            other values cannot be resumed.
        parts: the partial files.

    Attributes:
        changed: the descriptions in `of` whose values differ from the earlier run.

    Raises:
        OutputError: on entering: another process is writing the file, or the journal
            cannot be written.
    """

    def __init__(
        self, target: Path, of: Mapping[str, str], parts: Sequence[Path]
    ) -> None:
        self._target = target
        real = real_path(target)
        self.path = real.with_name(f".{real.name}.journal")
        self._of = dict(of)
        self._parts = tuple(parts)
        self.changed: tuple[str, ...] = ()

    def __enter__(self) -> Journal:
        self._file = RecordFile(
            self.path,
            f"cannot write {self._target}: another process is writing it, with "
            f"{self.path}; wait for it, or write to another file",
        )
        try:
            self._begin(self._file.read())
        except Exception:
            self._file.remove()
            raise
        except BaseException:
            self._file.close()
            raise
        return self

    def next(self) -> Record | None:
        """The next record of an earlier run, or None."""
        values = self._file.read()
        try:
            return Record.of_json(values)
        except (KeyError, TypeError, IndexError):
            return None

    def end(self) -> None:
        """Drop the record that `next` returned last, and all records after it."""
        self._file.cut()

    def add(self, record: Record) -> None:
        """Record that a slab was written."""
        self._file.write(record.to_json())

    @property
    def files(self) -> tuple[Path, ...]:
        """What a stopped run leaves: the journal, and the partial files."""
        return self.path, *self._parts

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, Exception):
            self._file.remove()
        self._file.close()

    def _begin(self, earlier: Any) -> None:
        """Resume a journal with the same `of`, or start a new one.

        Partial files of another run that this one does not write are removed.
        """
        try:
            found, parts = dict(earlier["of"]), [str(name) for name in earlier["parts"]]
        except (KeyError, TypeError, ValueError):
            found, parts = {}, []
        if found == self._of:
            return
        if found:
            self.changed = tuple(k for k, v in self._of.items() if found.get(k) != v)
        own = [part.name for part in self._parts]
        for name in parts:
            if name not in own and re.fullmatch(r"\.[^/\\]+\.part", name):
                self.path.with_name(name).unlink(missing_ok=True)
        self._file.clear()
        self._file.write({"of": self._of, "parts": own})


def remedy(journals: Sequence[Journal]) -> str:
    """How to resume a stopped run, and how to abandon it."""
    left = ", ".join(str(path) for journal in journals for path in journal.files)
    return f"repeat the command to resume; to abandon the run, delete {left}"
