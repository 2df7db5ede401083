"""Write GGUF files as a stream; a file appears under its name only when complete.

Source: the GGUF format document (ggml/docs/gguf.md); see `layout.py`.  The bytes equal
those of the `gguf` package's writer for the same content.
"""

from __future__ import annotations

import os
import struct
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, ShapeError
from ..files.part_file import PartFile
from ..files.places import Place, Placed
from .keys import Field, ValueType
from .layout import (
    MAGIC,
    MAX_ARRAY_DEPTH,
    NUMBER_FORMATS,
    VERSION,
    TensorSpec,
    alignment_of,
    padded,
)
from .strings import StringArray, encode

__all__ = ["GGUFWriter", "data_size", "header_size"]


class GGUFWriter:
    """Writes one GGUF file, version 3, little-endian.

    The file is written as `.<name>.part` in the same folder, and renamed when it is
    complete and on disk.  An error removes it.  A killed process leaves it behind, and
    the next writer of the same file replaces it.

    Args:
        path: the target, replaced if it exists.
        metadata: by key, written in this order; `general.alignment` is used.
        tensors: all tensors, in the order in which they will be written.
        resumable: reuse what an earlier run left (`take`), and keep the partial file
            when the run is interrupted without an error, for example by Ctrl-C.

    Attributes:
        header: the bytes before the tensors.
        size_bytes: the size of the complete file, known before anything is written.

    Raises:
        FormatError: GGUF cannot store the metadata or the tensors.
        OutputError: no space, no permission, or another process is writing the file;
            raised on entering or while writing.
        ShapeError: a tensor is not complete on leaving.

    Example:
        >>> spec = TensorSpec("a", (2, 32), QuantType.Q8_0)  # doctest: +SKIP
        >>> with GGUFWriter("a.gguf", {}, [spec]) as writer:  # doctest: +SKIP
        ...     writer.write("a", rows)  # uint8 [2, 34]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, Field],
        tensors: Sequence[TensorSpec],
        *,
        resumable: bool = False,
    ) -> None:
        self.path = Path(path)
        self.alignment = alignment_of(metadata)
        self.header = _encode_header(metadata, tensors, self.alignment)
        self.size_bytes = len(self.header) + data_size(tensors, self.alignment)
        self._starts = _starts(tensors, len(self.header), self.alignment)
        self._pending = deque(tensors)
        self._written = 0  # bytes of the first pending tensor
        self._is_synced = False
        self._is_committed = False
        self._resumable = resumable
        self._part = PartFile(self.path, self.size_bytes, resumable=resumable)

    @property
    def part_path(self) -> Path:
        """The path of the partial file."""
        return self._part.path

    @property
    def missing_bytes(self) -> int:
        """The disk space still needed, given what an earlier run left."""
        return self._part.missing_bytes

    def check(self) -> None:
        """Raise an OutputError if the file cannot be created or the disk is full."""
        self._part.check()

    def __enter__(self) -> GGUFWriter:
        self._part.open()
        try:
            if not self._part.take(len(self.header), crc32(self.header)):
                self._part.write(self.header)
            self._pad_complete()
        except BaseException:
            self._part.discard()
            raise
        return self

    def write(self, name: str, data: NDArray[np.uint8]) -> None:
        """Append bytes, usually whole rows, to the tensor `name`.

        Tensors must be written in the order of `tensors`, each with one or more calls.

        Args:
            name: the first tensor that is not complete yet.
            data: uint8, any shape.

        Raises:
            ShapeError: the data is not uint8 or too long, or another tensor is next.
            OutputError: the file cannot be written.
        """
        if data.dtype != np.uint8:
            raise ShapeError(f"tensor {name!r}: the data are {data.dtype}, not uint8")
        if data.size == 0:
            return
        self._check_turn(name, data.size)
        self._part.write(np.ascontiguousarray(data).reshape(-1).data)
        self._advance(data.size)

    def share(self) -> None:
        """Let other processes write to the file at places, until `sync`.

        Raises:
            OutputError: the file cannot be written.
        """
        self._part.share()

    def place(self, name: str, start: int) -> Place:
        """Where bytes of a tensor belong in the file, after `share`.

        Args:
            name: the tensor.
            start: the number of bytes of the tensor before them.
        """
        return self._part.place(self._starts[name] + start)

    def accept(self, name: str, placed: Placed) -> None:
        """Append bytes to the tensor `name` that another process has written.

        Args:
            name: the first tensor that is not complete yet.
            placed: what was written at the place of these bytes.

        Raises:
            ShapeError: there are too many bytes, or another tensor is next.
            OutputError: they are not there, or the file cannot be written.
        """
        if placed.n_bytes == 0:
            return
        self._check_turn(name, placed.n_bytes)
        self._part.accept(placed)
        self._advance(placed.n_bytes)

    def take(self, name: str, n_bytes: int, checksum: int) -> bool:
        """Reuse bytes that an earlier run left at this position, if they are intact.

        Args:
            name: the first tensor that is not complete yet.
            n_bytes: the number of bytes.
            checksum: their CRC-32.

        Returns:
            Whether they were reused; if not, they must be written.

        Raises:
            ShapeError: there are too many bytes, or another tensor is next.
            OutputError: the file cannot be read or written.
        """
        if n_bytes == 0:
            return True
        self._check_turn(name, n_bytes)
        if not self._part.take(n_bytes, checksum):
            return False
        self._advance(n_bytes)
        return True

    def sync(self) -> None:
        """Flush the complete file to disk, before it is renamed.

        Raises:
            OutputError: the file cannot be written.
            ShapeError: a tensor is not complete.
        """
        if self._pending:
            spec = self._pending[0]
            raise ShapeError(
                f"{self.path} is not complete: tensor {spec.name!r} has "
                f"{self._written} of its {spec.n_bytes} bytes"
            )
        self._part.sync()
        self._is_synced = True

    def commit(self) -> None:
        """Rename the complete file to `path`; leaving does it otherwise.

        Raises:
            OutputError: the file cannot be written.
            ShapeError: a tensor is not complete.
        """
        if not self._is_synced:
            self.sync()
        self._part.commit()
        self._is_committed = True

    def remove_target(self) -> None:
        """Remove the file at `path` that this one replaces, if there is one.

        Raises:
            OutputError: it cannot be removed.
        """
        self._part.remove_target()

    def withdraw(self) -> None:
        """Remove the file at `path` if `commit` wrote it."""
        self._part.withdraw()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self._resumable and not issubclass(kind, Exception):
            self._part.close()
        try:
            if kind is None and not self._is_committed:
                self.commit()
        finally:
            self._part.discard()

    def _check_turn(self, name: str, n_bytes: int) -> None:
        expected = self._pending[0] if self._pending else None
        if expected is None or expected.name != name:
            turn = f"tensor {expected.name!r}" if expected else "the end of the file"
            raise ShapeError(f"tensor {name!r} was written where {turn} is next")
        if self._written + n_bytes > expected.n_bytes:
            raise ShapeError(
                f"tensor {name!r} has {expected.n_bytes} bytes, but "
                f"{self._written + n_bytes} were passed"
            )

    def _advance(self, n_bytes: int) -> None:
        self._written += n_bytes
        self._pad_complete()

    def _pad_complete(self) -> None:
        """Pad the first pending tensor if it is complete, and skip empty ones after."""
        while self._pending and self._written == self._pending[0].n_bytes:
            size = self._pending.popleft().n_bytes
            self._part.write(bytes(padded(size, self.alignment) - size))
            self._written = 0


def _starts(
    tensors: Sequence[TensorSpec], header_bytes: int, alignment: int
) -> dict[str, int]:
    """Where each tensor starts in the file."""
    sizes = (padded(spec.n_bytes, alignment) for spec in tensors)
    names = (spec.name for spec in tensors)
    return dict(zip(names, accumulate(sizes, initial=header_bytes), strict=False))


def data_size(tensors: Sequence[TensorSpec], alignment: int) -> int:
    """The bytes of the tensors in a file, each padded."""
    return sum(padded(spec.n_bytes, alignment) for spec in tensors)


def header_size(metadata: Mapping[str, Field], tensors: Sequence[TensorSpec]) -> int:
    """The bytes before the tensors, without padding; types of tensors do not matter.

    Raises:
        FormatError: GGUF cannot store the metadata or the tensors.
    """
    return len(_encode_header(metadata, tensors, 1))


def _encode_header(
    metadata: Mapping[str, Field], tensors: Sequence[TensorSpec], alignment: int
) -> bytes:
    """Everything before the tensor data, padded."""
    names = Counter(spec.name for spec in tensors)
    for name, count in names.items():
        if count > 1:
            raise FormatError(f"tensor name {name!r} appears {count} times")
    parts = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(metadata))]
    parts += (_encode_field(key, field) for key, field in metadata.items())
    offset = 0
    for spec in tensors:
        parts.append(_encode_tensor(spec, offset))
        offset += padded(spec.n_bytes, alignment)
    header = b"".join(parts)
    return header.ljust(padded(len(header), alignment), b"\0")


def _encode_tensor(spec: TensorSpec, offset: int) -> bytes:
    n_dims = len(spec.shape)
    return _encode_string(spec.name) + struct.pack(
        f"<I{n_dims}QIQ", n_dims, *spec.shape[::-1], spec.type.id, offset
    )


def _encode_field(key: str, field: Field) -> bytes:
    if not key:
        raise FormatError("a metadata key is empty")
    try:
        value = _encode_value(field)
    except (
        AttributeError,
        OverflowError,
        TypeError,
        ValueError,
        struct.error,
    ) as error:
        kind = field.type if field.item_type is None else field.item_type
        raise FormatError(
            f"metadata {key!r} does not fit its type {kind.name}: {error}"
        ) from None
    return _encode_string(key) + struct.pack("<I", field.type) + value


def _encode_value(field: Field) -> bytes:
    if field.type is ValueType.STRING:
        return _encode_string(field.value)
    if field.type is not ValueType.ARRAY:
        return struct.pack("<" + NUMBER_FORMATS[field.type], field.value)
    return _encode_array(field)


def _encode_array(field: Field, depth: int = 1) -> bytes:
    """The item type, the length and the items."""
    if field.type is not ValueType.ARRAY or field.item_type is None:
        raise ValueError("an array needs an item type, and arrays as items are fields")
    start = struct.pack("<IQ", field.item_type, len(field.value))
    if field.item_type is not ValueType.ARRAY:
        return start + _encode_items(field.item_type, field.value)
    if depth == MAX_ARRAY_DEPTH:
        raise ValueError(f"arrays in arrays, more than {MAX_ARRAY_DEPTH} deep")
    return start + b"".join(_encode_array(item, depth + 1) for item in field.value)


def _encode_items(kind: ValueType, items: Any) -> bytes:
    if isinstance(items, StringArray) and kind is ValueType.STRING:
        return items.raw
    if kind is ValueType.STRING:
        return b"".join(_encode_string(item) for item in items)
    dtype = np.dtype("<" + NUMBER_FORMATS[kind])
    if isinstance(items, np.ndarray) and items.dtype == dtype:
        return items.tobytes()
    return struct.pack(f"<{len(items)}{NUMBER_FORMATS[kind]}", *items)


def _encode_string(text: str) -> bytes:
    raw = encode(text)
    return struct.pack("<Q", len(raw)) + raw
