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

from ..by_value import ByValue
from ..errors import NonFiniteError
from ..forward.base import F32, Activations, Head
from .best import Best
from .softmax import Excess, Softmax

__all__ = [
    "Predictions",
    "Targets",
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

VOCABULARY_ROWS = 1024
"""Tokens in a tile, so that the logits of a tile fit in a core's L2 cache."""

VOCABULARY_ROWS_OF_DEVICES = 16384
"""Tokens in a tile, so that a product keeps a device busy."""


@dataclass(frozen=True, eq=False)
class TokenScores(ByValue):
    """A model's scores on tokens, and its distance from the base there.

    All arrays have the same shape: [tokens], or [chunks, tokens of a chunk].

    Attributes:
        nll: f64, negative log likelihood of the actual token.
        kld: f64, KL divergence of the model's prediction from the base's.
        same_top: bool, whether both give the same token the highest probability.
        rank: uint8, how many tokens the base finds likelier than the model's most
            likely token; `N_BEST` (5) if that many or more.
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

    def split(self, n: int) -> list[TokenScores]:
        """The scores of n chunks of as many tokens, one after the other."""
        arrays = self.nll, self.kld, self.same_top, self.rank
        parts = zip(*(np.split(each, n) for each in arrays), strict=True)
        return [TokenScores(*part) for part in parts]

    def first(self, n: int) -> TokenScores:
        """The scores of the first n chunks."""
        same, rank = self.same_top[:n], self.rank[:n]
        return TokenScores(self.nll[:n], self.kld[:n], same, rank)


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model predicts for n tokens.

    Attributes:
        hidden: f32 [n, width], final hidden states, where the head computes.
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
        self._own, self._base = Softmax(targets), Softmax(targets)
        self._excess = Excess(len(targets))
        self.seconds = model.seconds

    def add(self, base_logits: F32, start: int, stop: int) -> None:
        """Add the tile of tokens start..stop-1."""
        began = perf_counter()
        logits = self._head.part(start, stop).apply(self._hidden)
        self._own.add_beside(self._base, logits, base_logits, start, self._excess)
        self.seconds += perf_counter() - began

    def scores(self, best: Best) -> TokenScores:
        """The scores, after all tiles; `best` are the base's likeliest tokens."""
        own, base = self._own.found(), self._base.found()
        kld = self._excess.found() / base.total - base.log_total + own.log_total
        same = own.top == base.top
        rank = np.where(same, 0, np.maximum(best.rank_of(own.top), 1))
        return TokenScores(own.nll, kld, same, rank.astype(np.uint8))


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
    hidden, softmax, seconds = Activations(base.hidden), Softmax(targets), 0.0
    beside = [_Beside(model, targets) for model in models]
    best = Best(len(base.hidden))
    for start, stop in _tiles(base):
        began = perf_counter()
        logits = base.head.part(start, stop).apply(hidden)
        softmax.add(logits, start)
        if beside:
            best.add(logits, start)
        seconds += perf_counter() - began
        for each in beside:
            each.add(logits, start, stop)
    of_base = TokenScores.of_base(softmax.found().nll), base.seconds + seconds
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


def _tiles(base: Predictions) -> Iterator[tuple[int, int]]:
    n_tokens = base.head.shape[0]
    is_on_host = isinstance(base.hidden, np.ndarray)
    size = VOCABULARY_ROWS if is_on_host else VOCABULARY_ROWS_OF_DEVICES
    for start in range(0, n_tokens, size):
        yield start, min(start + size, n_tokens)
