"""Open GGUF files: memory-mapped, read lazily, all files of a split model as one.

Sources: the GGUF format document (ggml/docs/gguf.md); llama.cpp's gguf-split for the
names and keys of split files (ggml-org/llama.cpp#6135).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ..display import Displayed
from ..errors import FormatError
from ..files.identity import refuse_other
from ..files.inputs import refuse_irregular
from ..files.mapped import mapped
from ..files.open_files import OpenFiles
from ..paths import StrPath, as_path
from .header import Header, parse_header
from .keys import Field
from .layout import TensorSpec
from .opener import SourceOpener
from .source import SourceTensor

__all__ = ["GGUFFile", "Location"]

SPLIT_COUNT = "split.count"
SPLIT_NUMBER = "split.no"
SPLIT_TENSORS = "split.tensors.count"
SPLIT_KEYS = frozenset({SPLIT_COUNT, SPLIT_NUMBER, SPLIT_TENSORS})
MAX_SHARDS = 99_999  # file names have five digits


@dataclass(frozen=True)
class Location(Displayed):
    """Where the data of a tensor is stored.

    Attributes:
        path: the file, one of `GGUFFile.paths`.
        offset: the offset of the first byte in that file.
        n_bytes: the size without padding.
    """

    path: Path
    offset: int
    n_bytes: int


@dataclass(frozen=True)
class _Shard:
    """One mapped file.  The map lives as long as `data` or any view of it."""

    path: Path
    data: NDArray[np.uint8]
    header: Header


class GGUFFile:
    """A GGUF model in one or several files, as a `ModelSource`.

    Opening checks the header against the file size, and reads no tensors.  Arrays
    returned by `read` stay valid after closing; a file stays mapped while such arrays
    exist.  If a file is truncated while it is open, what it lacks reads as zeros;
    `files.refuse_changed()` tells.

    Args:
        path: the file; for a split model, any of its files.

    Raises:
        OptionError: `path` is not a path.
        FormatError: the file, or another file of a split model, is not valid.
        OSError: the file cannot be opened.

    Example:
        >>> with GGUFFile("model.gguf") as file:  # doctest: +SKIP
        ...     first = file.tensors["blk.0.attn_q.weight"].read(0, 1)
    """

    def __init__(self, path: StrPath) -> None:
        self.path = as_path(path, "path")
        shards = _open_shards(self.path)
        first = shards[0].header
        self.paths = tuple(shard.path for shard in shards)
        self.size_bytes = sum(len(shard.data) for shard in shards)
        self.files = OpenFiles([shard.data for shard in shards])
        if len(shards) > 1:  # another set may take their names meanwhile
            refuse_other(self.files.paths, self.files.states)
        self.version = first.version
        self.alignment = first.alignment
        self._metadata = _joined_metadata(first, len(shards))
        self._locations = _joined_locations(shards)
        self.opener = SourceOpener.of(GGUFFile, self.files, path=self.path)
        self._tensors: dict[str, SourceTensor] | None = {
            spec.name: _source_tensor(shard, spec, offset).opened_by(self.opener)
            for shard in shards
            for spec, offset in shard.header.tensors
        }
        self.files.refuse_changed()

    @property
    def metadata(self) -> Mapping[str, Field]:
        """Metadata by key, in file order; also valid after closing.

        For a split model: the metadata of its first file without the `split.*` keys,
        which describe the files, not the model.
        """
        return MappingProxyType(self._metadata)

    @property
    def tensors(self) -> Mapping[str, SourceTensor]:
        """Tensors by name, in file order.

        Raises:
            ValueError: the file is closed.
        """
        if self._tensors is None:
            raise ValueError(f"{self.path} is closed")
        return MappingProxyType(self._tensors)

    @property
    def locations(self) -> Mapping[str, Location]:
        """The location of each tensor's data by name, in file order."""
        return MappingProxyType(self._locations)

    def raw(self, name: str) -> NDArray[np.uint8]:
        """All bytes of the tensor `name`: uint8 [n_bytes], without a copy."""
        tensor = self.tensors[name]
        return tensor.read(0, tensor.n_rows).reshape(-1)

    def close(self) -> None:
        """Release the mapped files; may be called more than once."""
        self._tensors = None
        self.files.close()

    def __enter__(self) -> GGUFFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _source_tensor(shard: _Shard, spec: TensorSpec, offset: int) -> SourceTensor:
    data = shard.data[offset : offset + spec.n_bytes]
    read = partial(_read_rows, data.reshape(spec.n_rows, spec.row_bytes), spec.name)
    return SourceTensor(spec.name, spec.shape, spec.type, read)


