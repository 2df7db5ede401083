"""Mamba and Mamba-2: recurrent mixers whose steps depend on the input.

A projection gives channels, and their gates.  The channels go through a short
convolution and SiLU, and then each changes and reads a state of its own.  Sources:
arXiv:2312.00752 (Mamba: the states of a channel fade at different rates),
arXiv:2405.21060 (Mamba-2: those of a head fade alike).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..errors import FormatError
from . import ops, recurrent_ops
from .base import F32
from .claims import Claims, Presence
from .facts import Facts
from .kept import Kept, State
from .layers import Linear, Norm
from .sizes import Size
from .traits import Traits

__all__ = ["Mamba", "Mamba2", "SpaceSizes", "load_mamba", "load_mamba2"]


@dataclass(frozen=True)
class Convolution:
    """A causal convolution of each channel, then SiLU.

    Attributes:
        weight: [channels, taps].
        bias: [channels], or None.
    """

    weight: F32
    bias: F32 | None

    @classmethod
    def load(cls, facts: Facts, claims: Claims, at: str, channels: Size) -> Convolution:
        """The convolution of the layer whose names start with `at`."""
        taps = facts.size("ssm.conv_kernel")
        weight = claims.vector(f"{at}ssm_conv1d.weight", channels, taps)
        bias = claims.maybe("optional", f"{at}ssm_conv1d.bias", channels)
        return cls(weight.reshape(channels, taps), bias)

    def __call__(self, x: F32) -> F32:
        """x [n, channels] -> [n, channels]."""
        return ops.silu(recurrent_ops.short_convolution(x, self.weight, self.bias))

    @property
    def kept(self) -> State:
        """The channels of the last positions."""
        channels, taps = self.weight.shape
        return State(channels * (taps - 1))

    def alone(self) -> Convolution:
        """The same for positions that are sequences of their own."""
        return replace(self, weight=ops.contiguous(self.weight[:, -1:]))


@dataclass(frozen=True)
class SpaceSizes:
    """The sizes of a Mamba-2 layer.

    Attributes:
        inner: the number of channels that are scanned.
        heads: the number of heads that these form.
        groups: heads of a group have the same inputs and outputs of states.
        states: the number of states of a channel.
    """

    inner: Size
    heads: Size
    groups: Size
    states: Size

    @classmethod
    def of(cls, facts: Facts) -> SpaceSizes:
        """The sizes in the metadata.

        Raises:
            FormatError: one does not divide another.
        """
        inner, heads, groups, states = (
            facts.size(f"ssm.{key}")
            for key in ("inner_size", "time_step_rank", "group_count", "state_size")
        )
        for key, size, parts in (
            ("time_step_rank", inner, heads),
            ("group_count", heads, groups),
        ):
            if size % parts:
                raise FormatError(
                    f"{facts.key('ssm.' + key)} is {int(parts)}; expected a divisor of "
                    f"{' and '.join(size.follows)}, {int(size)}"
                )
        return cls(inner, heads, groups, states)

    @property
    def channels(self) -> Size:
        """The number of channels that are convolved."""
        return self.inner + 2 * self.groups * self.states


@dataclass(frozen=True)
class Mamba2:
    """Mamba-2 of one layer.

    Attributes:
        into: gives gates, channels, and the size of each head's step.
        convolution: of the channels.
        steps: [heads], added to the size of steps.
        rates: [heads], negative: how states fade.
        skip: [heads], how much of a channel goes around its state.
        norm: of each group of channels, after gating; None: no norm.
        output: the output projection.
        sizes: of the parts.
        is_alone: each position is a sequence.
    """

    into: Linear
    convolution: Convolution
    steps: F32
    rates: F32
    skip: F32
    norm: Norm | None
    output: Linear
    sizes: SpaceSizes
    is_alone: bool = False

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        n, sizes = len(x), self.sizes
        ends = [sizes.inner, sizes.inner + sizes.channels]
        gate, mixed, dt = np.split(self.into(x), ends, axis=1)
        dt = recurrent_ops.softplus(dt + self.steps)
        y = self._scanned(self.convolution(mixed), dt).reshape(n, -1)
        y = ops.silu(ops.contiguous(gate), y)
        if self.norm is not None:
            y = self.norm(y.reshape(n, sizes.groups, -1)).reshape(n, -1)
        return self.output(y)

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Mixer.kept`."""
        return self.convolution.kept, State(int(self.sizes.inner * self.sizes.states))

    def alone(self) -> Mamba2:
        """The same, with each position seeing only itself."""
        return replace(self, convolution=self.convolution.alone(), is_alone=True)

    def _scanned(self, mixed: F32, dt: F32) -> F32:
        """Convolved channels, steps [n, heads] -> [n, heads, channels of a head]."""
        n, sizes = len(mixed), self.sizes
        ends = [sizes.inner, sizes.inner + sizes.groups * sizes.states]
        x, b, c = np.split(mixed, ends, axis=1)
        x = x.reshape(n, sizes.heads, -1)
        b, c = (each.reshape(n, sizes.groups, -1) for each in (b, c))
        if not self.is_alone:
            return recurrent_ops.state_space(x, dt, self.rates, b, c, self.skip)
        match = np.repeat((b * c).sum(-1), sizes.heads // sizes.groups, axis=1)
        own: F32 = x * (match * dt + self.skip)[..., None]
        return own


def load_mamba2(
    facts: Facts,
    claims: Claims,
    number: int,
    traits: Traits,
    norm: Presence = "required",
) -> Mamba2:
    """Mamba-2 of layer `number`."""
    at, width, sizes = f"blk.{number}.", facts.width, SpaceSizes.of(facts)
    n_rows = sizes.inner + sizes.channels + sizes.heads
    of_groups = Norm.of(
        claims,
        f"{at}ssm_norm",
        (sizes.groups, sizes.inner // sizes.groups),
        traits,
        presence=norm,
    )
    return Mamba2(
        into=Linear.of(claims, f"{at}ssm_in", n_rows, width),
        convolution=Convolution.load(facts, claims, at, sizes.channels),
        steps=claims.vector(f"{at}ssm_dt.bias", sizes.heads),
        rates=claims.vector(f"{at}ssm_a", sizes.heads, 1),
        skip=claims.vector(f"{at}ssm_d", sizes.heads, 1),
        norm=of_groups and of_groups.by_heads(sizes.inner // sizes.groups),
        output=Linear.of(claims, f"{at}ssm_out", width, sizes.inner),
        sizes=sizes,
    )


@dataclass(frozen=True)
class Mamba:
    """Mamba of one layer.

    Attributes:
        into: gives channels and their gates.
        convolution: of the channels.
        controls: gives, from the convolved channels, what the size of steps is made
            of, and the inputs and outputs of states.
        norms: of these three; None: no norms.
        steps: makes the size of each channel's step; with a bias.
        rates: [channels, states], negative: how states fade.
        skip: [channels], how much of a channel goes around its states.
        output: the output projection.
        is_alone: each position is a sequence.
    """

    into: Linear
    convolution: Convolution
    controls: Linear
    norms: tuple[Norm, Norm, Norm] | None
    steps: Linear
    rates: F32
    skip: F32
    output: Linear
    is_alone: bool = False

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        mixed, gate = np.split(self.into(x), 2, axis=1)
        mixed = self.convolution(mixed)
        n_states = self.rates.shape[1]
        controls = self.controls(mixed)
        rank = controls.shape[1] - 2 * n_states
        parts = np.split(controls, [rank, rank + n_states], axis=1)
        if self.norms is not None:
            pairs = zip(self.norms, parts, strict=True)
            parts = [norm(part) for norm, part in pairs]
        dt, b, c = parts
        dt = recurrent_ops.softplus(self.steps(ops.contiguous(dt)))
        return self.output(
            ops.silu(ops.contiguous(gate), self._scanned(mixed, dt, b, c))
        )

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Mixer.kept`."""
        return self.convolution.kept, State(self.rates.size)

    def alone(self) -> Mamba:
        """The same, with each position seeing only itself."""
        return replace(self, convolution=self.convolution.alone(), is_alone=True)

    def _scanned(self, x: F32, dt: F32, b: F32, c: F32) -> F32:
        if not self.is_alone:
            return recurrent_ops.selective_scan(x, dt, self.rates, b, c, self.skip)
        own: F32 = x * (dt * (b * c).sum(-1, keepdims=True) + self.skip)
        return own


def load_mamba(
    facts: Facts,
    claims: Claims,
    number: int,
    traits: Traits,
    norms: Literal["none", "unweighted", "weighted"] = "none",
) -> Mamba:
    """Mamba of layer `number`."""
    at, width = f"blk.{number}.", facts.width
    inner, states, rank = (
        facts.size(f"ssm.{key}")
        for key in ("inner_size", "state_size", "time_step_rank")
    )

    def norm(name: str, size: Size) -> Norm:
        weight = None
        if norms == "weighted":
            weight = claims.vector(f"{at}ssm_{name}_norm.weight", size)
        return Norm(weight, None, traits.epsilon, centered=False)

    of_controls = norm("dt", rank), norm("b", states), norm("c", states)
    return Mamba(
        into=Linear.of(claims, f"{at}ssm_in", 2 * inner, width),
        convolution=Convolution.load(facts, claims, at, inner),
        controls=Linear.of(claims, f"{at}ssm_x", rank + 2 * states, inner),
        norms=None if norms == "none" else of_controls,
        steps=Linear.of(claims, f"{at}ssm_dt", inner, rank, "required"),
        rates=claims.vector(f"{at}ssm_a", inner, states).reshape(inner, states),
        skip=claims.vector(f"{at}ssm_d", inner),
        output=Linear.of(claims, f"{at}ssm_out", width, inner),
    )
