"""A model to run from Python: tokens in, logits out."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays.given import as_array
from ..errors import ShapeError
from ..execution.workers import Workers
from ..forward.base import Model as LoadedModel
from ..importance.given import ImportanceLike, importance_of, refuse_idle
from ..recipes import Recipe
from ..sources.opening import ModelLike, open_source
from ..tokens.tokenizer import Tokenizer
from .weights import load_model, load_weights, precision_named

__all__ = ["Model"]


class Model:
    """A model in memory, as it is or quantized; safe to use from many threads.

    Attributes:
        tokenizer: turns text into its token ids.
        activations: how exactly products with quantized weights hold activations.

    Example:
        >>> model = Model.open("model.gguf", recipe="Q4_K_M")  # doctest: +SKIP
        >>> ids = model.tokenizer.encode("No one would have")  # doctest: +SKIP
        >>> model.logits(ids)[-1].argmax()  # doctest: +SKIP
        7027
    """

    def __init__(
        self, loaded: LoadedModel, tokenizer: Tokenizer, activations: str, name: str
    ) -> None:
        self._loaded, self._name = loaded, name
        self.tokenizer = tokenizer
        self.activations = activations

    def __repr__(self) -> str:
        return f"<Model {self._name}, activations={self.activations!r}>"

    @classmethod
    def open(
        cls,
        model: ModelLike,
        *,
        recipe: str | Recipe | None = None,
        importance: ImportanceLike | None = None,
        activations: str = "f32",
        threads: int | Workers | None = None,
    ) -> Model:
        """The model at a path.

        Args:
            model: a GGUF file, a checkpoint folder, or an open source.
            recipe: quantize in memory first, such as "Q4_K_M"; None: as the model is.
            importance: importance of each column for `recipe`: the path of an imatrix
                file, an `ImportanceMatrix`, or numbers by tensor name.
            activations: how exactly they are held in products with quantized weights:
                "f32", as they are; "i16" and "q8" are faster, see `compare`, whose
                default is "i16".
            threads: threads that quantize.

        Raises:
            OptionError: a parameter is not what it must be, or `importance` has no
                recipe.
            QuantkitError: it is none, quantkit cannot run it, or it cannot have the
                recipe.
        """
        wanted = None if recipe is None else Recipe.parse(recipe)
        precision = precision_named(activations)
        refuse_idle(importance, recipe=recipe)
        source = open_source(model)
        weights = load_weights(
            source,
            wanted,
            importance=importance_of(importance),
            precision=precision,
            threads=threads,
        )
        path = os.fspath(model) if isinstance(model, str | os.PathLike) else "in memory"
        name = path if wanted is None else f"{path} as {wanted.name}"
        tokenizer = Tokenizer.from_metadata(source.metadata)
        return cls(load_model(source, weights), tokenizer, activations, name)

    def hidden(self, ids: ArrayLike) -> NDArray[np.float32]:
        """Final hidden states, after the last norm, of one sequence: f32 [n, width].

        Raises:
            ShapeError: `ids` is not a row of token ids of this model.
        """
        return self._loaded.hidden(self._checked(ids))

    def logits(self, ids: ArrayLike) -> NDArray[np.float32]:
        """The logits of what follows each token of a sequence: f32 [n, vocabulary].

        Raises:
            ShapeError: `ids` is not a row of token ids of this model.
        """
        return self._loaded.head.apply(self.hidden(ids))

    def _checked(self, ids: ArrayLike) -> NDArray[np.integer]:
        tokens, n_tokens = as_array(ids, "`ids`"), self._loaded.head.shape[0]
        is_row = tokens.ndim == 1 and len(tokens) and tokens.dtype.kind in "iu"
        if not is_row or tokens.min() < 0 or tokens.max() >= n_tokens:
            raise ShapeError(
                f"expected a row of token ids from 0 to {n_tokens - 1}, not an array "
                f"of {tokens.dtype} with shape {list(tokens.shape)}"
            )
        return tokens
