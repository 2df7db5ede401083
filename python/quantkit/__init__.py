"""What each GGUF quantization type costs on your model and your text, and that file.

Arrays: `quantize` and `dequantize`. Files: `convert`, `quantize_file` and `describe`.
Measurements: `perplexity` and `compare`. The command line is `quantkit`.
"""

from __future__ import annotations

from ._native import Backend, active_backend, backends
from .arrays import QuantizedTensor, dequantize, quantize
from .convert import convert
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
from .evaluate import Comparison, Measurement, PerplexityResult, compare, perplexity
from .gguf import GGUFFile
from .imatrix import read_imatrix
from .info import ModelInfo, describe
from .quantize_model import QuantizeReport, quantize_file
from .recipes import RECIPES, Recipe
from .types import QuantType

__version__ = "0.1.0"

__all__ = [
    "RECIPES",
    "Backend",
    "BackendError",
    "CheckpointError",
    "Comparison",
    "FormatError",
    "GGUFFile",
    "Measurement",
    "ModelInfo",
    "NonFiniteError",
    "OutputError",
    "PerplexityResult",
    "QuantType",
    "QuantizeReport",
    "QuantizedTensor",
    "QuantkitError",
    "Recipe",
    "ShapeError",
    "UnsupportedModelError",
    "UnsupportedTypeError",
    "active_backend",
    "backends",
    "compare",
    "convert",
    "dequantize",
    "describe",
    "perplexity",
    "quantize",
    "quantize_file",
    "read_imatrix",
]
