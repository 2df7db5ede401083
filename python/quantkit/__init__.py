"""What each GGUF quantization type costs on your model and your text, and that file.

Arrays: `quantize` and `dequantize`. Files: `convert`, `quantize_file` and `describe`.
Measurements: `perplexity` and `compare`; `Model` gives logits. Importance: `imatrix`.
The command line is `quantkit`.
"""

from __future__ import annotations

from ._native import Backend, active_backend, backends
from ._version import __version__ as __version__
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
from .importance import ImportanceMatrix, imatrix, read_imatrix
from .inference.model import Model
from .quantized_tensor import QuantizedTensor, dequantize, quantize
from .recipes import RECIPES, Recipe
from .recipes.overrides import Overrides, TensorType
from .sources.edits import Edits
from .tasks.convert import convert
from .tasks.info import ModelInfo, describe
from .tasks.quantize import QuantizeReport, quantize_file
from .tasks.verify import Verification, verify_file
from .types import QuantType

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
