"""Parse the header of a GGUF file; every number is checked before it is used.

The layout is described in `layout.py`.  Versions 2 and 3 are supported; version 3 only
adds big-endian files, which are refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import FormatError, ShapeError, UnsupportedTypeError
from ..settings import shown
from ..types import QuantType
from .keys import Field, ValueType
from .layout import (
    MAGIC,
    MAX_ARRAY_DEPTH,
    MAX_DIMENSIONS,
    NUMBER_FORMATS,
    VERSION,
    TensorSpec,
    alignment_of,
    padded,
)
from .strings import StringArray, decode

__all__ = ["Header", "parse_header"]

INCOMPLETE = "the file is damaged, or its download is incomplete"
BIG_ENDIAN_VERSIONS = (0x02000000, 0x03000000)
# The minimum sizes in bytes of a metadata entry, a tensor entry and an inner array.
SMALLEST_FIELD = 14
SMALLEST_TENSOR = 24
SMALLEST_ARRAY = 12

_LOOKALIKES = {
    b"version https://git-lfs": "it is a Git LFS pointer; download the file itself, "
    "for example with `git lfs pull`",
    b"<": "it looks like a web page; download the file itself",
    b"lmgg": "it is a GGML file from before GGUF; convert the original model again",
    b"fmgg": "it is a GGML file from before GGUF; convert the original model again",
    b"tjgg": "it is a GGML file from before GGUF; convert the original model again",
    b"PK": "it is a zip archive, such as a PyTorch checkpoint; give a GGUF file or a "
    "folder with safetensors",
    b"\x80": "it is a pickle, such as a PyTorch checkpoint; give a GGUF file or a "
    "folder with safetensors",
}
_SAFETENSORS = (
    "it is a safetensors file; to convert, quantize or run it, give the checkpoint "
    "folder that contains it"
)


@dataclass(frozen=True)
class Header:
    """The header of a file.

    Attributes:
        version: 2 or 3.
        alignment: the alignment of tensor data, in bytes.
        metadata: by key, in file order.
        tensors: in file order, each with the offset of its data in the file.
    """

    version: int
    alignment: int
    metadata: dict[str, Field]
    tensors: list[tuple[TensorSpec, int]]


def parse_header(data: memoryview) -> Header:
    """Parse the header of the GGUF file with the bytes `data`.

    Raises:
        FormatError: the header is not valid; the message does not name the file.
    """
    _check_magic(data)
    cursor = _Cursor(data)
    cursor.take(len(MAGIC), "magic")
    version = _read_version(cursor)
    n_tensors = cursor.number("Q", "number of tensors")
    n_fields = cursor.number("Q", "number of metadata entries")
    cursor.expect(n_fields, SMALLEST_FIELD, "metadata entries")
    cursor.expect(n_tensors, SMALLEST_TENSOR, "tensors")
    metadata = _read_metadata(cursor, n_fields)
    alignment = alignment_of(metadata)
    entries = _read_tensors(cursor, n_tensors)
    start = padded(cursor.position, alignment)
    _check_offsets(entries, alignment)
    tensors = [(spec, start + offset) for spec, offset in entries]
    _check_extents(tensors, len(data))
    return Header(version, alignment, metadata, tensors)


class _Cursor:
    """Reads values in sequence, never beyond the end."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.position = 0

    def take(self, size: int, what: str) -> bytes:
        """The next `size` bytes."""
        start = self.position
        if size > len(self._data) - start:
            raise FormatError(
                f"{what} at byte {start} needs {size} bytes, but only "
                f"{len(self._data) - start} are left; {INCOMPLETE}"
            )
        self.position += size
        return bytes(self._data[start : start + size])

    def expect(self, count: int, smallest: int, what: str) -> None:
        """Refuse a count that the rest of the file cannot hold."""
        left = len(self._data) - self.position
        if count * smallest > left:
            raise FormatError(
                f"{count} {what} are declared at byte {self.position}, but only {left} "
                f"bytes are left; {INCOMPLETE}"
            )

    def number(self, letter: str, what: str) -> Any:
        """The next number, in a `struct` format."""
        raw = self.take(struct.calcsize("<" + letter), what)
        return struct.unpack("<" + letter, raw)[0]

    def raw_string(self, what: str) -> bytes:
        """The bytes of the next string."""
        return self.take(self.number("Q", f"length of {what}"), what)

    def name(self, what: str) -> str:
        """The next string, which must be UTF-8."""
        raw = self.raw_string(what)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise FormatError(f"{what} {shown(raw[:80])} is not UTF-8") from None

    def strings(self, count: int, what: str) -> StringArray:
        """The next `count` strings."""
        self.expect(count, 8, f"strings of {what}")
        start = self.position
        ends = np.fromiter(self._string_ends(count, what), np.int64, count) - start
        self.position = start
        return StringArray(self.take(int(ends[-1]) if count else 0, what), ends)

    def _string_ends(self, count: int, what: str) -> Iterator[int]:
        data, position, limit = self._data, self.position, len(self._data)
        length_at = struct.Struct("<Q").unpack_from
        for i in range(count):
            if position + 8 <= limit:
                position += 8 + length_at(data, position)[0]
            else:
                position = limit + 1
            if position > limit:
                raise FormatError(
                    f"string {i} of {what} extends beyond the end; {INCOMPLETE}"
                )
            yield position


def _check_magic(data: memoryview) -> None:
    head = bytes(data[:32])
    if head.startswith(MAGIC):
        return
    if not head:
        raise FormatError("the file is empty; its download may have failed")
    for start, hint in _LOOKALIKES.items():
        if head.startswith(start):
            raise FormatError(f"this is not a GGUF file: {hint}")
    if head[8:10] == b'{"':
        raise FormatError(f"this is not a GGUF file: {_SAFETENSORS}")
    raise FormatError(
        f"this is not a GGUF file: it starts with {head[:4]!r}, not {MAGIC!r}"
    )


