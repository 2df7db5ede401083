"""Compare the predictions of models with a base's without storing their logits.

The heads are applied to one tile of the vocabulary at a time; the base's logits of a
tile are compared with those of all models before the next tile.  For each model only
the maximum M of the logits so far and Z = sum of exp(l - M) are kept.  When M grows, Z
is rescaled by exp(old M - new M), so that at the end log Z + M is the logarithm of the
softmax's denominator.

With p the softmax of the base's logits b, and q that of the model's logits l,

    KL(p || q) = sum of p_i (log p_i - log q_i)
               = sum of p_i (b_i - l_i) - (log Z_b + M_b) + (log Z_l + M_l)

because the p_i sum to 1.  The first sum is S / Z_b, where S = sum of
exp(b_i - M_b) (b_i - l_i) is rescaled like Z_b.  So one pass over the tiles gives the
exact divergence, without a lower limit on probabilities.  If both models have the same
logits, S is 0 and both denominators are equal, so the divergence is exactly 0.

Logits, exp and its products are f32; sums and logarithms are f64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import active_backend, add_logits, compare_logits, new_rows
from ..by_value import ByValue
from ..errors import NonFiniteError
from ..forward.base import F32, Activations, Head

__all__ = [
    "Predictions",
    "TokenScores",
    "compare_all",
    "compare_tokens",
    "negative_log_likelihood",
    "refuse_broken",
]

F64 = NDArray[np.float64]
Targets = NDArray[np.integer[Any]]

MAX_NLL = 300
"""The largest mean for which the squared perplexity, used in errors, is finite."""

N_BEST = 5
"""The base's likeliest tokens that are kept."""

VOCABULARY_ROWS = 1024
"""Tokens in a tile, so that the logits of a tile fit in a core's L2 cache."""


@dataclass(frozen=True, eq=False)
class TokenScores(ByValue):
    """A model's scores on tokens, and its distance from the base there.

    All arrays have the same shape: [tokens], or [chunks, tokens of a chunk].

    Attributes:
        nll: f64, negative log likelihood of the actual token.
        kld: f64, KL divergence of the model's prediction from the base's.
        same_top: bool, whether both give the same token the highest probability.
        rank: uint8, how many tokens the base finds likelier than the model's most
            likely token; `N_BEST` if that many or more.
    """

    nll: F64
    kld: F64
    same_top: NDArray[np.bool_]
    rank: NDArray[np.uint8]

    @classmethod
    def of_base(cls, nll: F64) -> TokenScores:
        """The scores of the base itself."""
        same, rank = np.ones(nll.shape, np.bool_), np.zeros(nll.shape, np.uint8)
        return cls(nll, np.zeros_like(nll), same, rank)

    @classmethod
    def stacked(cls, parts: Sequence[TokenScores]) -> TokenScores:
        """Stack the scores of chunks."""
        return cls(
            np.stack([part.nll for part in parts]),
            np.stack([part.kld for part in parts]),
            np.stack([part.same_top for part in parts]),
            np.stack([part.rank for part in parts]),
        )

    def first(self, n: int) -> TokenScores:
        """The scores of the first n chunks."""
        same, rank = self.same_top[:n], self.rank[:n]
        return TokenScores(self.nll[:n], self.kld[:n], same, rank)


class _Softmax:
    """The softmax of n rows of logits, added tile by tile."""

    def __init__(self, targets: Targets) -> None:
        self.targets = np.ascontiguousarray(targets, np.int64)
        self.rows = new_rows(len(targets))

    def add(self, logits: F32, start: int) -> None:
        """Add the logits of a tile that starts at token `start`."""
        add_logits(logits, start, self.targets, self.rows, active_backend())

    def add_beside(
        self, base: _Softmax, logits: F32, base_logits: F32, start: int, excess: F64
    ) -> None:
        """Add a tile of the model's logits, the base's to `base`, and S to `excess`.

        Both models have the same targets.
        """
        rows, backend = (self.rows, base.rows), active_backend()
        compare_logits(logits, base_logits, start, self.targets, rows, excess, backend)

    @property
    def log_total(self) -> F64:
        """The logarithm of the softmax's denominator: f64 [n]."""
        highest = self.rows["highest"].astype(np.float64)
        logarithm: F64 = highest + np.log(self.rows["total"])
        return logarithm

    @property
    def nll(self) -> F64:
        """The negative log likelihood of the targets: f64 [n]."""
        nll: F64 = self.log_total - self.rows["wanted"]
        return nll


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model predicts for n tokens.

    Attributes:
        hidden: f32 [n, width], final hidden states.
        head: [vocabulary, width].
        seconds: the time to compute the hidden states.
    """

    hidden: F32
    head: Head
    seconds: float = 0.0


class _Beside:
    """A model whose logits are compared with the base's, tile by tile."""

    def __init__(self, model: Predictions, targets: Targets) -> None:
        self._head = model.head
        self._hidden = Activations(model.hidden)
        self._own, self._base = _Softmax(targets), _Softmax(targets)
        self._excess = np.zeros(len(targets), np.float64)
        self.seconds = model.seconds

    def add(self, base_logits: F32, start: int, stop: int) -> None:
        """Add the tile of tokens start..stop-1."""
        began = perf_counter()
        logits = self._head.part(start, stop).apply(self._hidden)
        self._own.add_beside(self._base, logits, base_logits, start, self._excess)
        self.seconds += perf_counter() - began

    def scores(self, best: _Best) -> TokenScores:
        """The scores, after all tiles; `best` are the base's likeliest tokens."""
        own, base = self._own, self._base
        kld = self._excess / base.rows["total"] - base.log_total + own.log_total
        same = own.rows["top"] == base.rows["top"]
        rank = np.where(same, 0, np.maximum(best.rank_of(own.rows["top"]), 1))
        return TokenScores(own.nll, kld, same, rank.astype(np.uint8))


