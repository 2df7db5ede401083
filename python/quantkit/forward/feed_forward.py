"""The feed-forward part of a layer: plain, gated, or a mixture of experts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import ops
from .base import F32, Activations, Weights
from .layers import (
    Activation,
    Gating,
    Linear,
    activation_named,
    gating_named,
    vector,
)
from .traits import Experts, Traits

__all__ = ["Gated", "Mixture", "Plain", "load_feed_forward"]


Part = Callable[[F32], F32]


@dataclass(frozen=True)
class Plain:
    """down(activation(up(x)))."""

    up: Linear
    down: Linear
    activation: Activation

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        return self.down(self.activation(self.up(x)))


@dataclass(frozen=True)
class Gated:
    """down(gating(gate(x), up(x))); gating is usually activation(gate) * up."""

    gate: Linear
    up: Linear
    down: Linear
    gating: Gating

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        shared = Activations(x)
        return self.down(self.gating(self.gate(shared), self.up(shared)))


@dataclass(frozen=True)
class Mixture:
    """A mixture of experts, with an optional shared expert for all tokens.

    Attributes:
        router: computes the experts' scores.
        how: how experts are chosen and weighted.
        experts: the feed-forward part of each expert.
        choice_bias: [experts], added to the scores only to choose experts.
        shared: the shared expert.
        shared_gate: its sigmoid multiplies the shared expert's output.
    """

    router: Linear
    how: Experts
    experts: tuple[Gated, ...]
    choice_bias: F32 | None = None
    shared: Part | None = None
    shared_gate: Linear | None = None

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        chosen, share = self._chosen(self.router(x))
        y = np.zeros_like(x)
        for number in np.unique(chosen):
            token, place = np.nonzero(chosen == number)
            y[token] += share[token, place, None] * self.experts[number](x[token])
        if self.shared is not None:
            y += self._shared(x, self.shared)
        return y

    def _shared(self, x: F32, shared: Part) -> F32:
        y = shared(x)
        if self.shared_gate is not None:
            y *= ops.sigmoid(self.shared_gate(x))
        return y

    def _chosen(self, scores: F32) -> tuple[NDArray[np.intp], F32]:
        """The chosen experts of each token and their weights: both [n, used]."""
        how = self.how
        if how.gating == "sigmoid":
            probability = ops.sigmoid(scores)
        elif how.gating == "softmax":
            probability = _softmax(scores)
        else:
            probability = scores
        ranked = probability
        if self.choice_bias is not None:
            ranked = probability + self.choice_bias
        ranked = self._in_best_groups(ranked)
        chosen = np.argsort(-ranked, axis=-1, kind="stable")[:, : how.used]
        share = np.take_along_axis(probability, chosen, axis=-1)
        if how.gating == "softmax_of_chosen":
            share = _softmax(share)
        if how.normed:
            share = share / share.sum(axis=-1, keepdims=True)
        return chosen, share * np.float32(how.scale)

    def _in_best_groups(self, ranked: F32) -> F32:
        """Set the scores of experts outside the best groups to -inf.

        A group's score is the sum of its two best scores if there is a `choice_bias`
        (DeepSeek V3, arXiv:2412.19437), else its best score (V2, arXiv:2405.04434).
        """
        how = self.how
        if how.n_groups == how.groups_used:
            return ranked
        groups = ranked.reshape(len(ranked), how.n_groups, -1)
        n_best = 1 if self.choice_bias is None else 2
        score = np.sort(groups, axis=-1)[..., -n_best:].sum(axis=-1)
        best = np.argsort(-score, axis=-1, kind="stable")[:, : how.groups_used]
        kept = np.full_like(groups, -np.inf)
        np.put_along_axis(
            kept,
            best[..., None],
            np.take_along_axis(groups, best[..., None], axis=1),
            axis=1,
        )
        return kept.reshape(ranked.shape)


def _softmax(x: F32) -> F32:
    y: F32 = np.exp(x - x.max(axis=-1, keepdims=True))
    y /= y.sum(axis=-1, keepdims=True)
    return y


def load_feed_forward(weights: Weights, number: int, traits: Traits) -> Part:
    """The feed-forward part of layer `number`."""
    at = f"blk.{number}."
    if f"{at}ffn_gate_inp.weight" in weights and traits.experts is not None:
        return _load_mixture(weights, at, traits.experts, traits.activation)
    return _load_one(weights, f"{at}ffn", "", traits.activation)


def _load_one(weights: Weights, at: str, tail: str, activation: str) -> Part:
    """One feed-forward part; an `up` matrix of twice the width holds gate and up."""
    up, down = (Linear.of(weights, f"{at}_{part}{tail}") for part in ("up", "down"))
    if f"{at}_gate{tail}.weight" in weights:
        gate = Linear.of(weights, f"{at}_gate{tail}")
        return Gated(gate, up, down, gating_named(activation))
    width = down.matrix.shape[1]
    if up.matrix.shape[0] == 2 * width:
        gate, up = up.part(0, width), up.part(width, 2 * width)
        return Gated(gate, up, down, gating_named(activation))
    return Plain(up, down, activation_named(activation))


def _load_mixture(weights: Weights, at: str, how: Experts, activation: str) -> Mixture:
    gate, up, down = (
        _experts(weights, f"{at}ffn_{part}_exps", how.count)
        for part in ("gate", "up", "down")
    )
    shared = shared_gate = None
    if f"{at}ffn_gate_inp_shexp.weight" in weights:
        shared_gate = Linear.of(weights, f"{at}ffn_gate_inp_shexp")
    if f"{at}ffn_up_shexp.weight" in weights:
        shared = _load_one(weights, f"{at}ffn", "_shexp", activation)
    return Mixture(
        router=Linear.of(weights, f"{at}ffn_gate_inp"),
        how=how,
        experts=tuple(
            Gated(gate[i], up[i], down[i], gating_named(activation))
            for i in range(how.count)
        ),
        choice_bias=vector(weights, f"{at}exp_probs_b.bias"),
        shared=shared,
        shared_gate=shared_gate,
    )


def _experts(weights: Weights, name: str, count: int) -> list[Linear]:
    """The linear maps of all experts, which are stacked in one tensor."""
    matrix = weights.matrix(f"{name}.weight")
    bias = None
    if f"{name}.bias" in weights:
        bias = weights.matrix(f"{name}.bias").rows(np.arange(count))
    step = matrix.shape[0] // count
    return [
        Linear(matrix.part(i * step, (i + 1) * step), None if bias is None else bias[i])
        for i in range(count)
    ]
