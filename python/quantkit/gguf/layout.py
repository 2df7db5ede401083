"""The layout of GGUF files: constants, padding, tensor sizes.

Source: the GGUF format document (ggml/docs/gguf.md), version 3, little-endian:

    magic "GGUF" | version u32 | tensor count u64 | metadata count u64
    metadata:  key string, value type u32, value
    tensors:   name string, dimension count u32, dimensions u64 (row length first),
               type u32, offset u64 (from the start of the data)
    padding | data of each tensor, padded to `general.alignment`

A string is its length in bytes (u64), then UTF-8 without a terminator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..display import Displayed
from ..errors import FormatError, ShapeError
from ..settings import shown
from ..types import QuantType
from .keys import Field, ValueType

__all__ = [
    "ALIGNMENT_KEY",
    "MAGIC",
    "MAX_ARRAY_DEPTH",
    "MAX_DIMENSIONS",
    "NUMBER_FORMATS",
    "VERSION",
    "TensorSpec",
    "alignment_of",
    "ggml_shape",
    "padded",
    "row_length",
]

MAGIC = b"GGUF"
VERSION = 3
ALIGNMENT_KEY = "general.alignment"
DEFAULT_ALIGNMENT = 32
# Larger than any alignment in use; limits the padding that a damaged value requests.
MAX_ALIGNMENT = 1 << 24
MAX_DIMENSIONS = 4
MAX_ARRAY_DEPTH = 16
"""Arrays of metadata in arrays; a limit for damaged files, since readers recurse."""
MAX_SIZE = (1 << 63) - 1

NUMBER_FORMATS: Mapping[ValueType, str] = MappingProxyType(
    {
        ValueType.UINT8: "B",
        ValueType.INT8: "b",
        ValueType.UINT16: "H",
        ValueType.INT16: "h",
        ValueType.UINT32: "I",
        ValueType.INT32: "i",
        ValueType.FLOAT32: "f",
        ValueType.BOOL: "?",
        ValueType.UINT64: "Q",
        ValueType.INT64: "q",
        ValueType.FLOAT64: "d",
    }
)
"""The format letter of each number type, for `struct` and NumPy (with "<")."""


@dataclass(frozen=True)
class TensorSpec(Displayed):
    """The name, shape and type of a tensor, which determine its size in a file.

    Attributes:
        name: GGUF name.
        shape: outermost axis first, row length last (GGUF files store the reverse);
            () for one number.
        type: GGUF type.

    Raises:
        ShapeError: GGUF cannot store this shape in this type.
    """

    name: str
    shape: tuple[int, ...]
    type: QuantType

    def __post_init__(self) -> None:
        is_shape = isinstance(self.shape, tuple | list)
        if not is_shape or not isinstance(self.type, QuantType):
            raise ShapeError(
                f"tensor {shown(self.name)} has the shape {self.shape!r} and the type "
                f"{self.type!r}; expected a tuple of integers and a QuantType"
            )
        if len(self.shape) > MAX_DIMENSIONS:
            raise ShapeError(
                f"tensor {shown(self.name)} has {len(self.shape)} dimensions; "
                f"GGUF allows up to {MAX_DIMENSIONS}"
            )
        # A dimension may be 0, but that must not hide an impossible other dimension.
        size = math.prod(max(n, 1) for n in self.shape) * self.type.block_bytes
        if min(self.shape, default=0) < 0 or size > MAX_SIZE:
            raise ShapeError(
                f"tensor {shown(self.name)} has the impossible shape {self.shape}"
            )
        try:
            self.type.row_bytes(self.n_cols)
        except ShapeError as error:
            raise ShapeError(f"tensor {shown(self.name)}: {error}") from None

    @property
    def n_cols(self) -> int:
        """The number of weights in a row."""
        return row_length(self.shape)

    @property
    def row_bytes(self) -> int:
        """The size of a row in bytes."""
        return self.type.row_bytes(self.n_cols)

    @property
    def n_rows(self) -> int:
        """The number of rows, counted through all axes but the last."""
        return math.prod(self.shape[:-1])

    @property
    def n_bytes(self) -> int:
        """The size of the tensor in bytes, without padding."""
        return self.n_rows * self.row_bytes


def row_length(shape: tuple[int, ...]) -> int:
    """The number of weights in a row; one number is a row of 1."""
    return shape[-1] if shape else 1


def ggml_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that llama.cpp's tools write for a tensor that they read.

    Outer axes of length 1 are dropped, and one number is a row of 1: `ggml_n_dims`.
    """
    first = next((i for i, n in enumerate(shape[:-1]) if n != 1), len(shape) - 1)
    return shape[first:] if shape else (1,)


def padded(size: int, alignment: int) -> int:
    """`size` rounded up to a multiple of `alignment`."""
    return -(-size // alignment) * alignment


def alignment_of(metadata: Mapping[str, Field]) -> int:
    """The alignment given by the metadata; 32 if it has none.

    Raises:
        FormatError: it is not a uint32, or not a power of two in the valid range.
    """
    field = metadata.get(ALIGNMENT_KEY)
    if field is None:
        return DEFAULT_ALIGNMENT
    if field.type is not ValueType.UINT32:
        raise FormatError(f"{ALIGNMENT_KEY} is a {field.type.name}, not a UINT32")
    alignment = int(field.value)
    if alignment.bit_count() != 1 or not 8 <= alignment <= MAX_ALIGNMENT:
        raise FormatError(
            f"{ALIGNMENT_KEY} is {alignment}, not a power of two from 8 to "
            f"{MAX_ALIGNMENT}"
        )
    return alignment
