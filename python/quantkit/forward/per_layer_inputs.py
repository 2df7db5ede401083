"""Inputs of each layer beside the hidden states: Gemma's per-layer embeddings.

Each layer has its own small embedding of the tokens.  A projection of the first hidden
states is added to it.  At the end of the layer, a gate mixes it into the hidden states.
Source: llama.cpp, build 11434 (gemma3n.cpp, gemma4.cpp).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import ops
from .base import F32, Matrix
from .claims import Claims
from .facts import Facts
from .layers import Linear, Norm
from .sizes import Size
from .traits import Traits

__all__ = [
    "SIZE_KEY",
    "LayerInput",
    "PerLayerInputs",
    "load_layer_input",
    "load_per_layer_inputs",
]

SIZE_KEY = "embedding_length_per_layer_input"


@dataclass(frozen=True)
class PerLayerInputs:
    """The inputs of all layers.

    Attributes:
        embedding: [vocabulary, layers * size].
        projection: of the embedded tokens, to as many outputs.
        norm: of what it gives for each layer.
        size: the size of a layer's input.
    """

    embedding: Matrix
    projection: Linear
    norm: Norm
    size: int

    @property
    def columns(self) -> int:
        """The number of columns of the inputs of all layers."""
        return self.embedding.shape[1]

    def __call__(self, x: F32, tokens: NDArray[np.integer[Any]]) -> F32:
        """Embedded tokens x [n, width] and their ids [n] -> [n, layers * size]."""
        n, width = x.shape
        y = self.projection(x) * np.float32(width**-0.5)
        y = self.norm(y.reshape(n, -1, self.size)).reshape(n, -1)
        y += self.embedding.rows(tokens) * np.float32(self.size**0.5)
        y *= np.float32(0.5**0.5)
        return y


@dataclass(frozen=True)
class LayerInput:
    """What a layer's input changes.

    Attributes:
        gate: of the hidden states: [size, width].
        projection: back to hidden states: [width, size].
        norm: the norm of what is added.
    """

    gate: Linear
    projection: Linear
    norm: Norm

    def __call__(self, x: F32, given: F32) -> F32:
        """What hidden states x [n, width] and inputs [n, size] add: [n, width]."""
        inside = ops.gelu_tanh(self.gate(x), ops.contiguous(given))
        return self.norm(self.projection(inside))


def load_per_layer_inputs(
    facts: Facts, claims: Claims, n_tokens: Size, traits: Traits
) -> PerLayerInputs:
    """The inputs of all layers."""
    size = facts.size(SIZE_KEY)
    total = size * facts.n_layers
    name = "per_layer_proj_norm.weight"
    return PerLayerInputs(
        embedding=claims.table("per_layer_token_embd.weight", n_tokens, total),
        projection=Linear.of(claims, "per_layer_model_proj", total, facts.width),
        norm=Norm(claims.vector(name, size), None, traits.epsilon, centered=False),
        size=size,
    )


def load_layer_input(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> LayerInput:
    """What the input of layer `number` changes."""
    at, size, width = f"blk.{number}.", facts.size(SIZE_KEY), facts.width
    weight = claims.vector(f"{at}post_norm.weight", width)
    return LayerInput(
        gate=Linear.of(claims, f"{at}inp_gate", size, width),
        projection=Linear.of(claims, f"{at}proj", width, size),
        norm=Norm(weight, None, traits.epsilon, centered=False),
    )
