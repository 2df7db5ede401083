"""The weights of a model on devices, quantized there if their types change.

Weights go there slab by slab.  A model that is larger than the memory of a device stays
in the host's memory, and its matrices are moved when they are multiplied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._device import Card, Products
from ..arrays.finite import may_overflow
from ..errors import NonFiniteError, UnsupportedTypeError
from ..execution.workers import Workers, workers_of
from ..forward.base import Array
from ..gguf.importance import Importance
from ..gguf.source import ModelSource, unchanged
from ..progress import Progress
from ..quantizing.rounding import NEAREST, Nearest, NearestRoundings, Roundings
from ..quantizing.slabs import Slab, slabs_of
from ..recipes import Recipe
from ..recipes.overrides import Overrides
from ..types import QuantType
from .computing import Computing
from .device_matrix import DeviceMatrix, unpacked
from .moving import Mover
from .named import NamedMatrices, with_scale
from .stored import Moved, Resident
from .weights import TypedMatrix, quantized_weights, stage_of, types_of

__all__ = [
    "DeviceWeights",
    "load_on_devices",
    "memory_for_models",
    "moved_weights",
    "resident_weights",
]

MEMORY_SHARE = 0.8
"""The share of a device's free memory that models may take together."""

SLAB_WEIGHTS = 1 << 24
"""Weights that are moved or quantized at a time."""


@dataclass(frozen=True)
class DeviceWeights(NamedMatrices[DeviceMatrix]):
    """The tensors of a model on a device; see `forward.base.Weights`.

    Attributes:
        card: the device.
    """

    card: Card

    @classmethod
    def of(cls, tensors: Mapping[str, DeviceMatrix], card: Card) -> DeviceWeights:
        """Tensors, with the scales that stand beside them."""
        read = tensors.__getitem__
        return cls({name: with_scale(name, tensors, read) for name in tensors}, card)

    def placed(self, values: Array) -> Array:
        """An array of the host, on the device."""
        there: Array = self.card.to_device(values)
        return there


def load_on_devices(
    source: ModelSource,
    recipe: Recipe | None,
    computing: Computing,
    *,
    overrides: Overrides | None = None,
    importance: Importance | None = None,
    roundings: Roundings | None = None,
    allow_requantize: bool = False,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
    resident: bool | None = None,
) -> list[DeviceWeights]:
    """Load the weights of `source` for each device; see `load_weights`.

    Args:
        resident: whether they are in the devices' memory; None: if they fit.

    Raises:
        DeviceMemoryError: a device has not enough memory.
        QuantkitError: as for `load_weights`.
    """
    cards, products = computing.cards, computing.products
    how = source, recipe, importance, overrides
    types = types_of(*how, allow_requantize=allow_requantize)
    rounding = roundings or NearestRoundings(importance or {})
    told = progress, stage_of(recipe)
    if resident is None:
        resident = _size(source, types) <= memory_for_models(computing)
    if resident:
        own = cards, products, workers_of(threads)
        return resident_weights(source, types, rounding, *own, *told)
    host = quantized_weights(
        source, types, rounding, threads, progress, stage=stage_of(recipe)
    )
    return [moved_weights(host.tensors, card, products) for card in cards]


def memory_for_models(computing: Computing) -> int:
    """Bytes of models that each of the devices has room for, with room to compute."""
    return int(min(card.free_bytes() for card in computing.cards) * MEMORY_SHARE)


def _size(source: ModelSource, types: Mapping[str, QuantType]) -> int:
    tensors = ((source.tensors[name], type) for name, type in types.items())
    return sum(t.n_rows * type.row_bytes(t.n_cols) for t, type in tensors)


def moved_weights(
    host: Mapping[str, TypedMatrix], card: Card, products: Products
) -> DeviceWeights:
    """Weights that stay in the host's memory, and are moved to be multiplied."""
    mover = Mover(card)

    def matrix(number: int, own: TypedMatrix) -> DeviceMatrix:
        stored = Moved(mover, own.data, number)
        made = DeviceMatrix(card, stored, own.type, own.n_cols, products)
        return made if own.scale is None else made.scaled(own.scale)

    with card.current():
        return DeviceWeights(
            {name: matrix(i, own) for i, (name, own) in enumerate(host.items())}, card
        )


