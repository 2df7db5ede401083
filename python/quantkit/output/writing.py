"""The writing pipeline: convert a source's tensors in slabs and write GGUF files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from heapq import merge
from itertools import chain
from pathlib import Path
from typing import TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..execution.workers import Workers, share_memory, workers_of
from ..files.open_files import WatchedFiles
from ..files.places import Place, Placed
from ..files.target import target_of
from ..gguf.keys import Field
from ..gguf.layout import TensorSpec
from ..gguf.source import ModelSource, SourceTensor, unchanged
from ..gguf.writer import GGUFWriter
from ..progress import Notify, Progress
from ..quantizing.rounding import UNWEIGHED, Roundings
from ..quantizing.slabs import Slab, slabs_of
from ..quantizing.tensor_errors import TensorErrors, convert_and_measure
from ..types import QuantType
from .committing import commit
from .journal import Journal, Record, remedy
from .splits import Part

__all__ = ["Job", "refuse_to_overwrite", "write_jobs", "write_model", "write_parts"]


def write_model(
    source: ModelSource,
    types: Mapping[str, QuantType],
    path: str | Path,
    *,
    metadata: Mapping[str, Field],
    threads: int | Workers | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the tensors of `source`, in the order and types of `types`, to a GGUF file.

    Peak memory is a few slabs of rows.  The file appears under its name only when it is
    complete.

    Raises:
        OutputError: the file is part of the source, or cannot be written.
        NonFiniteError: a weight is NaN or infinite.
    """
    specs = [
        TensorSpec(name, source.tensors[name].shape, type)
        for name, type in types.items()
    ]
    part = Part(Path(path), metadata, specs)
    write_parts(source, [part], threads=threads, progress=progress)


@dataclass(frozen=True)
class Job:
    """A model to write, to one or several files that appear together.

    Attributes:
        parts: the files.
        roundings: how to round each tensor.
        measure: compute the errors of the converted tensors.
        journal: to resume a stopped run.
    """

    parts: Sequence[Part]
    roundings: Roundings = UNWEIGHED
    measure: bool = False
    journal: Journal | None = None


def write_parts(
    source: ModelSource,
    parts: Sequence[Part],
    *,
    roundings: Roundings = UNWEIGHED,
    measure: bool = False,
    journal: Journal | None = None,
    watched: WatchedFiles | None = None,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
    notify: Notify | None = None,
) -> dict[str, TensorErrors]:
    """Write a model once; arguments as for `Job` and `write_jobs`.

    Returns:
        The error sums by tensor name, in file order; empty without `measure`.
    """
    [sums] = write_jobs(
        source,
        [Job(parts, roundings, measure, journal)],
        watched=watched,
        threads=threads,
        progress=progress,
        notify=notify,
    )
    return sums


def write_jobs(
    source: ModelSource,
    jobs: Sequence[Job],
    *,
    watched: WatchedFiles | None = None,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
    notify: Notify | None = None,
) -> list[dict[str, TensorErrors]]:
    """Write a model in several ways, in one pass: tensor by tensor, each in all ways.

    All files appear at the end, when all are complete.

    Args:
        source: contains the tensors named in the parts of the jobs.
        jobs: the ways, one at least.
        watched: other files that determine the bytes.
        threads: the number of slabs converted at a time; see `workers_of`.
        progress: called with the bytes read so far, those of all jobs counted.
        notify: called with a message if a stopped run is resumed or discarded.

    Returns:
        For each job the error sums by tensor name, in file order.

    Raises:
        FormatError: a file that was read has changed since it was opened.
        OutputError: a file is part of the source, or cannot be written.
        NonFiniteError: a weight is NaN or infinite.
        KeyboardInterrupt: with a journal, its message says how to resume.
    """
    for job in jobs:
        refuse_to_overwrite(source, job.parts)
    writers = [
        [part.writer(resumable=job.journal is not None) for part in job.parts]
        for job in jobs
    ]
    _check_space([writer for each in writers for writer in each])
    count = _Count(sum(_total_bytes(source, job) for job in jobs), progress)
    in_order = (spec.name for part in jobs[0].parts for spec in part.tensors)
    place = {name: i for i, name in enumerate(in_order)}
    with ExitStack() as stack:
        outputs = []
        for job, own in zip(jobs, writers, strict=True):
            if job.journal is not None:
                stack.enter_context(job.journal)
            opened = _opened(stack, job.parts, own)
            total = _total_bytes(source, job)
            outputs.append(_Output(opened, job.journal, total, count, notify))
        try:
            with unchanged(source):
                workers = workers_of(threads)
                left = [
                    _numbered(i, output.take_up(_slabs(source, job)))
                    for i, (job, output) in enumerate(zip(jobs, outputs, strict=True))
                ]
                items = _by_tensor(left, place)
                if not share_memory(workers) and hasattr(os, "pwrite"):
                    items = _placed(items, outputs)
                how = [(job.measure, job.journal is not None) for job in jobs]
                done = workers.in_order(partial(_convert, how=how), items)
                for (i, slab, _), (data, record) in done:
                    outputs[i].write(slab, data, record)
                for each in writers:
                    for writer in each:
                        writer.sync()
            if watched is not None:
                watched.refuse_changed()
            for each in writers:
                commit(each)
        except KeyboardInterrupt:
            journals = [job.journal for job in jobs if job.journal is not None]
            if not journals:
                raise
            raise KeyboardInterrupt(remedy(journals)) from None
    return [
        output.sums if job.measure else {}
        for job, output in zip(jobs, outputs, strict=True)
    ]


