"""Run a model from Python: token ids to logits."""

from __future__ import annotations

import os
from contextlib import nullcontext

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..execution.workers import Workers
from ..forward.base import Model as LoadedModel
from ..forward.engines import on_host
from ..gguf.source import ModelSource, refuse_changed
from ..importance.given import ImportanceLike, importance_of, refuse_idle
from ..recipes import Recipe
from ..recipes.importance_fit import say_fit
from ..recipes.mixes import RecipeLike
from ..sources.checking import check_source
from ..sources.opening import ModelLike, open_runnable
from ..tokens.token_row import token_row
from ..tokens.tokenizer import Tokenizer
from .computing import Computing, computing_of, refuse_several
from .shared import share_model

__all__ = ["Model"]


class Model:
    """A model in memory, as it is or quantized; safe to use from several threads.

    On a device, threads take turns.

    Attributes:
        tokenizer: converts text to token ids.
        activations: precision of activations in products.
        device: "cpu", or the name of the device that it runs on.

    Example:
        >>> model = Model.open("model.gguf", recipe="Q4_K_M")  # doctest: +SKIP
        >>> ids = model.tokenizer.encode("No one would have")  # doctest: +SKIP
        >>> model.logits(ids)[-1].argmax()  # doctest: +SKIP
        7027
    """

    def __init__(
        self,
        loaded: LoadedModel,
        source: ModelSource,
        tokenizer: Tokenizer,
        computing: Computing,
        name: str,
    ) -> None:
        self._loaded, self._source, self._name = loaded, source, name
        self._current = computing.cards[0].current if computing.cards else nullcontext
        self.tokenizer = tokenizer
        self.activations = computing.activations
        self.device = computing.device

    def __repr__(self) -> str:
        where = "" if self.device == "cpu" else f", device={self.device!r}"
        return f"<Model {self._name}, activations={self.activations!r}{where}>"

    @classmethod
    def open(
        cls,
        model: ModelLike,
        *,
        recipe: RecipeLike | None = None,
        importance: ImportanceLike | None = None,
        activations: str | None = None,
        device: str = "cpu",
        threads: int | Workers | None = None,
    ) -> Model:
        """Load a model.

        Args:
            model: a GGUF file, a checkpoint folder, or an open source.
            recipe: such as "Q4_K_M", to quantize in memory; None: the model as it is.
            importance: importance of each column for `recipe`: the path of an imatrix
                file, an `ImportanceMatrix`, or numbers by tensor name.
            activations: precision of activations in products with quantized weights:
                "f32", the default on the CPU, "i16" or "q8"; on a device also "f16",
                the default there, and "tf32".  See `compare`.
            device: where the model runs: "cpu", "cuda" or "cuda:1".
            threads: number of threads that quantize.

        Raises:
            BackendError: `device` cannot be used.
            DeviceMemoryError: its memory is too small.
            OptionError: a parameter is not valid, or `importance` is given without
                recipe.
            QuantkitError: the model cannot be read, run, or quantized by the recipe.
        """
        wanted = None if recipe is None else Recipe.parse(recipe)
        computing = computing_of(activations, device, default="f32")
        refuse_several(computing)
        refuse_idle(importance, recipe=recipe)
        source = open_runnable(model)
        check_source(source)
        weighting = importance_of(importance)
        say_fit(weighting, source)
        loaded = share_model(
            source,
            wanted,
            importance=weighting,
            computing=computing,
            threads=threads,
        )
        path = os.fspath(model) if isinstance(model, str | os.PathLike) else "in memory"
        name = path if wanted is None else f"{path} as {wanted.name}"
        tokenizer = Tokenizer.from_metadata(source.metadata)
        return cls(loaded.value, source, tokenizer, computing, name)

    def hidden(self, ids: ArrayLike) -> NDArray[np.float32]:
        """The final hidden states of a sequence, after the last norm: f32 [n, width].

        Raises:
            ShapeError: `ids` is not a row of token ids of this model.
            FormatError: the model's file has changed.
        """
        tokens = self._checked(ids)
        with self._current():
            hidden = on_host(self._loaded.hidden(tokens))
        refuse_changed(self._source)
        return hidden

    def logits(self, ids: ArrayLike) -> NDArray[np.float32]:
        """The next-token logits at each token of a sequence: f32 [n, vocabulary].

        Raises:
            ShapeError: `ids` is not a row of token ids of this model.
            FormatError: the model's file has changed.
        """
        tokens = self._checked(ids)
        with self._current():
            hidden = self._loaded.hidden(tokens)
            logits = on_host(self._loaded.head.apply(hidden))
        refuse_changed(self._source)
        return logits

    def _checked(self, ids: ArrayLike) -> NDArray[np.integer]:
        return token_row(ids, self._loaded.head.shape[0])
