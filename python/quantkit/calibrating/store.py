"""The folder of a calibration: solved rows, and what a later run needs to go on.

    journal              what was finished: a line for each layer, and one for the head
    rows-<i>-<n>         the bytes of tensor n of layer i
    importance-<i>.npz   the importance that layer i gave
    stream-<s>-<k>-<what>  stream k before the next layer, in turn in two slots s

A line of the journal is written after the files that it describes, with checksums of
rows and streams.  So a killed run loses no more than its last layer.
"""

from __future__ import annotations

import io
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile
from zlib import crc32

import numpy as np

from ..errors import OutputError
from ..files.identity import hash_pieces
from ..files.json_file import json_text
from ..files.records import RecordFile
from ..files.target import output_errors
from ..files.whole_file import replace_file
from ..forward.base import F32
from ..types import QuantType
from .gain import Gain
from .outcome import Outcome
from .streams import Stream

__all__ = ["Store"]

JOURNAL = "journal"
OWN = (JOURNAL, "rows-*", "importance-*.npz", "stream-*")
PIECE_BYTES = 1 << 20


class Store:
    """The folder of a calibration.

    Args:
        folder: the folder, which is created; None: a temporary one, which no later run
            goes on from.
        of: description -> value of everything that determines the bytes; what a run
            with other values has left is not used.

    Attributes:
        folder: the folder.
        n_done: the number of finished layers; the head counts as one.
        gains: of their tensors, by name.
        importance: by tensor name, likewise.
        paths: the files of solved rows, by tensor name.
        changed: what differs from an earlier run whose layers are not used.

    Raises:
        OutputError: the folder cannot be written, or another process uses it.
    """

    def __init__(self, folder: Path | None, of: Mapping[str, str]) -> None:
        self.gains: dict[str, Gain] = {}
        self.importance: dict[str, F32] = {}
        self.paths: dict[str, Path] = {}
        self.n_done = 0
        self.changed: tuple[str, ...] = ()
        self._of = dict(of)
        self._checksums: list[int] = []
        self._kept: Sequence[Stream] = ()
        self._journal: RecordFile | None = None
        if folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="quantkit-"))
            return
        self.folder = folder
        with output_errors(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink():
            raise OutputError(f"{folder} is a link; expected a folder of quantkit's")
        self._journal = RecordFile(
            folder / JOURNAL,
            f"another process calibrates in {folder}; wait for it",
        )
        self._recall(self._journal)

    @property
    def identity(self) -> str:
        """A hash of `of`."""
        return hash_pieces([json_text(self._of).encode()])

    def streams(
        self, n: int, chunks: tuple[int, ...], alone: tuple[int, ...]
    ) -> Sequence[Stream]:
        """The streams before the next layer, as the last finished one has left them.

        Args:
            n: 1, or 2 with the rounded one.
            chunks, alone: the shapes of their arrays.
        """
        if self._kept:
            return self._kept
        return self._streams_before(self.n_done, n, chunks, alone)

    def next_streams(self, streams: Sequence[Stream]) -> Sequence[Stream]:
        """Where to put the streams after the next layer."""
        if self._journal is None:
            return streams
        shapes = streams[0].chunks.shape, streams[0].alone.shape
        return self._streams_before(self.n_done + 1, len(streams), *shapes)

    def _streams_before(
        self, layer: int, n: int, chunks: tuple[int, ...], alone: tuple[int, ...]
    ) -> list[Stream]:
        slot = layer % 2
        return [
            Stream(
                k > 0,
                self._array(f"stream-{slot}-{k}-chunks", chunks),
                self._array(f"stream-{slot}-{k}-alone", alone),
            )
            for k in range(n)
        ]

    def _array(self, name: str, shape: tuple[int, ...]) -> F32:
        if self._journal is None:
            return np.empty(shape, np.float32)
        path, n_bytes = self.folder / name, 4 * math.prod(shape)
        with output_errors(path, folder=self.folder):
            if not path.exists() or path.stat().st_size != n_bytes:
                _allocate(path, n_bytes)
            return np.memmap(path, np.float32, "r+", shape=shape)

    def finish(self, outcomes: Mapping[str, Outcome], after: Sequence[Stream]) -> None:
        """Keep what a layer has given, and the streams after it.

        Raises:
            OutputError: the folder cannot be written.
        """
        number, rows = self.n_done, []
        for n, (name, outcome) in enumerate(outcomes.items()):
            path = self.folder / f"rows-{number}-{n}"
            with output_errors(path, folder=self.folder):
                path.write_bytes(outcome.data.data)
            rows.append([name, path.name, crc32(outcome.data.data)])
            self.gains[name], self.paths[name] = outcome.gain(), path
            self.importance[name] = outcome.importance
        if self._journal is not None:
            file = io.BytesIO()
            np.savez(file, *(outcome.importance for outcome in outcomes.values()))
            replace_file(self.folder / f"importance-{number}.npz", file.getvalue())
            gains = [self.gains[name].to_dict() for name in outcomes]
            streams = [_checksum(stream) for stream in after]
            self._journal.write({"rows": rows, "gains": gains, "streams": streams})
        self.n_done += 1
        self._kept = after

    def discard(self) -> None:
        """Drop all finished layers."""
        assert self._journal is not None  # only such a store has any
        self._journal.clear()
        self._remove(OWN[1:])
        self.gains, self.importance, self.paths = {}, {}, {}
        self.n_done, self._kept = 0, ()
        self._journal.write({"of": self._of})

    def _recall(self, journal: RecordFile) -> None:
        """Take over what an earlier run has finished, if it was the same run."""
        if journal.is_foreign:
            raise OutputError(f"{self.folder} holds something else than a calibration")
        first = journal.read()
        is_same = first == {"of": self._of}
        if not is_same:
            self.changed = self._differing(first)
        while is_same and (record := journal.read()) is not None:
            with suppress(OSError, BadZipFile, EOFError, ValueError, LookupError):
                is_same = self._take(record)
                continue
            is_same = False
        if is_same:
            journal.cut()  # a line that a killed run has not finished
        else:
            self.discard()

    def _differing(self, first: Any) -> tuple[str, ...]:
        """What a journal was written for that this run is not; empty: it is new."""
        before = first.get("of") if isinstance(first, dict) else None
        if not isinstance(before, dict):
            return ()
        return tuple(
            what for what, value in self._of.items() if before.get(what) != value
        )

    @property
    def notice(self) -> str:
        """A message about an earlier run that was stopped; empty if there was none."""
        start = "an earlier calibration was stopped;"
        if self.changed:
            return f"{start} starting over because {', '.join(self.changed)} changed"
        return f"{start} going on after {self.n_done} layers" if self.n_done else ""

    def _take(self, record: Any) -> bool:
        """Take over a finished layer; whether its rows are what they were."""
        with np.load(self.folder / f"importance-{self.n_done}.npz") as importance:
            found = list(importance.values())
        each = zip(record["rows"], record["gains"], found, strict=True)
        for (name, file, checksum), gain, own in each:
            path = self.folder / file
            if not path.is_file() or crc32(path.read_bytes()) != checksum:
                return False
            self.paths[name], self.gains[name] = path, _of_json(gain)
            self.importance[name] = own
        self._checksums = record["streams"]
        self.n_done += 1
        return True

    def is_at(self, streams: Sequence[Stream]) -> bool:
        """Whether the streams are as the last finished layer has left them."""
        is_same = streams is self._kept
        return is_same or [_checksum(each) for each in streams] == self._checksums

    def remedy(self, others: str = "") -> str:
        """How to go on after an interruption.

        Args:
            others: what another store says, which ends with files to delete.
        """
        if self._journal is None:
            return others
        start = others or "repeat the command to go on; to abandon the run, delete"
        return f"{start}{',' if others else ''} {self.folder}"

    def leave(self, kind: type[BaseException] | None) -> None:
        """Remove the folder, but keep it after an interruption such as Ctrl-C.

        Args:
            kind: why it is left; None: all is done.
        """
        is_over = kind is None or issubclass(kind, Exception)
        if is_over or self._journal is None:
            self.remove()
        else:
            self._journal.close()

    def remove(self) -> None:
        """Remove the folder; files that are not of this room stay in it."""
        if self._journal is not None:
            self._journal.close()
        self._remove(OWN)
        with suppress(OSError):
            self.folder.rmdir()

    def _remove(self, patterns: Sequence[str]) -> None:
        for pattern in patterns:
            for path in self.folder.glob(pattern):
                with suppress(OSError):
                    path.unlink()


def _allocate(path: Path, n_bytes: int) -> None:
    """Create a file that has its space: a write to a map of a full disk is fatal.

    Raises:
        OSError: there is no space.
    """
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, n_bytes)
            return
        while n_bytes > 0:
            n_bytes -= file.write(bytes(min(n_bytes, PIECE_BYTES)))


def _checksum(stream: Stream) -> int:
    return crc32(stream.alone.data, crc32(stream.chunks.data))


def _of_json(values: dict[str, Any]) -> Gain:
    known: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
    }
    return Gain(**{**known, "type": QuantType[values["type"]]})
