"""RWKV-7: a delta rule with vectors for what is removed, and values of the first layer.

Source: arXiv:2503.14456 ("Goose").  ARWKV puts the same into the layers of Qwen 2, in
place of attention (arXiv:2501.15570).  The values of layer 0 are columns of the stream,
after the hidden states: later layers mix them into their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import ops, recurrent_ops
from .base import F32
from .claims import Claims, Presence
from .facts import Facts
from .kept import Kept, State
from .layer import AroundParts, InTwoSteps
from .layers import Linear, Norm
from .token_shift import steps_back
from .wkv_heads import WkvHeads, load_heads_norm

__all__ = ["TimeMix7", "ValueOpening", "ValueStreamLayer", "load_time_mix7"]

SLOWEST = np.float32(-0.606531)
"""-exp(-1/2): the logarithm of the strongest decay."""
KEY_EPSILON = 1e-24
"""What is added to the square of a key's length, so that none is divided by 0."""
GATE = "gate_lora_rank"


@dataclass(frozen=True)
class LowRank:
    """up(function(down(x))) + base.

    Attributes:
        down, up: the two matrices.
        base: added; None: nothing is.
        function: applied between them.
    """

    down: Linear
    up: Linear
    base: F32 | None
    function: Callable[[F32], F32] | None = None

    def __call__(self, x: F32) -> F32:
        """x [n, width] -> [n, width]."""
        small = self.down(x)
        y = self.up(small if self.function is None else self.function(small))
        return y if self.base is None else y + self.base


