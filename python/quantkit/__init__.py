"""Convert models to GGUF, quantize them, and measure what each type costs.

Arrays: `quantize` and `dequantize`. Files: `convert`, `quantize_file`, `quantize_files`
and `info`. Measurements: `perplexity` and `compare`; `choose` answers which type to
take; `Model` gives logits. Importance: `imatrix`.
The command line is `quantkit`.

`import quantkit` is fast: each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module

from ._version import __version__ as __version__

TYPE_CHECKING = False  # type checkers take it as true; `typing` is slow to import

if TYPE_CHECKING:  # the same names as in `_MODULES`, for editors and type checkers
    from ._device import Device as Device
    from ._device import devices as devices
    from ._native import Backend as Backend
    from ._native import active_backend as active_backend
    from ._native import backends as backends
    from .arrays.quantized import QuantizedTensor as QuantizedTensor
    from .arrays.quantized import dequantize as dequantize
    from .arrays.quantized import quantize as quantize
    from .calibrating.calibration import Calibration as Calibration
    from .calibrating.calibration import Effort as Effort
    from .calibrating.cost import CalibrationCost as CalibrationCost
    from .calibrating.gain import Gain as Gain
    from .cells import Cells as Cells
    from .choosing import Budget as Budget
    from .choosing import Candidate as Candidate
    from .choosing import Choice as Choice
    from .choosing import MemoryNeed as MemoryNeed
    from .choosing import choose as choose
    from .collecting.collection import imatrix as imatrix
    from .collecting.sharding import ImatrixShard as ImatrixShard
    from .collecting.sharding import imatrix_shard as imatrix_shard
    from .collecting.sharding import merge_imatrix_shards as merge_imatrix_shards
    from .embeddings import EmbeddingComparison as EmbeddingComparison
    from .embeddings import EmbeddingDifference as EmbeddingDifference
    from .embeddings import EmbeddingMeasurement as EmbeddingMeasurement
    from .embeddings import EmbeddingText as EmbeddingText
    from .embeddings import compare_embeddings as compare_embeddings
    from .errors import BackendError as BackendError
    from .errors import CheckpointError as CheckpointError
    from .errors import DeviceMemoryError as DeviceMemoryError
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
    from .evaluate import Shard as Shard
    from .evaluate import TextResult as TextResult
    from .evaluate import compare as compare
    from .evaluate import compare_shard as compare_shard
    from .evaluate import merge_shards as merge_shards
    from .evaluate import perplexity as perplexity
    from .evaluate.details import Details as Details
    from .evaluate.likelihood import TokenScores as TokenScores
    from .execution.cluster.cluster import use_cluster as use_cluster
    from .execution.workers import Pool as Pool
    from .execution.workers import Threads as Threads
    from .execution.workers import Workers as Workers
    from .gguf import Field as Field
    from .gguf import GGUFFile as GGUFFile
    from .gguf import Location as Location
    from .gguf import StringArray as StringArray
    from .gguf import TensorSpec as TensorSpec
    from .gguf import ValueType as ValueType
    from .gguf.importance import Importance as Importance
    from .gguf.keys import FileType as FileType
    from .gguf.source import ModelSource as ModelSource
    from .gguf.source import SourceTensor as SourceTensor
    from .importance import ImportanceLike as ImportanceLike
    from .importance import ImportanceMatrix as ImportanceMatrix
    from .importance import LayerStatistics as LayerStatistics
    from .importance import Statistics as Statistics
    from .importance import Sums as Sums
    from .importance import TensorStatistics as TensorStatistics
    from .importance import read_imatrix as read_imatrix
    from .inference.model import Model as Model
    from .mixing import Mix as Mix
    from .mixing import TensorChoice as TensorChoice
    from .paths import StrPath as StrPath
    from .perplexity_result import PerplexityResult as PerplexityResult
    from .progress import Notify as Notify
    from .progress import Progress as Progress
    from .publishing.card_files import CardFile as CardFile
    from .publishing.cards import ModelCard as ModelCard
    from .publishing.cards import model_card as model_card
    from .publishing.ollama import Modelfile as Modelfile
    from .publishing.ollama import modelfile as modelfile
    from .quantizing.tensor_errors import TensorErrors as TensorErrors
    from .recipes import RECIPES as RECIPES
    from .recipes import Recipe as Recipe
    from .recipes.mixes import RecipeLike as RecipeLike
    from .recipes.overrides import Overrides as Overrides
    from .recipes.overrides import TensorType as TensorType
    from .recipes.planning import MissingImportance as MissingImportance
    from .reporting import write_report as write_report
    from .sources.edits import Edits as Edits
    from .sources.edits import parse_field as parse_field
    from .sources.opening import ModelLike as ModelLike
    from .tasks.calibration import CalibrationCheck as CalibrationCheck
    from .tasks.convert import ConvertReport as ConvertReport
    from .tasks.convert import convert as convert
    from .tasks.convert_lora import convert_lora as convert_lora
    from .tasks.info import MetadataEntry as MetadataEntry
    from .tasks.info import ModelInfo as ModelInfo
    from .tasks.info import TensorInfo as TensorInfo
    from .tasks.info import TypeUsage as TypeUsage
    from .tasks.info import info as info
    from .tasks.quantize import quantize_file as quantize_file
    from .tasks.quantize_many import quantize_files as quantize_files
    from .tasks.quantize_report import QuantizeReport as QuantizeReport
    from .tasks.quantize_report import TensorReport as TensorReport
    from .tasks.quantize_report import TypeReport as TypeReport
    from .tasks.verify import Difference as Difference
    from .tasks.verify import Verification as Verification
    from .tasks.verify import verify_file as verify_file
    from .tokens.options import TextOptions as TextOptions
    from .tokens.texts import TextLike as TextLike
    from .tokens.tokenizer import Tokenizer as Tokenizer
    from .types import QuantType as QuantType
    from .vocab import VocabType as VocabType

_MODULES = {
    "Backend": "_native",
    "BackendError": "errors",
    "Budget": "choosing",
    "Calibration": "calibrating.calibration",
    "CalibrationCheck": "tasks.calibration",
    "CalibrationCost": "calibrating.cost",
    "Candidate": "choosing",
    "CardFile": "publishing.card_files",
    "Cells": "cells",
    "CheckpointError": "errors",
    "DeviceMemoryError": "errors",
    "Choice": "choosing",
    "Comparison": "evaluate",
    "ConvertReport": "tasks.convert",
    "Details": "evaluate.details",
    "Device": "_device",
    "Difference": "tasks.verify",
    "Edits": "sources.edits",
    "Effort": "calibrating.calibration",
    "EmbeddingComparison": "embeddings",
    "EmbeddingDifference": "embeddings",
    "EmbeddingMeasurement": "embeddings",
    "EmbeddingText": "embeddings",
    "Field": "gguf",
    "FileType": "gguf.keys",
    "FormatError": "errors",
    "GGUFFile": "gguf",
    "Gain": "calibrating.gain",
    "ImatrixShard": "collecting.sharding",
    "Importance": "gguf.importance",
    "ImportanceLike": "importance",
    "ImportanceMatrix": "importance",
    "LayerStatistics": "importance",
    "Location": "gguf",
    "Measurement": "evaluate",
    "MemoryNeed": "choosing",
    "MetadataEntry": "tasks.info",
    "MissingImportance": "recipes.planning",
    "Mix": "mixing",
    "Model": "inference.model",
    "ModelCard": "publishing.cards",
    "ModelInfo": "tasks.info",
    "ModelLike": "sources.opening",
    "ModelSource": "gguf.source",
    "Modelfile": "publishing.ollama",
    "NonFiniteError": "errors",
    "Notify": "progress",
    "OptionError": "errors",
    "OutputError": "errors",
    "Overrides": "recipes.overrides",
    "PairedDifference": "evaluate",
    "PerplexityResult": "perplexity_result",
    "Pool": "execution.workers",
    "Progress": "progress",
    "QuantType": "types",
    "QuantizeReport": "tasks.quantize_report",
    "QuantizedTensor": "arrays.quantized",
    "QuantkitError": "errors",
    "RECIPES": "recipes",
    "Recipe": "recipes",
    "RecipeLike": "recipes.mixes",
    "ShapeError": "errors",
    "Shard": "evaluate",
    "SourceTensor": "gguf.source",
    "Statistics": "importance",
    "StrPath": "paths",
    "StringArray": "gguf",
    "Sums": "importance",
    "TensorChoice": "mixing",
    "TensorErrors": "quantizing.tensor_errors",
    "TensorInfo": "tasks.info",
    "TensorReport": "tasks.quantize_report",
    "TensorSpec": "gguf",
    "TensorStatistics": "importance",
    "TensorType": "recipes.overrides",
    "TextLike": "tokens.texts",
    "TextOptions": "tokens.options",
    "TextResult": "evaluate",
    "Threads": "execution.workers",
    "TokenScores": "evaluate.likelihood",
    "Tokenizer": "tokens.tokenizer",
    "TypeReport": "tasks.quantize_report",
    "TypeUsage": "tasks.info",
    "UnsupportedModelError": "errors",
    "UnsupportedTypeError": "errors",
    "ValueType": "gguf",
    "Verification": "tasks.verify",
    "VocabType": "vocab",
    "Workers": "execution.workers",
    "active_backend": "_native",
    "backends": "_native",
    "choose": "choosing",
    "compare": "evaluate",
    "compare_embeddings": "embeddings",
    "compare_shard": "evaluate",
    "convert": "tasks.convert",
    "convert_lora": "tasks.convert_lora",
    "dequantize": "arrays.quantized",
    "devices": "_device",
    "imatrix": "collecting.collection",
    "imatrix_shard": "collecting.sharding",
    "info": "tasks.info",
    "merge_imatrix_shards": "collecting.sharding",
    "merge_shards": "evaluate",
    "model_card": "publishing.cards",
    "modelfile": "publishing.ollama",
    "parse_field": "sources.edits",
    "perplexity": "evaluate",
    "quantize": "arrays.quantized",
    "quantize_file": "tasks.quantize",
    "quantize_files": "tasks.quantize_many",
    "read_imatrix": "importance",
    "use_cluster": "execution.cluster.cluster",
    "verify_file": "tasks.verify",
    "write_report": "reporting",
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
