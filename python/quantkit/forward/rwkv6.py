"""RWKV-6: the token shift, the decays and the states of its layers.

Source: arXiv:2404.05892 ("Finch").  QRWKV-6 has the same in place of the attention of
Qwen 2: keys and values shared by heads, no bonus, no norm of heads, and keys that grow
as their state fades (arXiv:2505.03005).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from . import ops, recurrent_ops
from .base import F32
from .claims import Claims, Presence
from .facts import Facts
from .kept import Kept, State
from .layer import AroundParts, InTwoSteps
from .layers import Linear, Norm
from .sizes import Size
from .token_shift import steps_back
from .traits import Traits
from .wkv_heads import WkvHeads, load_heads_norm

__all__ = ["HalvedLayer", "TimeMix6", "load_time_mix6"]

INPUTS = "wkvrg"
"""What reads shifted inputs, in the order of the tensors: decays (w), keys, values,
receptances and gates."""


@dataclass(frozen=True)
class Shift6:
    """A token shift that depends on the input itself.

    Attributes:
        first: [width], the shift of the input that the other shifts are made of.
        down: gives the 5 small vectors that these are made of, side by side.
        up: makes one of them to a shift [width], in the order of `INPUTS`.
        base: [5, width], added to each.
    """

    first: F32
    down: Linear
    up: tuple[Linear, ...]
    base: F32

    def __call__(self, x: F32, back: F32) -> list[F32]:
        """The shifted inputs: 5 of [n, width], from x and `steps_back(x)`."""
        small = np.tanh(self.down(x + back * self.first))
        parts = np.split(small, len(self.up), axis=1)
        shifts = [
            up(ops.contiguous(part)) + base
            for up, part, base in zip(self.up, parts, self.base, strict=True)
        ]
        return [x + back * shift for shift in shifts]


@dataclass(frozen=True)
class TimeMix6:
    """RWKV-6's mixer.

    Attributes:
        shift: makes the inputs of what follows.
        receptance, key, value, gate, output: projections.
        decay: [width], added to what the two matrices give.
        decay_down, decay_up: the matrices of the decay, with tanh between them.
        heads: the sizes of heads.
        bonus: [heads, head size], of a position's own key; None: it is QRWKV-6, whose
            positions read the state after it was changed.
        norm: of each head's output; None: it has none.
        is_alone: each position is a sequence of its own.
    """

    shift: Shift6
    receptance: Linear
    key: Linear
    value: Linear
    gate: Linear
    output: Linear
    decay: F32
    decay_down: Linear
    decay_up: Linear
    heads: WkvHeads
    bonus: F32 | None
    norm: Norm | None
    is_alone: bool = False

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        back = steps_back(x, is_alone=self.is_alone)
        for_w, for_k, for_v, for_r, for_g = self.shift(x, back)
        slow = self.decay_up(np.tanh(self.decay_down(for_w))) + self.decay
        decay = self.heads.of_each(-np.exp(slow))
        r = self.heads.of_each(self.receptance(for_r))
        k, v = (
            self.heads.of_shared(each) for each in (self.key(for_k), self.value(for_v))
        )
        y = self._read(r, decay, k, v)
        if self.norm is not None:
            y = self.norm(y)
        y = y.reshape(len(x), -1)
        gate = self.gate(for_g)
        if self.bonus is None:
            return self.output(y * ops.sigmoid(gate))
        return self.output(ops.silu(gate, y))

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """Its last input, and the states."""
        heads = self.heads
        states = heads.count * heads.size**2
        return State(self.output.n_outputs), State(int(states))

    def alone(self) -> TimeMix6:
        """The same, with each position seeing only itself."""
        return replace(self, is_alone=True)

    def _read(self, r: F32, decay: F32, k: F32, v: F32) -> F32:
        """What heads read of their states: [n, heads, head size]."""
        if self.bonus is None:
            k = k * -np.expm1(decay)
            r = r * np.float32(self.heads.size**-0.5)
        if self.is_alone:
            key = k if self.bonus is None else k * self.bonus
            own: F32 = np.einsum("nhk,nhk->nh", r, key)[..., None] * v
            return own
        if self.bonus is None:
            return recurrent_ops.linear_attention(r, decay, k, v)
        return recurrent_ops.wkv6(r, decay, k, v, self.bonus)


def load_time_mix6(
    facts: Facts, claims: Claims, number: int, traits: Traits, *, in_qwen: bool = False
) -> TimeMix6:
    """The mixer of layer `number`; `in_qwen`: it is QRWKV-6's."""
    at, width, heads = f"blk.{number}.time_mix", facts.width, WkvHeads.of(facts)
    if in_qwen:
        heads = heads.sharing(facts)
    decay_rank = facts.size("time_decay_extra_dim")
    bias: Presence = "optional" if in_qwen else "none"

    def linear(name: str, n_rows: Size, n_cols: Size = width) -> Linear:
        own: Presence = bias if name in ("receptance", "key", "value") else "none"
        return Linear.of(claims, f"{at}_{name}", n_rows, n_cols, own)

    bonus = None
    if not in_qwen:
        bonus = claims.vector(f"{at}_first.weight", heads.count, heads.size)
        bonus = bonus.reshape(heads.count, heads.size)
    return TimeMix6(
        shift=_load_shift(facts, claims, at, separate=not in_qwen),
        receptance=linear("receptance", width),
        key=linear("key", heads.shared_width),
        value=linear("value", heads.shared_width),
        gate=linear("gate", width),
        output=linear("output", width),
        decay=claims.vector(f"{at}_decay.weight", width),
        decay_down=linear("decay_w1", decay_rank),
        decay_up=linear("decay_w2", width, decay_rank),
        heads=heads,
        bonus=bonus,
        norm=None if in_qwen else load_heads_norm(claims, at, heads),
    )


def _load_shift(facts: Facts, claims: Claims, at: str, *, separate: bool) -> Shift6:
    """The token shift of a layer.

    Args:
        facts: the metadata.
        claims: the tensors.
        at: the start of their names.
        separate: files may have its bases in five tensors, as older ones do.
    """
    width, rank = facts.width, facts.size("time_mix_extra_dim")
    n = len(INPUTS)
    fused = f"{at}_lerp_fused.weight"
    if separate and not claims.has(fused):
        names = [f"{at}_lerp_{letter}.weight" for letter in INPUTS]
        base = np.stack([claims.vector(name, width) for name in names])
    else:
        base = claims.vector(fused, n, 1, 1, width).reshape(n, width)
    up = claims.matrix(f"{at}_w2.weight", n, width, rank)
    return Shift6(
        first=claims.vector(f"{at}_lerp_x.weight", width),
        down=Linear.of(claims, f"{at}_w1", rank * n, width),
        up=tuple(Linear(up.part(i * width, (i + 1) * width)) for i in range(n)),
        base=base,
    )


@dataclass(frozen=True)
class HalvedLayer(AroundParts, InTwoSteps):
    """A layer whose output is halved, so that 16-bit floats hold what follows.

    The weights of later layers are made for that.
    """

    def alone(self) -> HalvedLayer:
        """The layer for rows that are sequences of one token each."""
        return replace(self, parts=self.parts.alone())

    def _mixed(self, x: F32) -> F32:
        mixer = self.parts.mixer
        assert mixer is not None
        return self.parts.after_mixing(x, mixer(self.parts.before_mixing(x)))

    def _fed_forward(self, x: F32) -> F32:
        y: F32 = self.parts.fed_forward(x) * np.float32(0.5)
        return y