def _slabs(source: ModelSource, job: Job) -> Iterator[Slab]:
    for part in job.parts:
        for spec in part.tensors:
            tensor = source.tensors[spec.name]
            yield from slabs_of(tensor, spec.type, job.roundings.of(tensor))


def _total_bytes(source: ModelSource, job: Job) -> int:
    tensors = [source.tensors[s.name] for part in job.parts for s in part.tensors]
    return sum(_stored_bytes(tensor, tensor.n_rows) for tensor in tensors)


Numbered: TypeAlias = tuple[int, Slab, Place | None]
"""A slab, with the number of its job, and where another process may write it."""


def _numbered(job: int, slabs: Iterator[Slab]) -> Iterator[Numbered]:
    return ((job, slab, None) for slab in slabs)


def _by_tensor(
    jobs: Sequence[Iterator[Numbered]], place: Mapping[str, int]
) -> Iterator[Numbered]:
    """The slabs of all jobs: of a tensor for each job, then of the next tensor.

    A job keeps its order; tensors are ordered as in the first job.
    """
    if len(jobs) == 1:
        return jobs[0]
    return merge(*jobs, key=lambda item: place[item[1].tensor.name])


def _placed(
    items: Iterator[Numbered], outputs: Sequence[_Output]
) -> Iterator[Numbered]:
    """The same, with places in the files, to which other processes write."""
    for output in outputs:
        output.share()
    return ((i, slab, outputs[i].place_of(slab)) for i, slab, _ in items)


@dataclass
class _Count:
    """The progress of all outputs together."""

    total: int
    progress: Progress | None
    done: int = 0

    def add(self, stage: str, n_bytes: int) -> None:
        self.done += n_bytes
        if self.progress is not None:
            self.progress(stage, self.done, self.total)


