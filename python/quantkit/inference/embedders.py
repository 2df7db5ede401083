"""A model that gives embeddings and that work items share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..execution.opened import Shared
from ..execution.workers import Workers
from ..forward.encoder import Embedder
from ..gguf.importance import Importance
from ..gguf.source import ModelSource
from ..progress import Progress
from ..recipes import Recipe
from ..recipes.overrides import Overrides
from ..sources.checking import check_source
from .computing import EXACT, Computing
from .device_loading import load_on_devices
from .shared import ModelOpener, model_opener, on_devices
from .weights import load_embedder, load_weights

__all__ = ["EmbedderOpener", "share_embedder"]


@dataclass(frozen=True)
class EmbedderOpener:
    """Loads the model in another process in the same way as `share_embedder`."""

    kept: ClassVar[int] = 1

    model: ModelOpener

    def open(self) -> Embedder:
        """Load the model.

        Raises:
            QuantkitError: as for `ModelOpener.load`.
        """
        return load_embedder(*self.model.load())


def share_embedder(
    source: ModelSource,
    recipe: Recipe | None = None,
    *,
    overrides: Overrides | None = None,
    importance: Importance | None = None,
    allow_requantize: bool = False,
    computing: Computing = EXACT,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
) -> Shared[Embedder]:
    """Load a model to run in this and other processes; see `load_weights`."""
    check_source(source)
    if computing.cards:
        weights_there = load_on_devices(
            *(source, recipe, computing),
            overrides=overrides,
            importance=importance,
            allow_requantize=allow_requantize,
            threads=threads,
            progress=progress,
        )
        return on_devices(weights_there, lambda own: load_embedder(source, own))
    weights = load_weights(
        source,
        recipe,
        overrides=overrides,
        importance=importance,
        allow_requantize=allow_requantize,
        precision=computing.precision,
        threads=threads,
        progress=progress,
    )
    opener = model_opener(
        *(source, recipe, overrides, importance, computing.precision),
        allow_requantize=allow_requantize,
    )
    there = None if opener is None else EmbedderOpener(opener)
    return Shared(there, load_embedder(source, weights))
