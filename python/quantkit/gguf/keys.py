"""Typed metadata values, as GGUF stores them.

A GGUF file stores a type with each value, and readers care: `block_count` as a uint64
is refused.  `Field` keeps the type beside the value, so that copying a file copies it.
Source: the GGUF format document (ggml/docs/gguf.md), section "Metadata".
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Field",
    "ValueType",
    "array",
    "boolean",
    "float32",
    "int32",
    "string",
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


@dataclass(frozen=True)
class Field:
    """One metadata value with its GGUF type.

    `value` is an int, float, bool or str; for `ValueType.ARRAY` a sequence of them (a
    NumPy array where the items are numbers), all of type `item_type`.
    """

    type: ValueType
    value: Any
    item_type: ValueType | None = None


def uint32(value: int) -> Field:
    """A uint32 field: counts, lengths and token ids."""
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


def array(item_type: ValueType, values: Sequence[Any]) -> Field:
    """An array field whose items all have `item_type`."""
    return Field(ValueType.ARRAY, values, item_type)