class _Output:
    """The output files of a job and its progress.

    Attributes:
        sums: the error sums so far, by tensor name.
    """

    def __init__(
        self,
        writer_of: Mapping[str, GGUFWriter],
        journal: Journal | None,
        total: int,
        count: _Count,
        notify: Notify | None,
    ) -> None:
        self._writer_of = writer_of
        self._journal = journal
        self._total = total
        self._count_of_all = count
        self._notify = notify or (lambda message: None)
        self._done = 0
        self._waits_for_places = False
        self.sums: dict[str, TensorErrors] = {}

    def take_up(self, slabs: Iterator[Slab]) -> Iterator[Slab]:
        """Skip the slabs that a stopped run wrote; return the remaining ones."""
        if self._journal is None:
            return slabs
        is_damaged = False
        for slab in slabs:
            record = self._journal.next()
            if record is None or not self._is_there(slab, record):
                is_damaged = record is not None
                self._journal.end()
                slabs = chain([slab], slabs)
                break
            self._count(slab, record)
        notice = self._notice(self._journal, is_damaged)
        if notice:
            self._notify(notice)
        return slabs

    def share(self) -> None:
        """Let other processes write to the files."""
        for writer in {id(each): each for each in self._writer_of.values()}.values():
            writer.share()
        self._waits_for_places = True

    def place_of(self, slab: Slab) -> Place:
        """Where another process may write a slab."""
        before = slab.start * slab.type.row_bytes(slab.tensor.n_cols)
        name = slab.tensor.name
        return self._writer_of[name].place(name, before)

    def write(
        self, slab: Slab, data: NDArray[np.uint8] | Placed, record: Record
    ) -> None:
        """Write the next slab, if it is not there; then record it in the journal."""
        writer = self._writer_of[slab.tensor.name]
        if isinstance(data, Placed):
            writer.accept(slab.tensor.name, data)
        else:
            self._say_sent(writer)
            writer.write(slab.tensor.name, data)
        if self._journal is not None:
            self._journal.add(record)
        self._count(slab, record)

    def _say_sent(self, writer: GGUFWriter) -> None:
        """Say once that another process has sent what it could not write."""
        if self._waits_for_places:
            self._waits_for_places = False
            self._notify(
                f"not all machines see {writer.part_path.parent}; what those compute "
                "is sent to this one and written here"
            )

    def _is_there(self, slab: Slab, record: Record) -> bool:
        name = slab.tensor.name
        return self._writer_of[name].take(name, slab.n_bytes, record.checksum)

    def _count(self, slab: Slab, record: Record) -> None:
        name = slab.tensor.name
        self.sums[name] = self.sums.get(name, TensorErrors()) + record.errors
        n_bytes = _stored_bytes(slab.tensor, slab.stop - slab.start)
        self._done += n_bytes
        self._count_of_all.add(f"{name} {slab.type.name}", n_bytes)

    def _notice(self, journal: Journal, is_damaged: bool) -> str:
        """A message about a stopped run; empty if there was none."""
        if journal.changed:
            what = ", ".join(journal.changed)
            return f"an earlier run was stopped; starting over because {what} changed"
        share = f"{self._done / self._total:.0%}" if self._done else "nothing"
        if is_damaged:
            return f"an earlier run was stopped; {share} of its output can be reused"
        if self._done:
            return f"an earlier run was stopped; resuming at {share}"
        return ""


def _opened(
    stack: ExitStack, parts: Sequence[Part], writers: Sequence[GGUFWriter]
) -> dict[str, GGUFWriter]:
    """Tensor name -> the writer of its part."""
    writer_of: dict[str, GGUFWriter] = {}
    for part, writer in zip(parts, writers, strict=True):
        stack.enter_context(writer)
        writer_of.update((spec.name, writer) for spec in part.tensors)
    return writer_of


def _check_space(writers: Sequence[GGUFWriter]) -> None:
    """Refuse output that does not fit on the disk, before anything is written."""
    for writer in writers:
        writer.check()
    by_disk: dict[int, list[GGUFWriter]] = {}
    for writer in writers:
        by_disk.setdefault(_disk_of(writer.part_path), []).append(writer)
    for own in by_disk.values():
        needed = sum(writer.missing_bytes for writer in own)
        folder = own[0].part_path.parent
        usage = shutil.disk_usage(folder)
        if usage.total and usage.free < needed:
            raise OutputError(
                f"cannot write {len(own)} files: together they need {needed:,} "
                f"bytes, but only {usage.free:,} are free in {folder}"
            )


def _disk_of(path: Path) -> int:
    """The number of the disk that a file will be on."""
    return path.parent.stat().st_dev


def _convert(
    item: Numbered, *, how: Sequence[tuple[bool, bool]]
) -> tuple[NDArray[np.uint8] | Placed, Record]:
    """Convert a slab, and write it if it has a place that this process sees.

    Args:
        item: see `Numbered`.
        how: of each job, whether to measure errors, and whether there is a journal.

    Returns:
        The converted bytes, or where they were written; their record for the journal.
    """
    job, slab, place = item
    measure, note = how[job]
    data, errors = (
        convert_and_measure(slab) if measure else (slab.convert(), TensorErrors())
    )
    raw = np.ascontiguousarray(data).reshape(-1).data
    record = Record(crc32(raw) if note else 0, errors)
    placed = None if place is None else place.put(raw)
    return data if placed is None else placed, record


def _stored_bytes(tensor: SourceTensor, n_rows: int) -> int:
    return n_rows * tensor.type.row_bytes(tensor.n_cols)


def refuse_to_overwrite(source: ModelSource, parts: Sequence[Part]) -> None:
    """Raise an OutputError if an output is part of the source, or no regular file."""
    for target in (part.path for part in parts):
        target_of(target)
        for path in getattr(source, "paths", ()):
            if target.exists() and target.samefile(path):
                raise OutputError(
                    f"{target} is part of the model that is being read; "
                    "write to another file"
                )
