"""A model that work items share, and an opener for other processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import uuid4

from .._native import Precision, active_backend
from ..errors import BackendError
from ..execution.on_devices import SharedByDevices
from ..execution.opened import Opener, Shared, opened
from ..execution.workers import Workers, share_memory, workers_of
from ..forward.base import Model, Weights
from ..gguf.importance import Importance
from ..gguf.source import ModelSource, opener_of
from ..progress import Progress
from ..quantizing.rounding import Roundings
from ..recipes import Recipe
from ..recipes.overrides import Overrides
from ..sources.checking import check_source
from .computing import EXACT, Computing
from .device_loading import DeviceWeights, load_on_devices
from .weights import NONE_MADE, Made, load_model, load_weights

__all__ = ["ModelOpener", "model_opener", "on_devices", "share_model"]

T = TypeVar("T")


@dataclass(frozen=True)
class ModelOpener:
    """Loads a model in another process in the same way as `share_model`.

    Attributes:
        source: opens the model's files.
        recipe, overrides, importance, precision, allow_requantize, roundings, made: as
            in `load_weights`.
        ops: the variant of the forward pass, such as "avx512_vnni"; another one would
            give other results.
        number: identifies an opener and its copies.
        kept: the number of models that a process keeps.
    """

    source: Opener[ModelSource] = field(compare=False)
    recipe: Recipe | None = field(compare=False)
    overrides: Overrides | None = field(compare=False)
    importance: Importance | None = field(compare=False)
    precision: Precision = field(compare=False)
    allow_requantize: bool = field(compare=False)
    ops: str | None = field(compare=False)
    roundings: Roundings | None = field(default=None, compare=False)
    made: Made = field(default_factory=dict, compare=False)
    number: str = field(default_factory=lambda: uuid4().hex)
    kept: int = field(default=2, compare=False)

    def open(self) -> Model:
        """Load the model.

        Raises:
            QuantkitError: as for `load`.
        """
        return load_model(*self.load())

    def load(self) -> tuple[ModelSource, Weights]:
        """Load the source and its weights.

        Raises:
            BackendError: this process runs another forward pass.
            QuantkitError: the files have changed.
        """
        here = active_backend().ops
        if here != self.ops:
            raise BackendError(
                f"this process runs the forward pass {here}, but the work started with "
                f"{self.ops}; use machines with the same instruction set, or force a "
                "backend that all have (QUANTKIT_BACKEND)"
            )
        source = opened(self.source)
        weights = load_weights(
            source,
            self.recipe,
            overrides=self.overrides,
            importance=self.importance,
            roundings=self.roundings,
            made=self.made,
            allow_requantize=self.allow_requantize,
            precision=self.precision,
        )
        return source, weights


def share_model(
    source: ModelSource,
    recipe: Recipe | None = None,
    *,
    overrides: Overrides | None = None,
    importance: Importance | None = None,
    roundings: Roundings | None = None,
    made: Made | None = None,
    allow_requantize: bool = False,
    computing: Computing = EXACT,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
    kept: int = 2,
    resident: bool | None = None,
) -> Shared[Model]:
    """Load a model to run in this and other processes; see `load_weights`.

    With `roundings` but without `made`, or on devices, other processes cannot load it.
    Another process keeps `kept` models open.  If `threads` are in other processes, this
    one loads it only when its value is used.  `resident` is as for `load_on_devices`.
    """
    check_source(source)
    if computing.cards:
        weights_there = load_on_devices(
            *(source, recipe, computing),
            overrides=overrides,
            importance=importance,
            roundings=roundings,
            allow_requantize=allow_requantize,
            threads=threads,
            progress=progress,
            resident=resident,
        )
        return on_devices(weights_there, lambda own: load_model(source, own))
    opener = None
    if roundings is None or made is not None:
        opener = model_opener(
            *(source, recipe, overrides, importance, computing.precision),
            roundings=roundings,
            made=made or {},
            allow_requantize=allow_requantize,
            kept=kept,
        )
        if opener is not None and not share_memory(workers_of(threads)):
            return Shared(opener)
    weights = load_weights(
        source,
        recipe,
        overrides=overrides,
        importance=importance,
        roundings=roundings,
        made=made or {},
        allow_requantize=allow_requantize,
        precision=computing.precision,
        threads=threads,
        progress=progress,
    )
    return Shared(opener, load_model(source, weights))


def on_devices(
    weights: Sequence[DeviceWeights], load: Callable[[DeviceWeights], T]
) -> SharedByDevices[T]:
    """What is loaded with the weights of each device."""
    made = []
    for own in weights:
        with own.card.current():
            made.append(load(own))
    return SharedByDevices(made)


def model_opener(
    source: ModelSource,
    recipe: Recipe | None = None,
    overrides: Overrides | None = None,
    importance: Importance | None = None,
    precision: Precision = Precision.F32,
    *,
    roundings: Roundings | None = None,
    made: Made = NONE_MADE,
    allow_requantize: bool = False,
    kept: int = 2,
) -> ModelOpener | None:
    """The opener of a model, or None if other processes cannot open the source."""
    opener = opener_of(source)
    if opener is None:
        return None
    how = recipe, overrides, importance, precision, allow_requantize
    made_before = roundings, dict(made)
    return ModelOpener(opener, *how, active_backend().ops, *made_before, kept=kept)
