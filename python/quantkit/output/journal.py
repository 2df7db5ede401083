"""What a run has written so far, noted beside its file, so that a next run can go on.

The records of a journal, see `RecordFile`:

    {"of": what the file is made of, "parts": names of the files while they grow}
    [CRC-32 of the first slab's bytes, its error sums if they were measured]
    [of the second slab ...

A line follows the bytes that it tells of.  Its order says that the process wrote them,
and its checksum whether the disk still has them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from ..files.records import RecordFile
from ..quantizing.tensor_errors import TensorErrors

__all__ = ["Journal", "Record"]


@dataclass(frozen=True)
class Record:
    """A slab that is written: the CRC-32 of its bytes, and its errors if measured."""

    checksum: int
    errors: TensorErrors = field(default_factory=TensorErrors)

    def to_json(self) -> list[int | float]:
        """The record as its line holds it."""
        errors = [] if self.errors == TensorErrors() else astuple(self.errors)
        return [self.checksum, *errors]

    @classmethod
    def of_json(cls, values: list[Any]) -> Record:
        """The record that a line holds."""
        return cls(values[0], TensorErrors(*values[1:]))


class Journal:
    """`.<name>.journal` beside the file that is made; one process at a time has it.

    Entering it reads what an earlier run noted.  Leaving it removes it, unless the run
    is interrupted by something that is no error, such as Ctrl-C.

    Args:
        target: the file that is made, or that several are called after.
        of: what determines every byte, by its name; a journal of anything else is of
            no use.
        parts: the files while they grow.

    Attributes:
        changed: names in `of` that an earlier run had otherwise.

    Raises:
        OutputError: on entering: another process writes the file, or the journal
            cannot be written.
    """

    def __init__(
        self, target: Path, of: Mapping[str, str], parts: Sequence[Path]
    ) -> None:
        self._target = target
        real = target.resolve()
        self.path = real.with_name(f".{real.name}.journal")
        self._of = dict(of)
        self._parts = tuple(parts)
        self.changed: tuple[str, ...] = ()

    def __enter__(self) -> Journal:
        self._file = RecordFile(
            self.path,
            f"cannot write {self._target}: another process is writing it, and has "
            f"{self.path}; wait for that, or write to another file",
        )
        try:
            self._begin(self._file.read())
        except BaseException:
            self._file.close()
            raise
        return self

    def next(self) -> Record | None:
        """The next record of an earlier run, if there is one."""
        values = self._file.read()
        try:
            return Record.of_json(values)
        except (KeyError, TypeError, IndexError):
            return None

    def end(self) -> None:
        """Forget the record that `next` gave last, and all after it."""
        self._file.cut()

    def add(self, record: Record) -> None:
        """Note that a slab is written."""
        self._file.write(record.to_json())

    @property
    def remedy(self) -> str:
        """How to go on after an interruption, and how to give up."""
        left = ", ".join(map(str, (self.path, *self._parts)))
        return f"the same command goes on from here; to give up, delete {left}"

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if os.name == "nt":  # which removes no open file
            self._file.close()
        if kind is None or issubclass(kind, Exception):
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
        self._file.close()

    def _begin(self, earlier: Any) -> None:
        """Go on with a journal of the same, or start one.

        Parts of another plan that this one lacks are removed.
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