def resident_weights(
    source: ModelSource,
    types: Mapping[str, QuantType],
    roundings: Roundings,
    cards: Sequence[Card],
    products: Products,
    workers: Workers,
    progress: Progress | None = None,
    stage: str = "load",
) -> list[DeviceWeights]:
    """Tensors of `source` in these types, in the memory of each device.

    Args:
        source: the model.
        types: the type of each tensor, by name.
        roundings: how to round those that change their type.
        cards: the devices; the first one quantizes.
        products: how products are computed.
        workers: they quantize what a device cannot.
        progress: called with the number of weights loaded so far.
        stage: what is being done.

    Raises:
        DeviceMemoryError: a device has not enough memory.
        FormatError: a file of the source changed.
        NonFiniteError: weights that change their type are not finite.
    """
    data = [_room_for(source, types, card) for card in cards]
    done, total = 0, sum(source.tensors[name].n_weights for name in types)
    with unchanged(source):
        for slab, rows in _converted(source, types, roundings, cards[0], workers):
            if len(cards) > 1 and not isinstance(rows, np.ndarray):
                with cards[0].current():
                    rows = cards[0].to_host(rows)
            for card, own in zip(cards, data, strict=True):
                with card.current():
                    _put(card, own[slab.tensor.name][slab.start : slab.stop], rows)
            done += slab.n_weights
            if progress is not None:
                progress(stage, done, total)
    return [
        _weights(source, types, own, card, products)
        for card, own in zip(cards, data, strict=True)
    ]


def _room_for(
    source: ModelSource, types: Mapping[str, QuantType], card: Card
) -> dict[str, Array]:
    """Memory on a device for each tensor: uint8 [n_rows, row bytes]."""
    tensors = {name: source.tensors[name] for name in types}
    with card.current():
        return {
            name: card.empty((t.n_rows, types[name].row_bytes(t.n_cols)), np.uint8)
            for name, t in tensors.items()
        }


def _put(card: Card, into: Array, rows: Array) -> None:
    into[...] = card.to_device(rows) if isinstance(rows, np.ndarray) else rows


def _converted(
    source: ModelSource,
    types: Mapping[str, QuantType],
    roundings: Roundings,
    card: Card,
    workers: Workers,
) -> Iterator[tuple[Slab, Array]]:
    """All rows in their types, some at a time, on the device or on the host."""
    left: list[Slab] = []
    for name, type in types.items():
        tensor = source.tensors[name]
        how = [NEAREST] if type is tensor.type else roundings.of(tensor)
        for slab in slabs_of(tensor, type, how, weights=SLAB_WEIGHTS):
            rows = _converted_there(slab, card)
            if rows is None:
                left += slab.pieces()
            else:
                yield slab, rows
    yield from workers.in_order(Slab.convert, left)


def _converted_there(slab: Slab, card: Card) -> Array | None:
    """A slab's rows in its type; None: only the host can give them, or say why not."""
    tensor = slab.tensor
    if slab.type is tensor.type:
        return slab.stored()
    rounding = slab.rounding
    if not isinstance(rounding, Nearest):
        return None
    with card.current():
        data = card.to_device(slab.stored())
        rows = unpacked(card, data, tensor.type, tensor.n_cols, np.dtype(np.float32))
        largest = float(np.maximum(rows.max(), -rows.min()))
        if may_overflow(largest, slab.type, rounding.importance):
            return None
        try:
            made: Array = card.quantize(rows, slab.type, rounding.importance)
        except (NonFiniteError, UnsupportedTypeError):
            return None
        return made


def _weights(
    source: ModelSource,
    types: Mapping[str, QuantType],
    data: Mapping[str, Array],
    card: Card,
    products: Products,
) -> DeviceWeights:
    with card.current():
        made = {
            name: DeviceMatrix(
                *(card, Resident(card, data[name]), type),
                *(source.tensors[name].n_cols, products),
            )
            for name, type in types.items()
        }
        if products is Products.F16:
            made = _with_plain(made, source)
        return DeviceWeights.of(made, card)


def _with_plain(
    tensors: Mapping[str, DeviceMatrix], source: ModelSource
) -> dict[str, DeviceMatrix]:
    """Tensors that know whether f16 holds their weights."""
    asked = [
        name
        for name, matrix in tensors.items()
        if len(source.tensors[name].shape) > 1 and matrix.shape[0]
    ]
    if not asked:
        return dict(tensors)
    found = np.concatenate([tensors[name].found_plain() for name in asked])
    answers: NDArray[Any] = tensors[asked[0]].card.to_host(found)
    plain = dict(zip(asked, answers.tolist(), strict=True))
    return {n: replace(m, is_plain=plain.get(n, False)) for n, m in tensors.items()}
