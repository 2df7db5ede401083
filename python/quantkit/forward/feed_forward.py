"""The feed-forward part of a layer: plain, gated, or a mixture of experts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from . import ops
from .base import F32, Activations
from .claims import Claims, Presence
from .facts import Facts
from .layers import Activation, Gating, Linear, activation_named, gating_named
from .routing import Routes
from .sizes import Size
from .sparsemixer import sparsemixer
from .traits import Experts, Traits

__all__ = [
    "Gated",
    "Joint",
    "Mixture",
    "Plain",
    "load_dense",
    "load_feed_forward",
    "load_mixture",
    "with_gating",
]


Part = Callable[[F32], F32]


@dataclass(frozen=True)
class Plain:
    """down(activation(up(x)))."""

    up: Linear
    down: Linear
    activation: Activation

    def __call__(self, x: F32 | Activations) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        shared = Activations.of(x)
        inside = self.activation(self.up(shared))
        return self.down(Activations(inside, shared.tokens))


@dataclass(frozen=True)
class Gated:
    """down(gating(gate(x), up(x))); gating is usually activation(gate) * up."""

    gate: Linear
    up: Linear
    down: Linear
    gating: Gating

    def __call__(self, x: F32 | Activations) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        shared = Activations.of(x)
        inside = self.gating(self.gate(shared), self.up(shared))
        return self.down(Activations(inside, shared.tokens))


@dataclass(frozen=True)
class Joint:
    """Like `Gated`, with gate and up in one matrix: gate's rows first."""

    gate_up: Linear
    down: Linear
    gating: Gating

    def __call__(self, x: F32 | Activations) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        shared = Activations.of(x)
        halves = np.split(self.gate_up(shared), 2, axis=1)
        inside = self.gating(*map(ops.contiguous, halves))
        return self.down(Activations(inside, shared.tokens))


Expert = Plain | Gated | Joint


@dataclass(frozen=True)
class Mixture:
    """A mixture of experts, with an optional shared expert for all tokens.

    Attributes:
        router: computes the experts' scores.
        how: how experts are chosen and weighted.
        experts: the feed-forward part of each expert.
        choice_bias: [experts], added to the scores only to choose experts.
        table: [vocabulary, used], the experts of each token; None: scores choose them.
        shared: the shared expert.
        shared_gate: its sigmoid multiplies the shared expert's output.
        latent: what makes the experts' input of hidden states, and the reverse for
            their output; None: experts work on hidden states.
    """

    router: Linear
    how: Experts
    experts: tuple[Expert, ...]
    choice_bias: F32 | None = None
    table: F32 | None = None
    shared: Part | None = None
    shared_gate: Linear | None = None
    latent: tuple[Linear, Linear] | None = None

    def __call__(self, x: F32, tokens: NDArray[np.intp] | None = None) -> F32:
        """Normalized x [n, width] -> [n, width]; a `table` needs the tokens [n]."""
        return self.mixed(x, self.router(x), tokens)

    def mixed(self, x: F32, scores: F32, tokens: NDArray[np.intp] | None = None) -> F32:
        """Normalized x [n, width] and the experts' scores [n, count] -> [n, width]."""
        chosen, share = self.chosen(scores, tokens)
        inside = x if self.latent is None else self.latent[0](x)
        routes = Routes.of(chosen, len(self.experts))
        weight, rows = share.reshape(-1, 1)[routes.places], inside[routes.tokens]
        if self.how.weighs_inputs:
            rows *= weight
        made = np.empty_like(rows)
        for number, part in routes.parts:
            given = Activations(rows[part], routes.tokens[part])
            made[part] = self.experts[number](given)
        if not self.how.weighs_inputs:
            made *= weight
        y = routes.back(made)
        if self.latent is not None:
            y = self.latent[1](y)
        if self.shared is not None:
            y += self._shared(x, self.shared)
            if self.how.averaged:
                y *= np.float32(0.5)
        return y

    def _shared(self, x: F32, shared: Part) -> F32:
        y = shared(x)
        if self.shared_gate is not None:
            y *= ops.sigmoid(self.shared_gate(x))
        return y

    def chosen(
        self, scores: F32, tokens: NDArray[np.intp] | None = None
    ) -> tuple[NDArray[np.intp], F32]:
        """The chosen experts of each token and their weights: both [n, used]."""
        how = self.how
        if how.gating == "sparsemixer":
            return sparsemixer(scores, how.used)
        if how.gating == "sigmoid":
            probability = ops.sigmoid(scores)
        elif how.gating == "softmax":
            probability = ops.softmax(scores)
        elif how.gating == "sqrt_softplus":
            probability = np.sqrt(np.logaddexp(scores, np.float32(0)))
        else:
            probability = scores
        if self.table is None:
            chosen = self._best(probability)
        else:
            assert tokens is not None
            chosen = self.table[tokens].astype(np.intp)
        share = np.take_along_axis(probability, chosen, axis=-1)
        if how.gating == "softmax_of_chosen":
            share = ops.softmax(share)
        if how.normed:
            share = share / share.sum(axis=-1, keepdims=True)
        return chosen, share * np.float32(how.scale)

    def _best(self, probability: F32) -> NDArray[np.intp]:
        """The experts that the probabilities [n, experts] choose: [n, used]."""
        ranked = probability
        if self.choice_bias is not None:
            ranked = probability + self.choice_bias
        ranked = self._in_best_groups(ranked)
        return np.argsort(-ranked, axis=-1, kind="stable")[:, : self.how.used]

    def _in_best_groups(self, ranked: F32) -> F32:
        """Set the scores of experts outside the best groups to -inf.

        A group's score is the sum of its two best scores if there is a `choice_bias`
        (DeepSeek V3, arXiv:2412.19437), else its best score (V2, arXiv:2405.04434).
        """
        how = self.how
        if how.n_groups == how.groups_used:
            return ranked
        groups = ranked.reshape(len(ranked), how.n_groups, -1)
        n_best = how.group_best or (1 if self.choice_bias is None else 2)
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


