"""Models quantized into GGUF files by a recipe.

The file that `quantize_file` writes from a GGUF file is, byte for byte, the one that
llama-quantize writes: tensors in order of (layer, name), the quantization keys last.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import UnsupportedTypeError
from .gguf.keys import uint32
from .opening import open_source
from .progress import Progress
from .recipes import (
    Assignment,
    ModelFacts,
    Recipe,
    assign_types,
    requires_importance,
)
from .recipes.facts import layer_number
from .slabs import Importance
from .source import ModelSource, SourceTensor
from .types import QuantType
from .writing import write_model

__all__ = ["QuantizeReport", "TensorReport", "plan", "quantize_file"]

QUANTIZATION_VERSION = 2
"""The version of the block formats: GGML_QNT_VERSION."""

REPLACED_KEYS = ("general.quantization_version", "general.file_type")


@dataclass(frozen=True)
class TensorReport:
    """What became of one tensor.

    Attributes:
        name: GGUF name.
        shape: row length last.
        source_type: its type before.
        type: its type in the file.
        n_bytes: its bytes in the file.
        reason: the rule that chose the type.
        fallback_from: the type the recipe chose, if the rows do not fit its block.
    """

    name: str
    shape: tuple[int, ...]
    source_type: QuantType
    type: QuantType
    n_bytes: int
    reason: str
    fallback_from: QuantType | None


@dataclass(frozen=True)
class QuantizeReport:
    """What a quantized file holds.

    Attributes:
        path: the file.
        recipe: the recipe's name.
        tensors: one entry per tensor, in file order.
        size_bytes: size of the file.
    """

    path: Path
    recipe: str
    tensors: tuple[TensorReport, ...]
    size_bytes: int

    @property
    def bits_per_weight(self) -> float:
        """Bits of all tensors over weights of all tensors."""
        n_weights = sum(int(np.prod(t.shape)) for t in self.tensors)
        return 8 * sum(t.n_bytes for t in self.tensors) / n_weights

    @property
    def fallbacks(self) -> tuple[TensorReport, ...]:
        """The tensors whose rows do not fit the block of the type chosen for them."""
        return tuple(t for t in self.tensors if t.fallback_from is not None)


def quantize_file(
    model: str | Path | ModelSource,
    out: str | Path,
    recipe: str,
    *,
    importance: Importance | None = None,
    allow_requantize: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> QuantizeReport:
    """Quantize a GGUF file or a checkpoint folder into a GGUF file.

    A checkpoint is read directly, with no full-size file between.  One in F16 or BF16
    gives the same file as `convert(..., "auto")` and `quantize_file` on that; one in
    F32 is quantized from F32, which the converter would round to F16 first.

    Args:
        model: a GGUF file (any shard of a split one) or a checkpoint folder.
        out: the file to write; it appears under this name only once it is complete.
        recipe: which types to use, such as "Q4_K_M", in any case.
        importance: by tensor name, f32 [cols] or [matrices, cols].
        allow_requantize: accept tensors that are quantized already.
        threads: slabs converted at a time; the bytes do not depend on it.
        progress: told about the weights converted.

    Raises:
        UnsupportedTypeError: the recipe is unknown, needs an importance matrix, or the
            model is quantized already.
        QuantkitError: the model cannot be read or the file not be written.
    """
    chosen = Recipe.parse(recipe)
    source = open_source(model)
    assigned = plan(source, chosen, importance, allow_requantize=allow_requantize)
    metadata = {
        key: field
        for key, field in source.metadata.items()
        if key not in REPLACED_KEYS and not key.startswith("split.")
    }
    metadata["general.quantization_version"] = uint32(QUANTIZATION_VERSION)
    metadata["general.file_type"] = uint32(chosen.file_type)
    types = {name: assigned[name].type for name in _file_order(source)}
    write_model(
        source,
        types,
        out,
        metadata=metadata,
        importance=importance,
        threads=threads,
        progress=progress,
    )
    reports = tuple(
        _tensor_report(source.tensors[name], assigned[name]) for name in types
    )
    return QuantizeReport(Path(out), chosen.name, reports, Path(out).stat().st_size)


def plan(
    source: ModelSource,
    recipe: Recipe,
    importance: Importance | None = None,
    *,
    allow_requantize: bool = False,
) -> dict[str, Assignment]:
    """The type of every tensor under a recipe, refused where the result would be bad.

    Raises:
        UnsupportedTypeError: a tensor is quantized already and `allow_requantize` is
            not set, or needs an importance that is not there.
    """
    facts = ModelFacts.of(
        source.metadata, source.tensors, has_importance=importance is not None
    )
    present = [(t.name, t.shape, t.type) for t in source.tensors.values()]
    assigned = assign_types(recipe, facts, present)
    for name, assignment in assigned.items():
        old, new = source.tensors[name].type, assignment.type
        if new is old:
            continue
        if old.is_quantized and not allow_requantize:
            raise UnsupportedTypeError(
                f"tensor {name} is {old.name} already, and quantizing it again to "
                f"{new.name} loses more than either; start from the F16, BF16 or F32 "
                "model, or allow requantizing (--allow-requantize)"
            )
        if requires_importance(recipe, name, new) and name not in (importance or {}):
            raise UnsupportedTypeError(
                f"{recipe.name} makes tensor {name} {new.name}, which is of no use "
                "without an importance matrix; collect one with llama.cpp's "
                "llama-imatrix and pass it (--imatrix), or choose another recipe"
            )
    return assigned


def _file_order(source: ModelSource) -> list[str]:
    """Tensors in the order of llama-quantize: those outside the layers first."""
    return sorted(source.tensors, key=lambda name: (layer_number(name), name))


def _tensor_report(tensor: SourceTensor, assignment: Assignment) -> TensorReport:
    return TensorReport(
        tensor.name,
        tensor.shape,
        tensor.type,
        assignment.type,
        tensor.n_rows * assignment.type.row_bytes(tensor.n_cols),
        assignment.reason,
        assignment.fallback_from,
    )
