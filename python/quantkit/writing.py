"""The writing pipeline: tensors of a source, converted in slabs, into GGUF files."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import OutputError
from .gguf.keys import Field
from .gguf.layout import TensorSpec
from .gguf.writer import GGUFWriter
from .pages import release
from .progress import Progress
from .slabs import Importance, Slab, slabs_of, work_in_order
from .source import ModelSource, SourceTensor
from .splits import Part
from .tensor_errors import ErrorSums, convert_and_measure
from .types import QuantType

__all__ = ["refuse_to_overwrite", "write_model", "write_parts"]


def write_model(
    source: ModelSource,
    types: Mapping[str, QuantType],
    path: str | Path,
    *,
    metadata: Mapping[str, Field],
    threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the tensors of `source`, in the order and types of `types`, to a GGUF file.

    Peak memory is a few slabs of rows.  The file appears under its name only once it is
    complete.

    Raises:
        OutputError: the file is one that is being read, or cannot be written.
        NonFiniteError: a weight is NaN or infinite.
    """
    specs = [
        TensorSpec(name, source.tensors[name].shape, type)
        for name, type in types.items()
    ]
    part = Part(Path(path), metadata, specs)
    write_parts(source, [part], threads=threads, progress=progress)


def write_parts(
    source: ModelSource,
    parts: Sequence[Part],
    *,
    importance: Importance | None = None,
    measure: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, ErrorSums]:
    """Write one model to one file or several, which appear when all are complete.

    Args:
        source: has the tensors that the parts name.
        parts: the files.
        importance: by tensor name.
        measure: compare the tensors with what they were.
        threads: slabs converted at a time.
        progress: told about the bytes read.

    Returns:
        By tensor name, in file order, the error sums; empty without `measure`.

    Raises:
        OutputError: a file is one that is being read, or cannot be written.
        NonFiniteError: a weight is NaN or infinite.
    """
    refuse_to_overwrite(source, parts)
    wanted = [(source.tensors[s.name], s.type) for part in parts for s in part.tensors]
    weighting = importance or {}
    slabs = (
        slab
        for tensor, type in wanted
        for slab in slabs_of(tensor, type, weighting.get(tensor.name))
    )
    total = sum(_stored_bytes(tensor, tensor.n_rows) for tensor, _ in wanted)
    done = 0
    sums: dict[str, ErrorSums] = {}
    with ExitStack() as stack:
        writer_of = _open_writers(stack, parts)
        work = convert_and_measure if measure else _convert
        for slab, (data, error) in work_in_order(slabs, work, threads):
            name = slab.tensor.name
            writer_of[name].write(name, data)
            release(data)
            if measure:
                sums[name] = sums.get(name, ErrorSums()) + error
            done += _stored_bytes(slab.tensor, slab.stop - slab.start)
            if progress is not None:
                progress(f"{name} {slab.type.name}", done, total)
    return sums


def _open_writers(stack: ExitStack, parts: Sequence[Part]) -> dict[str, GGUFWriter]:
    """By tensor name, the writer of its part; the first part is completed last."""
    writer_of: dict[str, GGUFWriter] = {}
    for part in parts:
        writer = stack.enter_context(part.writer())
        writer_of.update((spec.name, writer) for spec in part.tensors)
    _check_space(set(writer_of.values()))
    return writer_of


def _check_space(writers: Collection[GGUFWriter]) -> None:
    """Refuse what does not fit; each writer alone has seen to its own file."""
    needed = sum(writer.size_bytes for writer in writers)
    for folder in {writer.path.resolve().parent for writer in writers}:
        usage = shutil.disk_usage(folder)
        if usage.total and usage.free < needed:
            raise OutputError(
                f"cannot write {len(writers)} files: together they need {needed:,} "
                f"bytes, and {usage.free:,} are free in {folder}"
            )


def _convert(slab: Slab) -> tuple[NDArray[np.uint8], ErrorSums]:
    return slab.convert(), ErrorSums()


def _stored_bytes(tensor: SourceTensor, n_rows: int) -> int:
    return n_rows * tensor.type.row_bytes(tensor.n_cols)


def refuse_to_overwrite(source: ModelSource, parts: Sequence[Part]) -> None:
    """Raise an OutputError if one of the files to write is being read."""
    for target in (part.path for part in parts):
        for path in getattr(source, "paths", ()):
            if target.exists() and target.samefile(path):
                raise OutputError(
                    f"{target} is part of the model that is being read; "
                    "write to another file"
                )