def _read_rows(
    rows: NDArray[np.uint8], name: str, start: int, stop: int
) -> NDArray[np.uint8]:
    if not 0 <= start <= stop <= len(rows):
        raise IndexError(
            f"rows {start} to {stop} of tensor {name!r}, which has {len(rows)} rows"
        )
    return rows[start:stop]


def _open_shards(path: Path) -> list[_Shard]:
    """The file at `path`; for a split model, all its files in order."""
    opened = _open_shard(path)
    count = (
        _integer(opened, SPLIT_COUNT) if SPLIT_COUNT in opened.header.metadata else 0
    )
    if not 0 <= count <= MAX_SHARDS:
        raise FormatError(
            f"{path}: {SPLIT_COUNT} is {count}; expected 0 to {MAX_SHARDS}, since the "
            "names of files have five digits"
        )
    if count <= 1:  # gguf-split leaves a count of 0 in a merged model
        return [opened]
    number = _integer(opened, SPLIT_NUMBER)
    shards = []
    for i, other in enumerate(_shard_paths(path, number, count)):
        shard = opened if i == number else _open_part(other, path)
        found = _integer(shard, SPLIT_NUMBER), _integer(shard, SPLIT_COUNT)
        if found != (i, count):
            raise FormatError(
                f"{other} has the metadata of part {found[0] + 1} of {found[1]}, but "
                f"the name of part {i + 1} of {count}"
            )
        shards.append(shard)
    return shards


def _open_shard(path: Path) -> _Shard:
    if path.is_dir():
        raise FormatError(
            f"{path} is a folder, and not a GGUF file; if it is a checkpoint, "
            "a dry run of `convert` lists its tensors"
        )
    # An empty file cannot be mapped; `parse_header` reports it.
    refuse_irregular(path)
    data = mapped(path) if path.stat().st_size else b""
    try:
        header = parse_header(memoryview(data))
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None
    return _Shard(path, np.frombuffer(data, np.uint8), header)


def _open_part(path: Path, opened: Path) -> _Shard:
    try:
        return _open_shard(path)
    except FileNotFoundError:
        raise FormatError(
            f"{opened} is part of a split model, but its part {path} is missing; "
            "put all parts into one folder"
        ) from None


def _shard_paths(path: Path, number: int, count: int) -> list[Path]:
    """The paths of all parts, from the path and the number of one of them."""
    ending = f"-{number + 1:05d}-of-{count:05d}.gguf"
    if not (0 <= number < count and path.name.endswith(ending)):
        raise FormatError(
            f"{path} is part {number + 1} of {count} of a split model; its name must "
            f"end in {ending} so that the other parts can be found"
        )
    stem = path.name.removesuffix(ending)
    return [
        path.with_name(f"{stem}-{i:05d}-of-{count:05d}.gguf")
        for i in range(1, count + 1)
    ]


def _integer(shard: _Shard, key: str) -> int:
    field = shard.header.metadata.get(key)
    if field is None or type(field.value) is not int:
        found = "missing" if field is None else f"a {field.type.name}"
        raise FormatError(f"{shard.path}: {key} is {found}; expected an integer")
    return field.value


def _joined_metadata(first: Header, n_shards: int) -> dict[str, Field]:
    if n_shards == 1:
        return first.metadata
    return {k: v for k, v in first.metadata.items() if k not in SPLIT_KEYS}


def _joined_locations(shards: list[_Shard]) -> dict[str, Location]:
    """The locations of all tensors, after checking that the parts belong together."""
    locations: dict[str, Location] = {}
    for shard in shards:
        for spec, offset in shard.header.tensors:
            if spec.name in locations:
                raise FormatError(
                    f"{shard.path}: tensor {spec.name!r} is also in "
                    f"{locations[spec.name].path}"
                )
            locations[spec.name] = Location(shard.path, offset, spec.n_bytes)
    if len(shards) > 1:
        expected = _integer(shards[0], SPLIT_TENSORS)
        if len(locations) != expected:
            raise FormatError(
                f"{shards[0].path} declares {expected} tensors, but its "
                f"{len(shards)} parts contain {len(locations)}"
            )
    return locations
