"""The writing pipeline: tensors of a source, converted in slabs, into a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .errors import OutputError
from .gguf.keys import Field
from .gguf.layout import TensorSpec
from .gguf.writer import GGUFWriter
from .progress import Progress
from .slabs import Importance, convert_in_order, slabs_of
from .source import ModelSource
from .types import QuantType

__all__ = ["write_model"]


def write_model(
    source: ModelSource,
    types: Mapping[str, QuantType],
    path: str | Path,
    *,
    metadata: Mapping[str, Field],
    importance: Importance | None = None,
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
    target = Path(path)
    _refuse_to_overwrite(source, target)
    tensors = [source.tensors[name] for name in types]
    specs = [TensorSpec(t.name, t.shape, types[t.name]) for t in tensors]
    total = sum(t.n_weights for t in tensors)
    done = 0
    weighting = importance or {}
    slabs = (
        slab
        for tensor in tensors
        for slab in slabs_of(tensor, types[tensor.name], weighting.get(tensor.name))
    )
    with GGUFWriter(target, metadata, specs) as writer:
        for slab, data in convert_in_order(slabs, threads):
            writer.write(slab.tensor.name, data)
            done += slab.n_weights
            if progress is not None:
                progress(f"{slab.tensor.name} {slab.type.name}", done, total)


def _refuse_to_overwrite(source: ModelSource, target: Path) -> None:
    for path in getattr(source, "paths", ()):
        if target.exists() and target.samefile(path):
            raise OutputError(
                f"{target} is part of the model that is being read; "
                "write to another file"
            )
