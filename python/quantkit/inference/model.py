"""A model to run from Python: tokens in, logits out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..forward.base import Model as LoadedModel
from ..gguf.importance import Importance
from ..gguf.source import ModelSource
from ..recipes import Recipe
from ..sources.opening import open_source
from ..tokens.tokenizer import Tokenizer
from .weights import load_model, load_weights

__all__ = ["Model"]


class Model:
    """A model in memory, as it is or quantized; safe to use from many threads.

    Attributes:
        tokenizer: turns text into its token ids.

    Example:
        >>> model = Model.open("model.gguf", recipe="Q4_K_M")  # doctest: +SKIP
        >>> ids = model.tokenizer.encode("No one would have")  # doctest: +SKIP
        >>> model.logits(ids)[-1].argmax()  # doctest: +SKIP
        7027
    """

    def __init__(self, loaded: LoadedModel, tokenizer: Tokenizer) -> None:
        self._loaded = loaded
        self.tokenizer = tokenizer

    @classmethod
    def open(
        cls,
        model: str | Path | ModelSource,
        *,
        recipe: str | None = None,
        importance: Importance | None = None,
        threads: int | None = None,
    ) -> Model:
        """The model at a path.

        Args:
            model: a GGUF file, a checkpoint folder, or an open source.
            recipe: quantize in memory first, such as "Q4_K_M"; None: as the model is.
            importance: importance of each column for `recipe`, by tensor name.
            threads: threads that quantize.

        Raises:
            QuantkitError: it is none, quantkit cannot run it, or it cannot have the
                recipe.
        """
        source = open_source(model)
        parsed = None if recipe is None else Recipe.parse(recipe)
        weights = load_weights(source, parsed, importance=importance, threads=threads)
        return cls(
            load_model(source, weights), Tokenizer.from_metadata(source.metadata)
        )

    def hidden(self, ids: NDArray[np.integer] | list[int]) -> NDArray[np.float32]:
        """Final hidden states, after the last norm, of one sequence: f32 [n, width].

        Raises:
            ShapeError: `ids` is not a row of token ids of this model.
        """
        return self._loaded.hidden(self._checked(ids))

    def logits(self, ids: NDArray[np.integer] | list[int]) -> NDArray[np.float32]:
        """The logits of what follows each token of a sequence: f32 [n, vocabulary].

        Raises:
            ShapeError: `ids` is not a row of token ids of this model.
        """
        return self._loaded.head.apply(self.hidden(ids))

    def _checked(self, ids: NDArray[np.integer] | list[int]) -> NDArray[np.integer]:
        tokens, n_tokens = np.asarray(ids), self._loaded.head.shape[0]
        is_row = tokens.ndim == 1 and len(tokens) and tokens.dtype.kind in "iu"
        if not is_row or tokens.min() < 0 or tokens.max() >= n_tokens:
            raise ShapeError(
                f"expected a row of token ids from 0 to {n_tokens - 1}, not an array "
                f"of {tokens.dtype} with shape {list(tokens.shape)}"
            )
        return tokens
