"""A model's weights in memory, in any mix of types.

Quantized weights stay quantized: the native matrix product unpacks a tile of rows at a
time.  Weights that keep their type stay in the mapped file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import (
    Packed,
    Precision,
    active_backend,
    matmul,
    pack_activations,
    packing_for,
)
from ..arrays.rows import dequantize_rows
from ..execution.allocation import keep_freed_memory
from ..execution.carried import Carried
from ..execution.workers import Workers, share_memory, workers_of
from ..forward.base import Activations, Array, Model, Weights
from ..forward.encoder import Embedder, Encoder
from ..gguf.importance import Importance
from ..gguf.source import ModelSource, unchanged
from ..models import load_embedder as load_family_embedder
from ..models import load_encoder as load_family_encoder
from ..models import load_model as load_family_model
from ..progress import Progress
from ..quantizing.rounding import NearestRoundings, Roundings
from ..quantizing.slabs import Slab, slabs_of
from ..recipes import Assignment, Recipe
from ..recipes.overrides import Overrides
from ..recipes.planning import MissingImportance, plan
from ..sources.checking import architecture, shapes_of
from ..types import QuantType
from .named import NamedMatrices, with_scale

__all__ = [
    "NONE_MADE",
    "Made",
    "MemoryWeights",
    "TypedMatrix",
    "load_embedder",
    "load_encoder",
    "load_model",
    "load_weights",
    "planned_types",
    "quantized_weights",
    "stage_of",
    "types_of",
]

F32 = NDArray[np.float32]
Made = Mapping[str, Carried[NDArray[np.uint8]]]
NONE_MADE: Made = MappingProxyType({})


@dataclass(frozen=True)
class TypedMatrix:
    """A weight matrix in GGUF bytes; see `forward.base.Matrix`.

    Attributes:
        data: uint8 [n_rows, row_bytes].
        type: the type of the rows.
        n_cols: weights per row.
        precision: the precision of activations in the product.
        scale: f32 [n_rows], a factor of each row; None: no scaling.
    """

    data: NDArray[np.uint8]
    type: QuantType
    n_cols: int
    precision: Precision = Precision.F32
    scale: F32 | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_cols)."""
        return len(self.data), self.n_cols

    def apply(self, x: F32 | Activations) -> F32:
        """x [n, n_cols] times the transpose of the matrix: [n, n_rows]."""
        packing, backend = packing_for(self.type, self.precision), active_backend()

        def packed(x: F32) -> Packed:
            x = np.ascontiguousarray(x, np.float32)
            return pack_activations(x, packing, backend)

        shared = Activations.of(x)
        y = np.empty((len(shared.values), len(self.data)), np.float32)
        made = shared.made((packing, backend.index), packed)
        matmul(made, self.data, self.type, y)
        if self.scale is not None:
            y *= self.scale
        return y

    def part(self, start: int, stop: int) -> TypedMatrix:
        """Rows start..stop-1 as a matrix, without a copy."""
        scale = None if self.scale is None else self.scale[start:stop]
        return replace(self, data=self.data[start:stop], scale=scale)

    def chosen(self, index: NDArray[np.integer[Any]]) -> TypedMatrix:
        """The rows at `index` as a matrix."""
        scale = None if self.scale is None else self.scale[index]
        return replace(self, data=self.data[index], scale=scale)

    def rows(self, index: NDArray[np.integer[Any]]) -> F32:
        """The rows at `index`, dequantized: f32 [len(index), n_cols]."""
        rows = self._unpacked(self.data[index])
        return rows if self.scale is None else rows * self.scale[index, None]

    def numbers(self) -> F32:
        """All weights of a small tensor: f32 [n]."""
        return self.rows(np.arange(len(self.data))).reshape(-1)

    def scaled(self, scale: F32) -> TypedMatrix:
        """The matrix with a factor of each row: f32 [n_rows]."""
        return replace(self, scale=scale)

    def _unpacked(self, rows: NDArray[np.uint8]) -> F32:
        if self.type is QuantType.F32:
            return rows.view(np.float32)
        if self.type is QuantType.I32:
            return rows.view(np.int32).astype(np.float32)
        return dequantize_rows(rows, self.type, self.n_cols)


@dataclass(frozen=True)
class MemoryWeights(NamedMatrices[TypedMatrix]):
    """The tensors of a model in the host's memory; see `forward.base.Weights`."""

    def placed(self, values: Array) -> Array:
        """The same array."""
        return values


def planned_types(
    source: ModelSource,
    recipe: Recipe,
    importance: Importance | None = None,
    overrides: Overrides | None = None,
    *,
    allow_requantize: bool = False,
) -> dict[str, Assignment]:
    """The type of each tensor under a recipe.

    With an importance matrix, tensors that it lacks get a type that needs none.

    Raises:
        UnsupportedTypeError: the recipe requires importance and there is none at all,
            or the weights are already quantized, unless that is allowed.
        OptionError: the overrides do not match the model.
    """
    return plan(
        source,
        recipe,
        importance,
        overrides=overrides,
        allow_requantize=allow_requantize,
        missing_importance=(
            MissingImportance.FALLBACK if importance else MissingImportance.REFUSE
        ),
    )


