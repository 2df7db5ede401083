"""Lightning attention (MiniMax-01): linear attention that fades with distance.

Each head keeps the sum of the outer products of past keys and values; a fixed factor
fades it at every position.  Source: arXiv:2401.04658, arXiv:2501.08313.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from . import ops, recurrent_ops
from .base import F32, Activations
from .claims import Claims
from .facts import Facts
from .kept import Kept, State
from .layer import InTwoSteps, Mixer, Part, Sequential
from .layers import Linear, Norm, normed
from .traits import Traits

__all__ = ["FromNorm", "LightningAttention", "load_lightning_attention"]

NORM_EPSILON = 1e-6
"""Of the norm of the output, whatever the model's epsilon is."""

LAST_LAYER = 1e-5
"""What is left of the last layer's slopes, which would be 0."""


@dataclass(frozen=True)
class LightningAttention:
    """The attention of one layer.

    Attributes:
        qkv: gives query, key and value of each head, one after the other.
        gate: its sigmoid multiplies the output.
        norm: of the outputs of all heads, as one vector.
        output: the output projection.
        slopes: [heads], how much of the logarithm fades at each position.
        is_alone: each position is a sequence.
    """

    qkv: Linear
    gate: Linear
    norm: Norm
    output: Linear
    slopes: F32
    is_alone: bool = False

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        n, n_heads, shared = len(x), len(self.slopes), Activations(x)
        heads = ops.silu(self.qkv(shared)).reshape(n, n_heads, 3, -1)
        q, k, v = (ops.contiguous(heads[:, :, part]) for part in range(3))
        if self.is_alone:
            mixed: F32 = (q * k).sum(axis=2, keepdims=True) * v
        else:
            ones = np.ones_like(v, shape=(n, n_heads))
            none = np.zeros_like(self.slopes)
            mixed = recurrent_ops.state_space(v, ones, -self.slopes, k, q, none)
        gate = ops.sigmoid(self.gate(shared))
        return self.output(gate * self.norm(mixed.reshape(n, -1)))

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Mixer.kept`."""
        heads, inner = len(self.slopes), self.output.n_inputs
        return (State(inner * inner // heads),)

    def alone(self) -> LightningAttention:
        """The same, with each position seeing only itself."""
        return replace(self, is_alone=True)


def load_lightning_attention(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> LightningAttention:
    """The attention of layer `number`; the later the layer, the slower it fades."""
    at, width, n_heads = f"blk.{number}.attn_", facts.width, facts.n_heads(number)
    inner = n_heads * facts.key_size
    slopes = 2.0 ** (-8 / n_heads * np.arange(1, n_heads + 1))
    share = 1 - number / max(facts.n_layers - 1, 1) + LAST_LAYER
    norm = claims.vector(f"{at}norm_2.weight", inner)
    return LightningAttention(
        qkv=Linear.of(claims, f"{at}qkv", 3 * inner, width),
        gate=Linear.of(claims, f"{at}gate", inner, width),
        norm=Norm(norm, None, NORM_EPSILON, centered=False),
        output=Linear.of(claims, f"{at}output", width, inner),
        slopes=claims.placed((slopes * share).astype(np.float32)),
    )


@dataclass(frozen=True)
class FromNorm(InTwoSteps):
    """A layer whose parts add to their normalized inputs, scaled.

    Attributes:
        mixer, mixer_norm, feed_forward, feed_forward_norm: its parts and their norms.
        scale: multiplies what they add to.
    """

    mixer: Mixer
    mixer_norm: Norm | None
    feed_forward: Part
    feed_forward_norm: Norm | None
    scale: float

    @classmethod
    def of(cls, layer: Sequential, scale: float) -> FromNorm:
        """The layer with these parts and norms."""
        assert layer.mixer is not None
        assert layer.feed_forward is not None
        norms = layer.mixer_norm, layer.feed_forward_norm
        return cls(layer.mixer, norms[0], layer.feed_forward, norms[1], scale)

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Layer.kept`."""
        return self.mixer.kept

    def alone(self) -> FromNorm:
        """The layer for rows that are sequences of one token each."""
        return replace(self, mixer=self.mixer.alone())

    def _mixed(self, x: F32) -> F32:
        y = normed(x, self.mixer_norm)
        mixed: F32 = y * np.float32(self.scale) + self.mixer(y)
        return mixed

    def _fed_forward(self, x: F32) -> F32:
        y = normed(x, self.feed_forward_norm)
        fed: F32 = y * np.float32(self.scale) + self.feed_forward(y)
        return fed
