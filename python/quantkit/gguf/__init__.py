"""Read and write GGUF files: metadata and tensors, without knowledge of models."""

from __future__ import annotations

from .keys import Field, ValueType
from .layout import TensorSpec
from .reader import GGUFFile, Location
from .strings import StringArray
from .writer import GGUFWriter

__all__ = [
    "Field",
    "GGUFFile",
    "GGUFWriter",
    "Location",
    "StringArray",
    "TensorSpec",
    "ValueType",
]
