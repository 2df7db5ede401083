"""The gated delta rule with a short convolution, in place of attention.

Queries, keys and values go through the convolution and SiLU.  Each head keeps a matrix
that maps keys to values: it fades (`decay`), and its value for the present key moves
toward the present value (`beta`).  Queries read it.  The result is normalized and
gated.  Sources: arXiv:2412.06464 (Gated DeltaNet), arXiv:2510.26692 (KDA, where each
component of a key fades by itself).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ..errors import FormatError
from ..settings import FLAG, checked, list_of
from . import ops, recurrent_ops
from .base import F32, Activations
from .claims import Claims
from .facts import Facts
from .kept import Kept, State
from .layers import Linear, Norm
from .sizes import Size
from .traits import Traits

__all__ = [
    "RECURRENT",
    "Controls",
    "DeltaSizes",
    "FusedControls",
    "GatedDelta",
    "SeparateControls",
    "load_gated_delta",
    "recurrent_layers",
]

RECURRENT, INTERVAL = "attention.recurrent_layers", "full_attention_interval"
USUAL_INTERVAL = 4
NORM_EPSILON = 1e-6
"""Added to the squared norm of a query or key, whatever the model's epsilon."""

Map = Callable[[Activations], F32]


@dataclass(frozen=True)
class DeltaSizes:
    """The heads of a delta layer.

    Attributes:
        n_keys, n_values: the number of query and key heads, and of value heads.
        key_size, value_size: the size of a head.
    """

    n_keys: Size
    n_values: Size
    key_size: Size
    value_size: Size

    @classmethod
    def of(cls, facts: Facts) -> DeltaSizes:
        """The sizes in the metadata.

        Raises:
            FormatError: value heads cannot share keys evenly, or the sizes contradict
                each other.
        """
        key_size, n_keys, n_values, inner = (
            facts.size(f"ssm.{key}")
            for key in ("state_size", "group_count", "time_step_rank", "inner_size")
        )
        if n_values % n_keys:
            raise FormatError(
                f"{facts.key('ssm.time_step_rank')} is {int(n_values)}; expected a "
                f"multiple of {facts.key('ssm.group_count')}, {int(n_keys)}"
            )
        if inner != n_values * key_size:
            raise FormatError(
                f"{facts.key('ssm.inner_size')} is {int(inner)}; expected "
                f"{int(n_values * key_size)}, {facts.key('ssm.time_step_rank')} times "
                f"{facts.key('ssm.state_size')}"
            )
        return cls(n_keys, n_values, key_size, inner // n_values)

    @property
    def keys(self) -> Size:
        """The width of all keys."""
        return self.n_keys * self.key_size

    @property
    def values(self) -> Size:
        """The width of all values."""
        return self.n_values * self.value_size

    @property
    def channels(self) -> Size:
        """The width of queries, keys and values together."""
        return 2 * self.keys + self.values


class Controls(Protocol):
    """How each position changes the state."""

    def __call__(self, x: Activations) -> tuple[F32, F32]:
        """Normalized x [n, width] -> beta [n, heads], and the logarithm of the decay.

        The second is [n, heads], or [n, heads, key size] if components differ.
        """


@dataclass(frozen=True)
class SeparateControls:
    """With a projection for each: beta = sigmoid(x B), decay = rates * softplus(x A).

    Attributes:
        beta, decay: the projections; the second has a bias.
        rates: [heads], negative.
    """

    beta: Linear
    decay: Linear
    rates: F32

    def __call__(self, x: Activations) -> tuple[F32, F32]:
        """See `Controls`."""
        fading = recurrent_ops.softplus(self.decay(x))
        return ops.sigmoid(self.beta(x)), fading * self.rates


@dataclass(frozen=True)
class FusedControls:
    """The same with one projection: for each key head beta's, then decay's outputs.

    Attributes:
        both: the projection.
        n_keys: the number of key heads.
        bias: [heads], of decay.
        rates: [heads], negative.
    """

    both: Linear
    n_keys: int
    bias: F32
    rates: F32

    def __call__(self, x: Activations) -> tuple[F32, F32]:
        """See `Controls`."""
        n = len(x.values)
        both = self.both(x).reshape(n, self.n_keys, 2, -1)
        beta, decay = (both[:, :, i].reshape(n, -1) for i in range(2))
        fading = recurrent_ops.softplus(decay + self.bias)
        return ops.sigmoid(beta), fading * self.rates


@dataclass(frozen=True)
class GatedDelta:
    """The delta rule of one layer.

    Attributes:
        mixed: gives queries, keys and values, before the convolution.
        convolution: [channels, taps].
        controls: beta and decay.
        gate: gives the gates of the output.
        norm: of each head of the output.
        output: the output projection.
        sizes: of the heads.
        goes_round: value head h uses key head h % n_keys; else h // (heads of a key).
        gating: "silu" or "sigmoid", of the gate.
        is_alone: each position is a sequence.
    """

    mixed: Map
    convolution: F32
    controls: Controls
    gate: Map
    norm: Norm
    output: Linear
    sizes: DeltaSizes
    goes_round: bool = False
    gating: str = "silu"
    is_alone: bool = False

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        shared = Activations(x)
        y = self._grouped_back(self._remembered(shared))
        y = self.norm(y).reshape(len(x), -1)
        gate = self.gate(shared)
        if self.gating == "silu":
            return self.output(ops.silu(gate, y))
        y *= ops.sigmoid(gate)
        return self.output(y)

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Mixer.kept`."""
        channels, taps = self.convolution.shape
        matrices = self.sizes.key_size * self.sizes.values
        return State(channels * (taps - 1)), State(int(matrices))

    def alone(self) -> GatedDelta:
        """The same, with each position seeing only itself."""
        last = ops.contiguous(self.convolution[:, -1:])
        return replace(self, convolution=last, is_alone=True)

    def _remembered(self, x: Activations) -> F32:
        """What queries read: [n, heads, value size], heads of a key side by side."""
        sizes, n = self.sizes, len(x.values)
        mixed = recurrent_ops.short_convolution(self.mixed(x), self.convolution)
        mixed = ops.silu(mixed)
        q, k, v = np.split(mixed, [sizes.keys, 2 * sizes.keys], axis=1)
        q, k = (
            recurrent_ops.l2_norm(each.reshape(n, sizes.n_keys, -1), NORM_EPSILON)
            for each in (q, k)
        )
        beta, decay = (self._grouped(each) for each in self.controls(x))
        v = self._grouped(v.reshape(n, sizes.n_values, -1))
        scale = float(sizes.key_size) ** -0.5
        if self.is_alone:
            return _own(q, k, v, beta, scale)
        return recurrent_ops.gated_delta(q, k, v, decay, beta, scale)

    def _grouped(self, x: F32) -> F32:
        """x [n, heads, ...] with the heads of a key side by side."""
        return _swapped(x, -1, self.sizes.n_keys) if self.goes_round else x

    def _grouped_back(self, x: F32) -> F32:
        """The reverse of `_grouped`."""
        return _swapped(x, self.sizes.n_keys, -1) if self.goes_round else x


def _swapped(x: F32, outer: int, inner: int) -> F32:
    """x [n, outer * inner, ...] with the two parts of its second axis swapped."""
    n, _, *rest = x.shape
    parts = x.reshape(n, outer, inner, *rest).swapaxes(1, 2)
    y: F32 = parts.reshape(x.shape)
    return y


def _own(q: F32, k: F32, v: F32, beta: F32, scale: float) -> F32:
    """What queries read of a state that only their own position has changed."""
    heads = v.shape[1] // k.shape[1]
    match = np.repeat((q * k).sum(-1), heads, axis=1)
    own: F32 = (match * beta * np.float32(scale))[..., None] * v
    return own


def recurrent_layers(
    facts: Facts, interval: int = USUAL_INTERVAL
) -> Callable[[int], bool]:
    """A function from layer number to whether it has a recurrent mixer.

    Args:
        facts: may have a value for each layer, or an interval.
        interval: the last of each so many layers has attention, if `facts` has neither.

    Raises:
        FormatError: the metadata has a wrong value for it.
    """
    interval = facts.size(INTERVAL, interval)
    values = facts.layer_values(RECURRENT)
    if values is not None:
        checked(values, list_of(FLAG), facts.key(RECURRENT))
        return lambda layer: bool(values[layer])
    if RECURRENT in facts:
        all_are = facts.flag(RECURRENT)
        return lambda layer: all_are
    return lambda layer: (layer + 1) % interval != 0


def load_gated_delta(
    facts: Facts,
    claims: Claims,
    number: int,
    traits: Traits,
    *,
    goes_round: bool,
    gating: str = "silu",
) -> GatedDelta:
    """The delta rule of layer `number`, with the tensors of Qwen 3 Next or 3.5."""
    at, width, sizes = f"blk.{number}.", facts.width, DeltaSizes.of(facts)
    taps = facts.size("ssm.conv_kernel")
    weight = claims.vector(f"{at}ssm_conv1d.weight", sizes.channels, taps)
    norm = claims.vector(f"{at}ssm_norm.weight", sizes.value_size)
    return GatedDelta(
        mixed=Linear.of(claims, f"{at}attn_qkv", sizes.channels, width),
        convolution=weight.reshape(sizes.channels, taps),
        controls=_load_controls(claims, at, width, sizes),
        gate=Linear.of(claims, f"{at}attn_gate", sizes.values, width),
        norm=Norm(norm, None, traits.epsilon, centered=False),
        output=Linear.of(claims, f"{at}ssm_out", width, sizes.values),
        sizes=sizes,
        goes_round=goes_round,
        gating=gating,
    )


def _load_controls(claims: Claims, at: str, width: Size, sizes: DeltaSizes) -> Controls:
    heads = sizes.n_values
    rates = claims.vector(f"{at}ssm_a", heads)
    bias = claims.vector(f"{at}ssm_dt.bias", heads)
    if f"{at}ssm_ba.weight" in claims:
        both = Linear.of(claims, f"{at}ssm_ba", 2 * heads, width)
        return FusedControls(both, sizes.n_keys, bias, rates)
    decay = claims.matrix(f"{at}ssm_alpha.weight", heads, width)
    beta = Linear.of(claims, f"{at}ssm_beta", heads, width)
    return SeparateControls(beta, Linear(decay, bias), rates)
