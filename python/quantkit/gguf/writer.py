"""Writing GGUF files: sizes known first, tensors streamed, complete or absent.

Source: the GGUF format document (ggml/docs/gguf.md); see `layout.py`.  The bytes are
those that the writer of the `gguf` package gives for the same content.
"""

from __future__ import annotations

import os
import secrets
import shutil
import struct
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, OutputError, ShapeError
from .keys import Field, ValueType
from .layout import (
    MAGIC,
    NUMBER_FORMATS,
    VERSION,
    TensorSpec,
    alignment_of,
    padded,
)
from .strings import StringArray, encode

__all__ = ["GGUFWriter"]


class GGUFWriter:
    """Writes one GGUF file, version 3, little-endian.

    The file grows beside its target as `.<name>.part-<random>`, and takes its name when
    it is complete and on disk.  An error removes it; a killed process leaves it behind.

    Args:
        path: the target, replaced if it exists.
        metadata: by key, written in this order; `general.alignment` is respected.
        tensors: all tensors, in the order in which they will be written.

    Attributes:
        size_bytes: of the complete file; known before anything is written.

    Raises:
        FormatError: metadata or tensors that a GGUF file cannot hold.
        OutputError: no space or no permission; on entering, or while writing.
        ShapeError: on leaving, some tensor is not complete.

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
    ) -> None:
        self.path = Path(path)
        self.alignment = alignment_of(metadata)
        self._header = _encode_header(metadata, tensors, self.alignment)
        self.size_bytes = len(self._header) + _data_bytes(tensors, self.alignment)
        self._pending = deque(tensors)
        self._written = 0  # bytes of the first pending tensor
        # A link is followed, so that the file is written where the link points.
        self._target = self.path.resolve()
        self._part = self._target.with_name(
            f".{self._target.name}.part-{secrets.token_hex(4)}"
        )
        self._file: BinaryIO | None = None

    def __enter__(self) -> GGUFWriter:
        self._check_target()
        with self._output_errors():
            self._file = self._part.open("xb")
        try:
            self._put(self._header)
            self._pad_complete()
        except BaseException:
            self._discard()
            raise
        return self

    def write(self, name: str, data: NDArray[np.uint8]) -> None:
        """Append bytes, usually whole rows, to the tensor called `name`.

        Tensors are written in the order that was announced, each by one call or many.

        Args:
            name: the first tensor that is not complete yet.
            data: uint8, any shape.

        Raises:
            ShapeError: the data are not uint8 or too many, or it is not `name`'s turn.
            OutputError: the file cannot be written.
        """
        if data.dtype != np.uint8:
            raise ShapeError(f"tensor {name!r}: the data are {data.dtype}, not uint8")
        if data.size == 0:
            return
        expected = self._pending[0] if self._pending else None
        if expected is None or expected.name != name:
            turn = f"tensor {expected.name!r}" if expected else "the end of the file"
            raise ShapeError(f"tensor {name!r} was written where {turn} is next")
        if self._written + data.size > expected.n_bytes:
            raise ShapeError(
                f"tensor {name!r} has {expected.n_bytes} bytes, and was given "
                f"{self._written + data.size}"
            )
        self._put(np.ascontiguousarray(data).reshape(-1).data)
        self._written += data.size
        self._pad_complete()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._commit()
        finally:
            self._discard()

    def _check_target(self) -> None:
        folder = self._target.parent
        if not folder.is_dir():
            raise OutputError(f"cannot write {self.path}: there is no folder {folder}")
        if self._target.exists() and not self._target.is_file():
            raise OutputError(f"cannot write {self.path}: it is not a regular file")
        with self._output_errors():
            usage = shutil.disk_usage(folder)
        # Some network file systems report no sizes at all.
        if usage.total and usage.free < self.size_bytes:
            raise OutputError(
                f"cannot write {self.path}: it needs {self.size_bytes:,} bytes, and "
                f"{usage.free:,} are free in {folder}"
            )

    def _put(self, data: bytes | memoryview) -> None:
        if self._file is None:
            raise ValueError(f"{self.path} is not open; write inside a `with` block")
        with self._output_errors():
            self._file.write(data)

    def _pad_complete(self) -> None:
        """Pad the first pending tensor if it is complete, and any empty ones after."""
        while self._pending and self._written == self._pending[0].n_bytes:
            size = self._pending.popleft().n_bytes
            self._put(bytes(padded(size, self.alignment) - size))
            self._written = 0

    def _commit(self) -> None:
        """Give the complete file its name, once it is safely on disk."""
        if self._pending:
            spec = self._pending[0]
            raise ShapeError(
                f"{self.path} is not complete: tensor {spec.name!r} has "
                f"{self._written} of its {spec.n_bytes} bytes"
            )
        assert self._file is not None  # for mypy; `__enter__` opened it
        with self._output_errors():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self._target)

    def _discard(self) -> None:
        """Close the file and remove what has not become the target."""
        with suppress(OSError):  # closing flushes, which fails again on a full disk
            if self._file is not None:
                self._file.close()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)

    @contextmanager
    def _output_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"cannot write {self.path}: {error.strerror or error}; the complete "
                f"file has {self.size_bytes:,} bytes{_free_space(self._target.parent)}"
            ) from error


def _free_space(folder: Path) -> str:
    try:
        return f", and {shutil.disk_usage(folder).free:,} are free in {folder}"
    except OSError:
        return ""


def _data_bytes(tensors: Sequence[TensorSpec], alignment: int) -> int:
    return sum(padded(spec.n_bytes, alignment) for spec in tensors)


def _encode_header(
    metadata: Mapping[str, Field], tensors: Sequence[TensorSpec], alignment: int
) -> bytes:
    """Everything before the data, padded."""
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
    if field.item_type is None or field.item_type is ValueType.ARRAY:
        raise ValueError("an array needs an item type, and not ARRAY")
    start = struct.pack("<IQ", field.item_type, len(field.value))
    return start + _encode_items(field.item_type, field.value)


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