@dataclass(frozen=True)
class TimeMix7:
    """RWKV-7's mixer.

    Attributes:
        shift: [5 or 6, width]: how much of the position before is in the inputs of
            receptances, decays, keys, values, rates and gates.
        receptance, key, value, output: projections.
        decay, rate, gate, share: low-rank maps: decays, the rates at which keys are
            renewed, gates (None: no gates), and how much of the first layer's values
            is taken (None: it is the first layer).
        removed_scale: [width], multiplies keys, which are then removed by direction.
        rate_scale: [width], how much the rate changes keys.
        bonus: [heads, head size], for the position's own key and value.
        heads: the sizes of heads.
        norm: of each head's output; None: it has none.
        is_alone: each position is a sequence of its own.
    """

    shift: F32
    receptance: Linear
    key: Linear
    value: Linear
    output: Linear
    decay: LowRank
    rate: LowRank
    gate: LowRank | None
    share: LowRank | None
    removed_scale: F32
    rate_scale: F32
    bonus: F32
    heads: WkvHeads
    norm: Norm | None
    is_alone: bool = False

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width], in the first layer."""
        return self.mixed(x, np.zeros_like(x))[0]

    def mixed(self, x: F32, first: F32) -> tuple[F32, F32]:
        """The output and the values of normalized x.

        Args:
            x: [n, width].
            first: the values of the first layer [n, width], which it does not read.

        Returns:
            The output, and the layer's values before any are shared: [n, width] each.
        """
        back = steps_back(x, is_alone=self.is_alone)
        for_r, for_w, for_k, for_v, for_a, *for_g = (
            x + back * shift for shift in self.shift
        )
        own = values = self.value(for_v)
        if self.share is not None:
            values = own + (first - own) * ops.sigmoid(self.share(for_v))
        r, k = self.receptance(for_r), self.key(for_k)
        decay = SLOWEST * ops.sigmoid(self.decay(for_w))
        rate = ops.sigmoid(self.rate(for_a))
        away = self.heads.of_each(k * self.removed_scale)
        away = recurrent_ops.l2_norm(away, KEY_EPSILON)
        k = k * (1 + (rate - 1) * self.rate_scale)
        r, decay, k, v, rate = map(self.heads.of_each, (r, decay, k, values, rate))
        y = self._read(r, decay, k, v, -away, away * rate)
        if self.norm is not None:
            y = self.norm(y)
        y = y + np.einsum("nhk,nhk,hk->nh", r, k, self.bonus)[..., None] * v
        y = y.reshape(len(x), -1)
        if self.gate is not None:
            y = y * self.gate(*for_g)
        return self.output(y), own

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """Its last input, and the states."""
        heads = self.heads
        states = heads.count * heads.size**2
        return State(self.output.n_outputs), State(int(states))

    def alone(self) -> TimeMix7:
        """The same, with each position seeing only itself."""
        return replace(self, is_alone=True)

    def _read(
        self, r: F32, decay: F32, k: F32, v: F32, removed: F32, renewed: F32
    ) -> F32:
        """What heads read of their states: [n, heads, head size]."""
        if not self.is_alone:
            return recurrent_ops.wkv7(r, decay, k, v, removed, renewed)
        own: F32 = np.einsum("nhk,nhk->nh", r, k)[..., None] * v
        return own


@dataclass(frozen=True)
class ValueOpening:
    """Makes the stream of the first layer; see `decoder.Opening`."""

    width: int

    @property
    def columns(self) -> int:
        """The number of columns of the stream."""
        return 2 * self.width

    def __call__(self, x: F32, tokens: NDArray[np.integer[Any]]) -> F32:
        """Embedded tokens x [n, width] and their ids [n] -> [n, columns]."""
        return np.pad(x, ((0, 0), (0, self.width)))


@dataclass(frozen=True)
class ValueStreamLayer(AroundParts, InTwoSteps):
    """A layer whose mixer takes the first layer's values, or gives them.

    Attributes:
        mixer: its mixer.
        width: of hidden states.
    """

    mixer: TimeMix7
    width: int

    def alone(self) -> ValueStreamLayer:
        """The layer for rows that are sequences of one token each."""
        return replace(self, parts=self.parts.alone(), mixer=self.mixer.alone())

    def _mixed(self, stream: F32) -> F32:
        x, first = stream[:, : self.width], stream[:, self.width :]
        y, values = self.mixer.mixed(self.parts.before_mixing(x), first)
        after: F32 = stream.copy()
        after[:, : self.width] = self.parts.after_mixing(x, y)
        if self.mixer.share is None:
            after[:, self.width :] = values
        return after

    def _fed_forward(self, stream: F32) -> F32:
        after: F32 = stream.copy()
        after[:, : self.width] = self.parts.fed_forward(stream[:, : self.width])
        return after


def load_time_mix7(
    facts: Facts,
    claims: Claims,
    number: int,
    *,
    presence: Presence = "required",
) -> TimeMix7:
    """The mixer of layer `number`.

    Args:
        facts: the metadata.
        claims: the tensors.
        number: the layer's.
        presence: whether it has gates, and a norm of heads.
    """
    at, width, heads = f"blk.{number}.time_mix", facts.width, WkvHeads.of(facts)

    def low_rank(
        letter: str,
        rank: str,
        function: Callable[[F32], F32] | None = None,
        *,
        based: bool = True,
    ) -> LowRank:
        size = facts.size(f"attention.{rank}")
        return LowRank(
            Linear.of(claims, f"{at}_{letter}1", size, width),
            Linear.of(claims, f"{at}_{letter}2", width, size),
            claims.vector(f"{at}_{letter}0.weight", width) if based else None,
            function,
        )

    # layer 0 has matrices for a share of values, too, which readers load and ignore
    share = low_rank(
        "v", "value_residual_mix_lora_rank" if number else "iclr_lora_rank"
    )
    has_gate = presence == "required" or claims.has(f"{at}_g1.weight")
    has_norm = presence == "required" or claims.has(f"{at}_ln.weight")
    n_shifts = 6 if has_gate else 5
    shift = claims.vector(f"{at}_lerp_fused.weight", n_shifts, 1, 1, width)
    return TimeMix7(
        shift=shift.reshape(n_shifts, width),
        receptance=Linear.of(claims, f"{at}_receptance", width, width),
        key=Linear.of(claims, f"{at}_key", width, width),
        value=Linear.of(claims, f"{at}_value", width, width),
        output=Linear.of(claims, f"{at}_output", width, width),
        decay=low_rank("w", "decay_lora_rank", np.tanh),
        rate=low_rank("a", "iclr_lora_rank"),
        gate=low_rank("g", GATE, ops.sigmoid, based=False) if has_gate else None,
        share=share if number else None,
        removed_scale=claims.vector(f"{at}_k_k.weight", width),
        rate_scale=claims.vector(f"{at}_k_a.weight", width),
        bonus=claims.vector(f"{at}_r_k.weight", width).reshape(heads.count, heads.size),
        heads=heads,
        norm=load_heads_norm(claims, at, heads) if has_norm else None,
    )
