"""The building blocks of layers: linear maps, norms, the output head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UnsupportedModelError
from . import ops
from .base import F32, Activations, Matrix
from .claims import Claims, Presence
from .traits import Traits

__all__ = [
    "Activation",
    "Gating",
    "Head",
    "Linear",
    "Norm",
    "activation_named",
    "gating_named",
    "normed",
]

Activation = Callable[[F32], F32]
Gating = Callable[[F32, F32], F32]

FUNCTIONS = {
    "silu": ops.silu,
    "gelu": ops.gelu,
    "gelu_tanh": ops.gelu_tanh,
    "relu": ops.relu,
    "relu_squared": ops.relu_squared,
}
GATINGS: dict[str, Gating] = {**FUNCTIONS, "swiglu_clamped": ops.swiglu_clamped}


def activation_named(name: str) -> Activation:
    """The activation function called `name` in a family's traits."""
    return FUNCTIONS[name]


def gating_named(name: str) -> Gating:
    """The function that combines gate and up, usually activation(gate) * up."""
    return GATINGS[name]


@dataclass(frozen=True)
class Linear:
    """A weight matrix and its bias, if any."""

    matrix: Matrix
    bias: F32 | None = None

    @classmethod
    def of(
        cls,
        claims: Claims,
        name: str,
        n_rows: int,
        n_cols: int,
        bias: Presence = "none",
    ) -> Linear:
        """The matrix `name`.weight [n_rows, n_cols] and the bias `name`.bias."""
        matrix = claims.matrix(f"{name}.weight", n_rows, n_cols)
        return cls(matrix, claims.maybe(bias, f"{name}.bias", n_rows))

    @property
    def n_inputs(self) -> int:
        """The number of columns of the matrix."""
        return self.matrix.shape[1]

    @property
    def n_outputs(self) -> int:
        """The number of rows of the matrix."""
        return self.matrix.shape[0]

    def __call__(self, x: F32 | Activations) -> F32:
        """x [n, n_cols] -> [n, n_rows]."""
        return ops.linear(x, self.matrix, self.bias)

    def part(self, start: int, stop: int) -> Linear:
        """A linear map for outputs start..stop-1 only."""
        bias = None if self.bias is None else self.bias[start:stop]
        return Linear(self.matrix.part(start, stop), bias)


@dataclass(frozen=True)
class Norm:
    """RMSNorm or LayerNorm over the last axis.

    Attributes:
        weight: [width], or [heads, width] if heads differ; None: all ones.
        bias: the same shapes; None: no bias.
        epsilon: added to the mean square or the variance.
        centered: LayerNorm, which subtracts the mean first.
    """

    weight: F32 | None
    bias: F32 | None
    epsilon: float
    centered: bool

    @classmethod
    def of(
        cls,
        claims: Claims,
        name: str,
        shape: tuple[int, ...],
        traits: Traits,
        *,
        presence: Presence = "required",
        bias: Presence = "none",
    ) -> Norm | None:
        """The norm `name`, whose weights have this shape; None if there is none."""
        weight = claims.maybe(presence, f"{name}.weight", *shape)
        if weight is None:
            return None
        shift = claims.maybe(bias, f"{name}.bias", *shape)
        return cls(weight, shift, traits.epsilon, traits.centered)

    def __call__(self, x: F32) -> F32:
        """x [..., width], normalized."""
        if self.centered:
            return ops.layer_norm(x, self.weight, self.bias, self.epsilon)
        if self.bias is not None:
            raise UnsupportedModelError("quantkit does not support RMSNorm with a bias")
        return ops.rms_norm(x, self.weight, self.epsilon)

    def by_heads(self, head_size: int) -> Norm:
        """The norm with its weights and biases reshaped to one row per head."""
        weight, bias = (
            None if values is None else values.reshape(-1, head_size)
            for values in (self.weight, self.bias)
        )
        return replace(self, weight=weight, bias=bias)


def normed(x: F32, norm: Norm | None) -> F32:
    """`norm(x)`, or x if there is no norm."""
    return x if norm is None else norm(x)


@dataclass(frozen=True)
class Head:
    """The output head, as a matrix whose product is the logits.

    Attributes:
        linear: the weights [vocabulary, width], and a bias.
        scale: multiplies the logits.
        cap: soft cap of the scaled logits.
    """

    linear: Linear
    scale: float = 1.0
    cap: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(vocabulary, width)."""
        return self.linear.matrix.shape

    def apply(self, x: F32 | Activations) -> F32:
        """The logits of hidden states x [n, width]: [n, vocabulary]."""
        return self._finished(self.linear(x))

    def at(self, tokens: NDArray[np.integer[Any]], x: F32) -> F32:
        """The logits of some tokens for each hidden state: [n, tokens].

        Args:
            tokens: which tokens: [n, tokens].
            x: hidden states [n, width].
        """
        rows = self.rows(tokens.reshape(-1)).reshape(*tokens.shape, -1)
        logits: F32 = np.einsum("ntw,nw->nt", rows, x)
        if self.linear.bias is not None:
            logits += self.linear.bias[tokens]
        return self._finished(logits)

    def part(self, start: int, stop: int) -> Head:
        """The head of tokens start..stop-1."""
        return replace(self, linear=self.linear.part(start, stop))

    def rows(self, index: NDArray[np.integer[Any]]) -> F32:
        """The rows of the weights at `index`: [len(index), width]."""
        return self.linear.matrix.rows(index)

    def _finished(self, logits: F32) -> F32:
        """The logits, from the products; in place."""
        if self.scale != 1:
            logits *= np.float32(self.scale)
        return ops.soft_capped(logits, self.cap)
