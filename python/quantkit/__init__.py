"""What each GGUF quantization type costs on your model and your text, and that file.

Arrays: `quantize` and `dequantize`. Files: `convert`, `quantize_file` and `describe`.
Measurements: `perplexity` and `compare`; `Model` gives logits. Importance: `imatrix`.
The command line is `quantkit`.

Importing quantkit imports none of it: each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__ as __version__

if TYPE_CHECKING:  # the same names as in `_MODULES`, for editors and type checkers
    from ._native import Backend as Backend
    from ._native import active_backend as active_backend
    from ._native import backends as backends
    from .arrays import QuantizedTensor as QuantizedTensor
    from .arrays import dequantize as dequantize
    from .arrays import quantize as quantize
    from .errors import BackendError as BackendError
    from .errors import CheckpointError as CheckpointError
    from .errors import FormatError as FormatError
    from .errors import NonFiniteError as NonFiniteError
    from .errors import OptionError as OptionError
    from .errors import OutputError as OutputError
    from .errors import QuantkitError as QuantkitError
    from .errors import ShapeError as ShapeError
    from .errors import UnsupportedModelError as UnsupportedModelError
    from .errors import UnsupportedTypeError as UnsupportedTypeError
    from .evaluate import Comparison as Comparison
    from .evaluate import Measurement as Measurement
    from .evaluate import PairedDifference as PairedDifference
    from .evaluate import PerplexityResult as PerplexityResult
    from .evaluate import TextResult as TextResult
    from .evaluate import compare as compare
    from .evaluate import perplexity as perplexity
    from .gguf import GGUFFile as GGUFFile
    from .importance import ImportanceMatrix as ImportanceMatrix
    from .importance import imatrix as imatrix
    from .importance import read_imatrix as read_imatrix
    from .inference.model import Model as Model
    from .recipes import RECIPES as RECIPES
    from .recipes import Recipe as Recipe
    from .recipes.overrides import Overrides as Overrides
    from .recipes.overrides import TensorType as TensorType
    from .sources.edits import Edits as Edits
    from .tasks.convert import convert as convert
    from .tasks.info import ModelInfo as ModelInfo
    from .tasks.info import describe as describe
    from .tasks.quantize import QuantizeReport as QuantizeReport
    from .tasks.quantize import quantize_file as quantize_file
    from .tasks.verify import Verification as Verification
    from .tasks.verify import verify_file as verify_file
    from .types import QuantType as QuantType

_MODULES = {
    "Backend": "_native",
    "BackendError": "errors",
    "CheckpointError": "errors",
    "Comparison": "evaluate",
    "Edits": "sources.edits",
    "FormatError": "errors",
    "GGUFFile": "gguf",
    "ImportanceMatrix": "importance",
    "Measurement": "evaluate",
    "Model": "inference.model",
    "ModelInfo": "tasks.info",
    "NonFiniteError": "errors",
    "OptionError": "errors",
    "OutputError": "errors",
    "Overrides": "recipes.overrides",
    "PairedDifference": "evaluate",
    "PerplexityResult": "evaluate",
    "QuantType": "types",
    "QuantizeReport": "tasks.quantize",
    "QuantizedTensor": "arrays",
    "QuantkitError": "errors",
    "RECIPES": "recipes",
    "Recipe": "recipes",
    "ShapeError": "errors",
    "TensorType": "recipes.overrides",
    "TextResult": "evaluate",
    "UnsupportedModelError": "errors",
    "UnsupportedTypeError": "errors",
    "Verification": "tasks.verify",
    "active_backend": "_native",
    "backends": "_native",
    "compare": "evaluate",
    "convert": "tasks.convert",
    "dequantize": "arrays",
    "describe": "tasks.info",
    "imatrix": "importance",
    "perplexity": "evaluate",
    "quantize": "arrays",
    "quantize_file": "tasks.quantize",
    "read_imatrix": "importance",
    "verify_file": "tasks.verify",
}
"""By public name, the module that defines it."""

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
