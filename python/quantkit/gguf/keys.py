"""Typed metadata values of GGUF files.

A GGUF file stores a type with each value, and readers check it: a `block_count` of type
uint64 is refused.  `Field` keeps the type, so a copied file has the same types.
Source: the GGUF format document (ggml/docs/gguf.md), section "Metadata".
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ..by_value import ByValue
from ..errors import OptionError

__all__ = [
    "QUANTIZATION_VERSION",
    "Field",
    "FileType",
    "ValueType",
    "array",
    "boolean",
    "float32",
    "int32",
    "string",
    "text_of",
    "uint32",
    "uint64",
]


class ValueType(enum.IntEnum):
    """The type number that precedes a metadata value."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


QUANTIZATION_VERSION = 2
"""The version of the block formats in the metadata: GGML_QNT_VERSION."""


class FileType(enum.IntEnum):
    """The value of `general.file_type`: the recipe that a file was made with.

    Source: `llama_ftype` in llama.cpp's llama.h; missing numbers were removed there.
    """

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q8_0 = 7
    Q5_0 = 8
    Q5_1 = 9
    Q2_K = 10
    Q3_K_S = 11
    Q3_K_M = 12
    Q3_K_L = 13
    Q4_K_S = 14
    Q4_K_M = 15
    Q5_K_S = 16
    Q5_K_M = 17
    Q6_K = 18
    IQ2_XXS = 19
    IQ2_XS = 20
    Q2_K_S = 21
    IQ3_XS = 22
    IQ3_XXS = 23
    IQ1_S = 24
    IQ4_NL = 25
    IQ3_S = 26
    IQ3_M = 27
    IQ2_S = 28
    IQ2_M = 29
    IQ4_XS = 30
    IQ1_M = 31
    BF16 = 32
    TQ1_0 = 36
    TQ2_0 = 37
    MXFP4_MOE = 38
    NVFP4 = 39
    Q1_0 = 40
    Q2_0 = 41


@dataclass(frozen=True, eq=False)
class Field(ByValue):
    """One metadata value with its GGUF type.

    `value` is an int, float, bool or str; for `ValueType.ARRAY` a sequence of these (a
    NumPy array if the items are numbers), all of type `item_type`.  The items of an
    array of arrays are fields, each an array with its own item type.

    Raises:
        OptionError: `type` is not a `ValueType`.
    """

    type: ValueType
    value: Any
    item_type: ValueType | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.type, ValueType):
            raise OptionError(
                f"`type` of a Field is {self.type!r}; expected a ValueType, such as "
                "ValueType.STRING"
            )


def uint32(value: int) -> Field:
    """A uint32 field, for counts, lengths and token ids."""
    return Field(ValueType.UINT32, int(value))


def int32(value: int) -> Field:
    """An int32 field."""
    return Field(ValueType.INT32, int(value))


def uint64(value: int) -> Field:
    """A uint64 field."""
    return Field(ValueType.UINT64, int(value))


def float32(value: float) -> Field:
    """A float32 field."""
    return Field(ValueType.FLOAT32, float(value))


def boolean(value: bool) -> Field:
    """A bool field."""
    return Field(ValueType.BOOL, bool(value))


def string(value: str) -> Field:
    """A UTF-8 string field."""
    return Field(ValueType.STRING, value)


def array(item_type: ValueType, values: Sequence[Any] | NDArray[Any]) -> Field:
    """An array field whose items all have `item_type`."""
    return Field(ValueType.ARRAY, values, item_type)


def text_of(metadata: Mapping[str, Field], key: str) -> str | None:
    """The text of a key; None if it is missing, or not a text."""
    field = metadata.get(key)
    return field.value if field is not None and isinstance(field.value, str) else None
