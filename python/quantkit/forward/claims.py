"""What a loader takes of a model's tensors, and what it expects of them.

A loader states the shape of every tensor that it takes.  Shapes follow from the
metadata, so a file whose metadata and tensors belong to different models is refused
before anything is computed.  After loading, no tensor may be left over: readers would
ignore it, and give the numbers of another model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..errors import FormatError
from .base import F32, Array, Matrix, Weights
from .sizes import Size

__all__ = ["Claims", "Presence"]

Presence = Literal["required", "optional", "none"]
"""Whether a family's models have a tensor: all, some, or none of them."""

Shape = tuple[int, ...]

BESIDE = (".scale", ".input_scale")
"""Ends of the names of scales beside a matrix.

`MemoryWeights` multiplies by the first.  The second is for hardware that computes with
4-bit activations; llama.cpp loads it and does not use it on other hardware.
"""
OTHER_MODELS = ("v.", "a.", "mm.", "resampler.")
"""Starts of the names of vision and audio tensors, which text models do not read."""
MAX_NAMED = 3
LAYER = re.compile(r"blk\.(?P<number>\d{1,9})\.(?P<part>.+)")


@dataclass(frozen=True)
class Claims:
    """The tensors of a model, as its loader takes them.

    Attributes:
        weights: the tensors.
        shapes: their shapes by name, outermost axis first.
        taken: the names of the tensors that were taken so far.
        optional: which layers have an optional tensor, by its name inside a layer.
    """

    weights: Weights
    shapes: Mapping[str, Shape]
    taken: set[str] = field(default_factory=set)
    optional: dict[str, dict[str, bool]] = field(default_factory=dict)

    def __contains__(self, name: object) -> bool:
        """Whether there is a tensor called `name`."""
        return name in self.shapes

    def refuse_larger(self, size: Size) -> None:
        """Refuse a size that no tensor has, before memory is allocated for it.

        Raises:
            FormatError: it is larger than every axis of every tensor.
        """
        most = max((max(shape, default=1) for shape in self.shapes.values()), default=0)
        if size > most:
            raise FormatError(
                f"{' or '.join(size.follows)} is {int(size)}, but no tensor has "
                f"more than {most} rows or columns; the metadata is damaged"
            )

    def matrix(self, name: str, *shape: int) -> Matrix:
        """The matrix `name`, with the scale that may stand beside it.

        Args:
            name: GGUF name.
            shape: [rows, columns], or [matrices, rows, columns] if several are stacked.

        Raises:
            FormatError: it is missing, or has another shape.
        """
        matrix = self.table(name, *shape)
        for tail in BESIDE:
            scale = f"{name.removesuffix('.weight')}{tail}"
            if name.endswith(".weight") and scale in self:
                is_stacked = len(shape) > 2 and self._n_weights(scale) != 1
                self._take(scale, (shape[0] if is_stacked else 1,))
        return matrix

    def table(self, name: str, *shape: int) -> Matrix:
        """The matrix `name` [rows, columns], which can have no scale beside it.

        Raises:
            FormatError: it is missing, or has another shape.
        """
        self._take(name, shape)
        return self.weights.matrix(name)

    def vector(self, name: str, *shape: int) -> F32:
        """All weights of the small tensor `name`, as one axis.

        Raises:
            FormatError: it is missing, or has another shape.
        """
        self._take(name, shape)
        return self.weights.vector(name)

    def placed(self, values: Array) -> Array:
        """Numbers that the loader made, where the tensors are."""
        return self.weights.placed(values)

    def maybe(self, presence: Presence, name: str, *shape: int) -> F32 | None:
        """All weights of the small tensor `name`, if models have it; see `vector`.

        Layers are alike: all have an optional tensor, or none.
        """
        if presence == "none":
            return None
        if presence == "optional" and not self.has(name):
            return None
        return self.vector(name, *shape)

    def has(self, name: str) -> bool:
        """Whether there is an optional tensor; the layers asked about are alike."""
        if match := LAYER.fullmatch(name):
            self.optional.setdefault(match["part"], {})[name] = name in self
        return name in self

    def refuse_unlike_layers(self) -> None:
        """Refuse a model whose layers do not all have the same optional tensors.

        Raises:
            FormatError: a tensor is missing in some layers.
        """
        for names in self.optional.values():
            missing = [name for name, is_there in names.items() if not is_there]
            if 0 < len(missing) < len(names):
                other = next(name for name, is_there in names.items() if is_there)
                raise FormatError(
                    f"the model lacks the tensor {missing[0]!r}, but has {other!r}; "
                    "all layers have such a tensor or none: the file is incomplete"
                )

    def refuse_left_over(
        self, arch: str, ignored: Iterable[str] = (), layers: Container[int] = ()
    ) -> None:
        """Refuse a model that has tensors which its loader did not take.

        Args:
            arch: the architecture.
            ignored: starts of the names of further tensors that may be left over.
            layers: the numbers of layers that may be left over.

        Raises:
            FormatError: it has such tensors.
        """
        fine = (*OTHER_MODELS, *ignored)
        left = [
            name
            for name in self.shapes
            if name not in self.taken
            and not name.startswith(fine)
            and not _is_of_layer(name, layers)
        ]
        if left:
            named = ", ".join(map(repr, left[:MAX_NAMED]))
            more = len(left) - MAX_NAMED
            raise FormatError(
                f"the model has {named}{f' and {more} more tensors' * (more > 0)}, "
                f"which a {arch!r} model with this metadata does not read, so its "
                "results would be those of another model; the architecture or "
                f"{arch}.block_count is wrong, or the tensors belong to another model"
            )

    def _n_weights(self, name: str) -> int:
        return math.prod(self.shapes[name])

    def _take(self, name: str, expected: Shape) -> None:
        """Check that `name` is there and has the expected shape, and note it as taken.

        Axes of size 1 in front do not count: GGUF stores them or not.
        """
        keys = _keys(expected)
        if name not in self:
            raise FormatError(
                f"the model lacks the tensor {name!r} (shape "
                f"{list(map(int, expected))}{keys}); the file is incomplete, or its "
                "metadata belongs to another model"
            )
        found = self.shapes[name]
        if _without_ones(found) != _without_ones(expected):
            raise FormatError(
                f"tensor {name!r} has the shape {list(found)}; expected "
                f"{list(map(int, expected))}{keys}"
            )
        self.taken.add(name)


def _is_of_layer(name: str, layers: Container[int]) -> bool:
    """Whether a tensor is of one of these layers, or only predicts further tokens."""
    match = LAYER.fullmatch(name)
    return match is not None and (
        match["part"].startswith("nextn.") or int(match["number"]) in layers
    )


def _keys(shape: Shape) -> str:
    """The metadata keys that a shape follows from, for messages."""
    keys = [key for size in shape if isinstance(size, Size) for key in size.follows]
    return f" from {', '.join(dict.fromkeys(keys))}" if keys else ""


def _without_ones(shape: Shape) -> Shape:
    """The shape without axes of size 1 in front."""
    start = next((i for i, size in enumerate(shape) if size != 1), len(shape))
    return tuple(map(int, shape[start:]))
