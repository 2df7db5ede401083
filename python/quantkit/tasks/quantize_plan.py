"""What `quantize_file` makes: types, metadata, the files, and the report of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from ..gguf.keys import Field
from ..gguf.layout import TensorSpec, ggml_shape
from ..gguf.quantized import quantized_metadata
from ..gguf.source import ModelSource
from ..output.splits import Part, by_shards, by_size, parts_of
from ..recipes import Assignment, Recipe
from ..recipes.facts import layer_number
from ..recipes.importance_fit import say_fit, say_idle
from ..recipes.planning import plan
from ..sources.edits import EditedModel, Edits, file_metadata
from .provenance import Origin
from .quantize_inputs import QuantizeInputs
from .quantize_report import QuantizeReport, TensorReport

__all__ = ["parts_to_write", "planned", "planned_metadata", "report_of"]


def planned(
    inputs: QuantizeInputs, origin: Origin, *, allow_requantize: bool
) -> dict[str, Assignment]:
    """The type of each tensor; warns of importance that is not used or does not fit.

    Raises:
        UnsupportedTypeError: as for `plan`.
    """
    assigned = plan(
        inputs.source,
        origin.recipe,
        inputs.expected_importance,
        overrides=origin.overrides,
        allow_requantize=allow_requantize,
        missing_importance=origin.missing_importance,
    )
    if not say_idle(inputs.importance, inputs.source, assigned):
        say_fit(inputs.importance, inputs.source)
    return assigned


def planned_metadata(
    source: EditedModel,
    recipe: Recipe,
    edits: Edits,
    about_imatrix: Mapping[str, Field] = MappingProxyType({}),
) -> dict[str, Field]:
    """The metadata of the file, with the edits and those about the importance."""
    kept = quantized_metadata(source.metadata, recipe.file_type)
    set_last = {**edits.metadata, **about_imatrix}
    return file_metadata(kept, replace(edits, metadata=set_last), source.n_layers)


def parts_to_write(
    source: EditedModel,
    assigned: Mapping[str, Assignment],
    out: Path,
    metadata: Mapping[str, Field],
    keep_split: bool,
    split_max_bytes: int | None,
) -> list[Part]:
    """The files to write: one, or several if an option asks for it."""
    specs = {
        name: TensorSpec(
            name, ggml_shape(source.tensors[name].shape), assigned[name].type
        )
        for name in _file_order(source)
    }
    if keep_split:
        groups = by_shards(specs, source.locations)
    elif split_max_bytes is not None:
        groups = by_size(list(specs.values()), split_max_bytes, metadata)
    else:
        groups = [list(specs.values())]
    return parts_of(out, metadata, groups)


def _file_order(source: ModelSource) -> list[str]:
    """Tensors in the order of llama-quantize: first those outside the layers."""
    return sorted(source.tensors, key=lambda name: (layer_number(name), name))


def report_of(
    recipe: Recipe,
    inputs: QuantizeInputs,
    assigned: Mapping[str, Assignment],
    parts: list[Part],
    *,
    is_dry_run: bool,
) -> QuantizeReport:
    """What the files will contain, before anything is measured."""
    source = inputs.source
    tensors = tuple(
        TensorReport(
            spec.name,
            spec.shape,
            source.tensors[spec.name].type,
            spec.type,
            spec.n_bytes,
            assigned[spec.name].reason,
            assigned[spec.name].fallback_from,
        )
        for part in parts
        for spec in part.tensors
    )
    size = sum(part.writer().size_bytes for part in parts)
    paths = tuple(part.path for part in parts)
    on_grid = is_quantizing(source, assigned) and inputs.is_on_grid
    return QuantizeReport(
        *(paths[0], recipe.name, tensors, size, paths, is_dry_run), on_grid=on_grid
    )


def is_quantizing(source: ModelSource, assigned: Mapping[str, Assignment]) -> bool:
    """Whether a tensor gets a quantized type that it has not yet."""
    return any(
        each.type.is_quantized and source.tensors[name].type is not each.type
        for name, each in assigned.items()
    )