def load_weights(
    source: ModelSource,
    recipe: Recipe | None = None,
    *,
    overrides: Overrides | None = None,
    importance: Importance | None = None,
    roundings: Roundings | None = None,
    made: Made = NONE_MADE,
    allow_requantize: bool = False,
    precision: Precision = Precision.F32,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
) -> MemoryWeights:
    """Load the weights of `source`, quantized in memory if there is a recipe.

    Args:
        source: a GGUF file or a checkpoint.
        recipe: the recipe; None: keep the types.
        overrides: changes to the recipe.
        importance: importance of each column, by tensor name.
        roundings: how to round; None: to the nearest, with the importance.
        made: by name, the bytes of tensors that were rounded before.
        allow_requantize: accept weights that are already quantized.
        precision: see `TypedMatrix`.
        threads: slabs quantized at a time; the bytes do not depend on it.
        progress: called with the number of weights quantized so far.

    Raises:
        FormatError: a file of the source changed.
        QuantkitError: as for `planned_types`.
    """
    return quantized_weights(
        source,
        types_of(
            *(source, recipe, importance, overrides), allow_requantize=allow_requantize
        ),
        roundings or NearestRoundings(importance or {}),
        threads,
        progress,
        made=made,
        precision=precision,
        stage=stage_of(recipe),
    )


def types_of(
    source: ModelSource,
    recipe: Recipe | None,
    importance: Importance | None = None,
    overrides: Overrides | None = None,
    *,
    allow_requantize: bool = False,
) -> dict[str, QuantType]:
    """The type of each tensor under a recipe, or its own; see `planned_types`."""
    if recipe is None:
        return {name: tensor.type for name, tensor in source.tensors.items()}
    types = planned_types(
        *(source, recipe, importance, overrides), allow_requantize=allow_requantize
    )
    return {name: each.type for name, each in types.items()}


def stage_of(recipe: Recipe | None) -> str:
    """What loading a model does, as progress says it."""
    return f"{recipe.name}: quantize" if recipe else "load"


def quantized_weights(
    source: ModelSource,
    types: Mapping[str, QuantType],
    roundings: Roundings,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
    *,
    made: Made = NONE_MADE,
    precision: Precision = Precision.F32,
    stage: str = "quantize",
) -> MemoryWeights:
    """Tensors of `source` in these types.

    Args:
        source: the model.
        types: the type of each tensor to load, by name.
        roundings: how to round those that change their type.
        threads, progress, made, precision: as for `load_weights`.
        stage: what is being done.

    Raises:
        FormatError: a file of the source changed.
    """
    tensors: dict[str, TypedMatrix] = {}
    slabs: list[Slab] = []
    for name, type in types.items():
        tensor = source.tensors[name]
        if type is tensor.type:
            data = tensor.read(0, tensor.n_rows)
        elif name in made:
            data = made[name].value
        else:
            data = np.empty((tensor.n_rows, type.row_bytes(tensor.n_cols)), np.uint8)
            slabs += slabs_of(tensor, type, roundings.of(tensor))
        tensors[name] = TypedMatrix(data, type, tensor.n_cols, precision)
    done, total = 0, sum(slab.n_weights for slab in slabs)
    with unchanged(source):
        for slab in _converted(slabs, tensors, workers_of(threads)):
            done += slab.n_weights
            if progress is not None:
                progress(stage, done, total)
    read = tensors.__getitem__
    return MemoryWeights({name: with_scale(name, tensors, read) for name in tensors})


@dataclass(frozen=True, eq=False)
class _Place:
    """A slab, and where its rows go."""

    slab: Slab
    rows: NDArray[np.uint8]

    def fill(self) -> None:
        self.rows[...] = self.slab.convert()


def _converted(
    slabs: Sequence[Slab], tensors: Mapping[str, TypedMatrix], workers: Workers
) -> Iterator[Slab]:
    """Put the rows of slabs where they belong; gives each slab that is done."""

    def rows_of(slab: Slab) -> NDArray[np.uint8]:
        return tensors[slab.tensor.name].data[slab.start : slab.stop]

    if share_memory(workers):  # threads put them there, or this one would hold them up
        places = (_Place(slab, rows_of(slab)) for slab in slabs)
        for place, _ in workers.in_order(_Place.fill, places):
            yield place.slab
    else:
        for slab, rows in workers.in_order(Slab.convert, slabs):
            rows_of(slab)[...] = rows
            yield slab


def load_model(source: ModelSource, weights: Weights) -> Model:
    """Build the model from a source's metadata and its weights.

    Raises:
        FormatError: the metadata lacks the architecture or another key; a tensor is
            missing, has another shape, or is not read by the architecture.
        UnsupportedModelError: quantkit cannot run this model.
    """
    keep_freed_memory()
    arch = architecture(source.metadata)
    return load_family_model(source.metadata, arch, weights, shapes_of(source))


def load_encoder(source: ModelSource, weights: Weights) -> Encoder:
    """Build an encoder from a source's metadata and its weights; errors as above."""
    arch = architecture(source.metadata)
    return load_family_encoder(source.metadata, arch, weights, shapes_of(source))


def load_embedder(source: ModelSource, weights: Weights) -> Embedder:
    """Build what makes embeddings, an encoder or a decoder; errors as above.

    Raises:
        UnsupportedModelError: the metadata does not say how.
    """
    arch = architecture(source.metadata)
    return load_family_embedder(source.metadata, arch, weights, shapes_of(source))
