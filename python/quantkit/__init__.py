"""What each GGUF quantization type costs on your model and your text, and that file.

Arrays: `quantize` and `dequantize`. Files: `convert`, `quantize_file` and `describe`.
Measurements: `perplexity` and `compare`; `Model` gives logits. Importance: `imatrix`.
The command line is `quantkit`.
"""

from __future__ import annotations

from ._native import Backend, active_backend, backends
from ._version import __version__ as __version__
from .arrays import QuantizedTensor, dequantize, quantize
from .convert import convert
from .edits import Edits
from .errors import (
    BackendError,
    CheckpointError,
    FormatError,
    NonFiniteError,
    OptionError,
    OutputError,
    QuantkitError,
    ShapeError,
    UnsupportedModelError,
    UnsupportedTypeError,
)
from .evaluate import (
    Comparison,
    Measurement,
    PairedDifference,
    PerplexityResult,
    TextResult,
    compare,
    perplexity,
)
from .gguf import GGUFFile
from .imatrix import ImportanceMatrix, imatrix, read_imatrix
from .info import ModelInfo, describe
from .model import Model
from .quantize_model import QuantizeReport, quantize_file
from .recipes import RECIPES, Recipe
from .recipes.overrides import Overrides, TensorType
from .types import QuantType
from .verify import Verification, verify_file

__all__ = [
    "RECIPES",
    "Backend",
    "BackendError",
    "CheckpointError",
    "Comparison",
    "Edits",
    "FormatError",
    "GGUFFile",
    "ImportanceMatrix",
    "Measurement",
    "Model",
    "ModelInfo",
    "NonFiniteError",
    "OptionError",
    "OutputError",
    "Overrides",
    "PairedDifference",
    "PerplexityResult",
    "QuantType",
    "QuantizeReport",
    "QuantizedTensor",
    "QuantkitError",
    "Recipe",
    "ShapeError",
    "TensorType",
    "TextResult",
    "UnsupportedModelError",
    "UnsupportedTypeError",
    "Verification",
    "active_backend",
    "backends",
    "compare",
    "convert",
    "dequantize",
    "describe",
    "imatrix",
    "perplexity",
    "quantize",
    "quantize_file",
    "read_imatrix",
    "verify_file",
]
