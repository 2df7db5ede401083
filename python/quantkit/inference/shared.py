"""A model that pieces of work share, and how another process loads the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar
from uuid import uuid4

from .._native import Precision, active_backend
from ..errors import BackendError
from ..execution.opened import Opener, Shared, opened
from ..execution.workers import Workers
from ..forward.base import Model, Weights
from ..gguf.importance import Importance
from ..gguf.source import ModelSource, opener_of
from ..progress import Progress
from ..recipes import Recipe
from ..recipes.overrides import Overrides
from .weights import load_model, load_weights

__all__ = ["ModelOpener", "model_opener", "share_model"]


@dataclass(frozen=True)
class ModelOpener:
    """Loads a model in another process, as `share_model` loaded it.

    Attributes:
        source: opens the files.
        recipe, overrides, importance, precision: as of `load_weights`.
        backend: what the model runs on; figures of another one would differ.
        number: what an opener and its copies have in common.
    """

    kept: ClassVar[int] = 2

    source: Opener[ModelSource] = field(compare=False)
    recipe: Recipe | None = field(compare=False)
    overrides: Overrides | None = field(compare=False)
    importance: Importance | None = field(compare=False)
    precision: Precision = field(compare=False)
    backend: str = field(compare=False)
    number: str = field(default_factory=lambda: uuid4().hex)

    def open(self) -> Model:
        """The model.

        Raises:
            QuantkitError: as `load`.
        """
        return load_model(*self.load())

    def load(self) -> tuple[ModelSource, Weights]:
        """The source and the weights that are made from it.

        Raises:
            BackendError: this process runs another backend.
            QuantkitError: the files changed.
        """
        here = active_backend().name
        if here != self.backend:
            raise BackendError(
                f"this process would run {here}, and the work began on {self.backend}; "
                f"set QUANTKIT_BACKEND={self.backend} where it is usable"
            )
        source = opened(self.source)
        weights = load_weights(
            source,
            self.recipe,
            overrides=self.overrides,
            importance=self.importance,
            precision=self.precision,
        )
        return source, weights


def share_model(
    source: ModelSource,
    recipe: Recipe | None = None,
    *,
    overrides: Overrides | None = None,
    importance: Importance | None = None,
    precision: Precision = Precision.F32,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
) -> Shared[Model]:
    """A model to run here and in other processes; arguments as of `load_weights`."""
    weights = load_weights(
        source,
        recipe,
        overrides=overrides,
        importance=importance,
        precision=precision,
        threads=threads,
        progress=progress,
    )
    how = recipe, overrides, importance, precision
    return Shared(model_opener(source, *how), load_model(source, weights))


def model_opener(
    source: ModelSource,
    recipe: Recipe | None = None,
    overrides: Overrides | None = None,
    importance: Importance | None = None,
    precision: Precision = Precision.F32,
) -> ModelOpener | None:
    """How another process loads a model; None: it cannot open the source."""
    opener = opener_of(source)
    if opener is None:
        return None
    how = recipe, overrides, importance, precision
    return ModelOpener(opener, *how, active_backend().name)
