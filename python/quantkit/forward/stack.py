"""The layers that decoders and encoders share, from tokens to hidden states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from .base import F32, Matrix
from .kept import Kept, State
from .layer import Layer, Part
from .layers import Norm, normed
from .ops import contiguous
from .sequences import in_sequences, length_of, positions_of

__all__ = ["Opening", "Stack", "first_columns"]


class Opening(Protocol):
    """What makes the stream of the first layer of the embedded tokens.

    It works on each position by itself.
    """

    @property
    def columns(self) -> int:
        """The number of columns of the stream."""

    def __call__(self, x: F32, tokens: NDArray[np.integer[Any]]) -> F32:
        """Embedded tokens x [n, width] and their ids [n] -> [n, columns]."""


def first_columns(width: int) -> Part:
    """A closing that takes the first `width` columns of the stream."""
    return lambda stream: contiguous(stream[:, :width])


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What makes hidden states of tokens.

    Attributes:
        embedding: the token embedding.
        layers: the layers in order.
        output_norm: the norm after the last layer.
        embedding_scale: multiplies the token embeddings.
        embedding_norm: the norm before the first layer.
        positions: a position embedding, added to the token embeddings.
        offset: added to all token embeddings: f32 [width].
        opening: makes the stream of the first layer; None: it is the embedded tokens.
        closing: makes hidden states [n, width] of the stream of the last layer.
        blocks: by layer, the number of the GGUF block that runs there for the first
            time, or None; empty: layer i is block i.
    """

    embedding: Matrix
    layers: tuple[Layer, ...]
    output_norm: Norm | None
    embedding_scale: float = 1.0
    embedding_norm: Norm | None = None
    positions: Matrix | None = None
    offset: F32 | None = None
    opening: Opening | None = None
    closing: Part | None = None
    blocks: tuple[int | None, ...] = ()

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """What all layers keep of a sequence for the next token."""
        return tuple(each for layer in self.layers for each in layer.kept)

    @property
    def columns(self) -> int:
        """The number of columns of the stream between layers."""
        return self.opening.columns if self.opening else self.embedding.shape[1]

    def block_of(self, layer: int) -> int | None:
        """The number of the block that a layer is; None: an earlier layer was it."""
        return self.blocks[layer] if self.blocks else layer

    def hidden(self, tokens: NDArray[np.integer[Any]]) -> F32:
        """Final hidden states, after the last norm: [n, width]; see `base.Model`."""
        with in_sequences(1 if tokens.ndim == 1 else len(tokens)):
            x = self.embedded(tokens.reshape(-1))
            for layer in self.layers:
                x = layer(x)
            return self.finished(x)

    def embedded(self, tokens: NDArray[np.integer[Any]], *, alone: bool = False) -> F32:
        """The input of the first layer: [n, columns].

        Args:
            tokens: one sequence [n], or several, one after the other; in the host's
                memory.
            alone: the tokens are sequences of one token each; see `Layer.alone`.

        Raises:
            ShapeError: the sequence is longer than the position embedding.
        """
        x = self.embedding.rows(tokens)
        if self.embedding_scale != 1:
            x *= np.float32(self.embedding_scale)
        if self.positions is not None:
            self._check_length(1 if alone else length_of(x))
            own = positions_of(x)
            x += self.positions.rows(np.zeros_like(own) if alone else own)
        if self.offset is not None:
            x += self.offset
        x = normed(x, self.embedding_norm)
        if self.opening is None:
            return x
        return self.opening(x, np.asarray(tokens, like=x))

    def finished(self, x: F32) -> F32:
        """Final hidden states [n, width], from the last layer's stream."""
        return normed(x if self.closing is None else self.closing(x), self.output_norm)

    def _check_length(self, n: int) -> None:
        """Refuse a sequence that is longer than the position embedding."""
        if self.positions is not None and n > self.positions.shape[0]:
            raise ShapeError(
                f"a sequence of {n} tokens; the model has an embedding for each of "
                f"{self.positions.shape[0]} positions: use shorter sequences (`ctx`)"
            )