class _Best:
    """The `N_BEST` highest logits of n rows, and their tokens."""

    def __init__(self, n: int) -> None:
        self._logits = np.full((n, N_BEST), -np.inf, np.float32)
        self._tokens = np.full((n, N_BEST), -1, np.int64)

    def add(self, logits: F32, start: int) -> None:
        """Add the logits of a tile that starts at token `start`."""
        rows = np.flatnonzero(logits.max(axis=1) > self._logits[:, -1])
        own = logits[rows]
        n = min(N_BEST, own.shape[1])
        found = np.argpartition(own, own.shape[1] - n, axis=1)[:, -n:]
        values = np.take_along_axis(own, found, axis=1)
        values = np.concatenate([self._logits[rows], values], axis=1)
        tokens = np.concatenate([self._tokens[rows], found + start], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, :N_BEST]
        self._logits[rows] = np.take_along_axis(values, order, axis=1)
        self._tokens[rows] = np.take_along_axis(tokens, order, axis=1)

    def rank_of(self, tokens: NDArray[np.int64]) -> NDArray[np.intp]:
        """The place of a token in each row, from 0; `N_BEST` if it has none."""
        is_there = self._tokens == tokens[:, None]
        rank: NDArray[np.intp] = np.where(is_there.any(1), is_there.argmax(1), N_BEST)
        return rank


def negative_log_likelihood(hidden: F32, head: Head, targets: Targets) -> F64:
    """-log softmax(hidden x head)[target] of each row.

    Args:
        hidden: [n, width].
        head: [vocabulary, width].
        targets: n token ids.

    Returns:
        [n]; NaN where the model's logits are NaN or infinite.
    """
    [(scores, _)] = compare_all(Predictions(hidden, head), [], targets)
    return scores.nll


def compare_tokens(
    hidden: F32, head: Head, base_hidden: F32, base_head: Head, targets: Targets
) -> TokenScores:
    """The scores of a model on n tokens, compared with the base.

    Args:
        hidden: [n, width], the model's final hidden states.
        head: [vocabulary, width], the model's head.
        base_hidden: [n, width of the base], the base's final hidden states.
        base_head: [vocabulary, width of the base].
        targets: n token ids.
    """
    base, model = Predictions(base_hidden, base_head), Predictions(hidden, head)
    return compare_all(base, [model], targets)[1][0]


def compare_all(
    base: Predictions, models: Sequence[Predictions], targets: Targets
) -> list[tuple[TokenScores, float]]:
    """The scores of the base and of models on n tokens, compared with the base.

    The base's head is applied once.  A model's scores do not depend on the others.

    Args:
        base: the base's predictions.
        models: the models' predictions of the same tokens.
        targets: n token ids.

    Returns:
        The scores of the base and of each model, and the seconds they took.
    """
    hidden, softmax, seconds = Activations(base.hidden), _Softmax(targets), 0.0
    beside = [_Beside(model, targets) for model in models]
    best = _Best(len(base.hidden))
    for start, stop in _tiles(base.head):
        began = perf_counter()
        logits = base.head.part(start, stop).apply(hidden)
        softmax.add(logits, start)
        if beside:
            best.add(logits, start)
        seconds += perf_counter() - began
        for each in beside:
            each.add(logits, start, stop)
    of_base = TokenScores.of_base(softmax.nll), base.seconds + seconds
    return [of_base, *((each.scores(best), each.seconds) for each in beside)]


def refuse_broken(nll: F64, who: str = "the model") -> None:
    """Refuse a model that predicts NaN, or whose perplexity would overflow.

    Args:
        nll: the negative log likelihoods of a chunk's tokens.
        who: the model's name in messages.

    Raises:
        NonFiniteError: they are NaN, or above `MAX_NLL` on average.
    """
    if np.isnan(nll).any():
        raise NonFiniteError(
            f"{who} predicts NaN: a weight is damaged, or values overflow"
        )
    if nll.mean() > MAX_NLL:
        raise NonFiniteError(
            f"{who} has a mean log likelihood of {-nll.mean():.0f} per token, so its "
            "perplexity would overflow (random guessing gives about -12); its weights "
            "or its metadata are damaged"
        )


def _tiles(head: Head) -> Iterator[tuple[int, int]]:
    n_tokens = head.shape[0]
    for start in range(0, n_tokens, VOCABULARY_ROWS):
        yield start, min(start + VOCABULARY_ROWS, n_tokens)