def _read_version(cursor: _Cursor) -> int:
    version: int = cursor.number("I", "version")
    if version in (2, VERSION):
        return version
    if version in BIG_ENDIAN_VERSIONS:
        raise FormatError(
            "this is a big-endian GGUF file; convert it to little-endian, for example "
            "with `gguf-convert-endian`"
        )
    if version == 1:
        raise FormatError(
            "this is a version 1 GGUF file; convert the original model again"
        )
    raise FormatError(
        f"this is a version {version} GGUF file; quantkit reads versions 2 and 3"
    )


def _read_metadata(cursor: _Cursor, count: int) -> dict[str, Field]:
    metadata: dict[str, Field] = {}
    for i in range(count):
        key = cursor.name(f"metadata key {i}")
        if not key:
            raise FormatError(f"metadata key {i} is empty; {INCOMPLETE}")
        if key in metadata:
            raise FormatError(f"metadata key {shown(key)} appears twice")
        metadata[key] = _read_field(cursor, f"metadata {shown(key)}")
    return metadata


def _read_field(cursor: _Cursor, what: str) -> Field:
    kind = _read_value_type(cursor, f"type of {what}")
    if kind is ValueType.STRING:
        return Field(kind, decode(cursor.raw_string(what)))
    if kind is not ValueType.ARRAY:
        return Field(kind, _read_numbers(cursor, kind, 1, what)[0].item())
    return _read_array(cursor, what)


def _read_array(cursor: _Cursor, what: str, depth: int = 1) -> Field:
    item = _read_value_type(cursor, f"item type of {what}")
    count = cursor.number("Q", f"length of {what}")
    if item is ValueType.STRING:
        return Field(ValueType.ARRAY, cursor.strings(count, what), item)
    if item is not ValueType.ARRAY:
        return Field(ValueType.ARRAY, _read_numbers(cursor, item, count, what), item)
    if depth == MAX_ARRAY_DEPTH:
        raise FormatError(
            f"{what} has arrays in arrays, more than {MAX_ARRAY_DEPTH} deep; "
            f"{INCOMPLETE}"
        )
    cursor.expect(count, SMALLEST_ARRAY, f"arrays of {what}")
    arrays = tuple(_read_array(cursor, what, depth + 1) for _ in range(count))
    return Field(ValueType.ARRAY, arrays, item)


def _read_value_type(cursor: _Cursor, what: str) -> ValueType:
    number = cursor.number("I", what)
    try:
        return ValueType(number)
    except ValueError:
        raise FormatError(
            f"{what} is {number}; expected 0 to {max(ValueType)}; {INCOMPLETE}"
        ) from None


def _read_numbers(cursor: _Cursor, kind: ValueType, count: int, what: str) -> Any:
    dtype = np.dtype("<" + NUMBER_FORMATS[kind])
    raw = np.frombuffer(cursor.take(count * dtype.itemsize, what), np.uint8)
    if kind is ValueType.BOOL and (raw > 1).any():
        raise FormatError(f"{what} is {raw.max()}; expected 0 or 1; {INCOMPLETE}")
    return raw.view(dtype)


def _read_tensors(cursor: _Cursor, count: int) -> list[tuple[TensorSpec, int]]:
    """All tensors with their offsets from the start of the data."""
    entries = {}
    for i in range(count):
        spec, offset = _read_tensor(cursor, i)
        if spec.name in entries:
            raise FormatError(f"tensor name {shown(spec.name)} appears twice")
        entries[spec.name] = spec, offset
    return list(entries.values())


def _read_tensor(cursor: _Cursor, index: int) -> tuple[TensorSpec, int]:
    """A tensor and its offset from the start of the data."""
    name = cursor.name(f"name of tensor {index}")
    what = f"tensor {shown(name)}"
    n_dims = cursor.number("I", f"dimension count of {what}")
    if n_dims > MAX_DIMENSIONS:
        raise FormatError(
            f"{what} has {n_dims} dimensions; GGUF allows up to {MAX_DIMENSIONS}"
        )
    dims = [cursor.number("Q", f"shape of {what}") for _ in range(n_dims)]
    type_id = cursor.number("I", f"type of {what}")
    offset = cursor.number("Q", f"offset of {what}")
    try:
        return TensorSpec(name, tuple(dims[::-1]), QuantType.from_id(type_id)), offset
    except ShapeError as error:
        raise FormatError(f"{error}; {INCOMPLETE}") from None
    except UnsupportedTypeError as error:
        raise FormatError(f"{what}: {error}") from None


def _check_offsets(entries: list[tuple[TensorSpec, int]], alignment: int) -> None:
    for spec, offset in entries:
        if offset % alignment:
            raise FormatError(
                f"tensor {shown(spec.name)} is at offset {offset}, not a multiple of "
                f"the alignment {alignment}; {INCOMPLETE}"
            )


def _check_extents(tensors: list[tuple[TensorSpec, int]], file_size: int) -> None:
    """Refuse tensors that extend beyond the file or overlap."""
    for spec, start in tensors:
        if start + spec.n_bytes > file_size:
            raise FormatError(
                f"tensor {shown(spec.name)} ends at byte {start + spec.n_bytes}, but "
                f"the file has {file_size} bytes; {INCOMPLETE}"
            )
    placed = sorted(
        (start, start + spec.n_bytes, spec.name)
        for spec, start in tensors
        if spec.n_bytes
    )
    for (_, end, name), (start, _, other) in pairwise(placed):
        if end > start:
            raise FormatError(
                f"tensors {shown(name)} and {shown(other)} overlap; {INCOMPLETE}"
            )