def with_gating(part: Expert, gating: Gating) -> Expert:
    """An expert with another gating; one without a gate stays as it is."""
    return part if isinstance(part, Plain) else replace(part, gating=gating)


def load_feed_forward(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> Part:
    """The feed-forward part of layer `number`."""
    at, experts = f"blk.{number}.ffn", traits.experts
    if experts is not None and number >= experts.first and experts.has(number):
        return load_mixture(claims, at, facts.width, number, traits, experts)
    return load_dense(facts, claims, number, traits)


def load_dense(facts: Facts, claims: Claims, number: int, traits: Traits) -> Part:
    """The feed-forward part of layer `number`, without experts."""
    at = f"blk.{number}.ffn"
    inner = facts.inner_size(number) // traits.layout.inner_divisor
    bias = traits.layout.feed_forward_bias
    return _load_one(claims, at, "", (facts.width, inner), traits, bias)


def _load_one(
    claims: Claims,
    at: str,
    tail: str,
    sizes: tuple[int, int],
    traits: Traits,
    bias: Presence = "none",
) -> Part:
    """One feed-forward part of these sizes: its width, and the width inside."""
    width, inner = sizes
    gating = traits.layout.gate
    n_rows = 2 * inner if gating == "fused" else inner
    up = Linear.of(claims, f"{at}_up{tail}", n_rows, width, bias)
    down = Linear.of(claims, f"{at}_down{tail}", width, inner, bias)
    if gating == "none":
        return Plain(up, down, activation_named(traits.activation))
    if gating == "fused":
        gate, up = up.part(0, inner), up.part(inner, 2 * inner)
    else:
        gate = Linear.of(claims, f"{at}_gate{tail}", inner, width, bias)
    return Gated(gate, up, down, gating_named(traits.activation))


def load_mixture(
    claims: Claims,
    at: str,
    width: Size,
    number: int,
    traits: Traits,
    how: Experts,
    router: Linear | None = None,
) -> Mixture:
    """The mixture of experts of layer `number`, whose names start with `at`."""
    by_token = how.by_token(number)
    if router is None:
        router = Linear.of(claims, f"{at}_gate_inp", how.count, width, how.bias)
    shared = shared_gate = None
    if shared_size := how.shared_size(number):
        shared = _load_one(claims, at, "_shexp", (width, shared_size), traits)
    if how.shared_gate:
        shared_gate = Linear.of(claims, f"{at}_gate_inp_shexp", 1, width)
    latent = None
    if how.latent is not None:
        latent = (
            Linear.of(claims, f"{at}_latent_down", how.latent, width),
            Linear.of(claims, f"{at}_latent_up", width, how.latent),
        )
    return Mixture(
        router=router,
        how=how,
        experts=_load_experts(claims, at, how.latent or width, number, traits, how),
        choice_bias=None
        if by_token
        else claims.maybe(how.choice_bias, f"blk.{number}.exp_probs_b.bias", how.count),
        table=_table(claims, f"{at}_gate_tid2eid.weight", how) if by_token else None,
        shared=shared,
        shared_gate=shared_gate,
        latent=latent,
    )


def _table(claims: Claims, name: str, how: Experts) -> F32:
    """The experts of each token: [vocabulary, used].

    Raises:
        FormatError: the table has numbers that are no experts'.
    """
    table = claims.vector(name, how.n_tokens, how.used)
    if not ((table >= 0) & (table < max(int(how.count), 2))).all():
        raise FormatError(
            f"tensor {name!r} has numbers beyond those of {int(how.count)} experts"
        )
    return table.reshape(how.n_tokens, how.used)


def _load_experts(
    claims: Claims, at: str, width: Size, number: int, traits: Traits, how: Experts
) -> tuple[Expert, ...]:
    """The feed-forward part of each expert."""
    inner = how.size(number)

    def stack(part: str, n_rows: int, n_cols: int) -> list[Linear]:
        return _experts(claims, f"{at}_{part}_exps", how, n_rows, n_cols)

    down = stack("down", width, inner)
    if traits.layout.gate == "none":
        activation = activation_named(traits.activation)
        ups = zip(stack("up", inner, width), down, strict=True)
        return tuple(Plain(*pair, activation) for pair in ups)
    gating = gating_named(traits.activation)
    if how.joint and f"{at}_gate_up_exps.weight" in claims:
        pairs = zip(stack("gate_up", 2 * inner, width), down, strict=True)
        return tuple(Joint(*pair, gating) for pair in pairs)
    gate, up = stack("gate", inner, width), stack("up", inner, width)
    return tuple(Gated(gate[i], up[i], down[i], gating) for i in range(how.count))


def _experts(
    claims: Claims, name: str, how: Experts, n_rows: int, n_cols: int
) -> list[Linear]:
    """The linear maps [n_rows, n_cols] of all experts, stacked in one tensor."""
    matrix = claims.matrix(f"{name}.weight", how.count, n_rows, n_cols)
    bias = claims.maybe(how.bias, f"{name}.bias", how.count, n_rows)
    biases = None if bias is None else bias.reshape(how.count, n_rows)
    return [
        Linear(
            matrix.part(i * n_rows, (i + 1) * n_rows),
            None if biases is None else biases[i],
        )
        for i in range(how.count)
    ]
