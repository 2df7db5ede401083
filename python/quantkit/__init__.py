"""What each GGUF quantization type costs on your model and your text, and that file."""

from __future__ import annotations

from ._native import Backend, active_backend, backends
from .arrays import QuantizedTensor, dequantize, quantize
from .errors import (
    BackendError,
    CheckpointError,
    FormatError,
    NonFiniteError,
    OutputError,
    QuantkitError,
    ShapeError,
    UnsupportedModelError,
    UnsupportedTypeError,
)
from .types import QuantType

__version__ = "0.1.0"

__all__ = [
    "Backend",
    "BackendError",
    "CheckpointError",
    "FormatError",
    "NonFiniteError",
    "OutputError",
    "QuantType",
    "QuantizedTensor",
    "QuantkitError",
    "ShapeError",
    "UnsupportedModelError",
    "UnsupportedTypeError",
    "active_backend",
    "backends",
    "dequantize",
    "quantize",
]
