"""Which candidates drop out, and which one wins, from scores whose means are known."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from quantkit.choosing.budget import Budget
from quantkit.choosing.contest import Contest, rounds
from quantkit.evaluate.likelihood import TokenScores
from quantkit.evaluate.measurement import TextResult
from quantkit.evaluate.results import Comparison
from quantkit.evaluate.summary import measurement

N_TOKENS = 4


def scores(kld: float, chunks: int, noise: float, seed: int) -> TokenScores:
    """Tokens whose divergence has about this mean, and whose likelihood falls by it."""
    steps = np.random.default_rng(seed).standard_normal((chunks, N_TOKENS))
    divergence = np.maximum(kld + noise * steps, 0.0)
    same, rank = np.ones(divergence.shape, bool), np.zeros(divergence.shape, np.uint8)
    return TokenScores(1 + divergence, divergence, same, rank)


def compared(
    klds: Mapping[str, float], chunks: int = 16, noise: float = 0.0001
) -> Comparison:
    """A comparison whose rows have these divergences."""
    shape = chunks, N_TOKENS
    base = TokenScores.of_base(np.ones(shape))
    rows = {"F16": base} | {
        name: scores(kld, chunks, noise, seed)
        for seed, (name, kld) in enumerate(klds.items())
    }
    made = [
        measurement(_entry(name), each, base, 1.0, None) for name, each in rows.items()
    ]
    text = TextResult("text", chunks, made[0], made[1:])
    scored = {name: [each] for name, each in rows.items()}
    return Comparison(
        *("model", "text", N_TOKENS, chunks, None, "f32", made[0], made[1:], [text]),
        scored,
    )


def _entry(name: str) -> Any:
    return SimpleNamespace(name=name, type="Q4_0", size_bytes=1, bpw=4.0)


def contest(budget: Budget, sizes: Mapping[str, int], fits: int = 10**9) -> Contest:
    fitting = frozenset(name for name, size in sizes.items() if size <= fits)
    return Contest(budget, dict(sizes), fitting)


SIZES = {"A": 10, "B": 20, "C": 30, "D": 40}


def test_of_those_that_fit_the_least_divergence_wins() -> None:
    result = compared({"A": 0.4, "B": 0.1, "C": 0.2, "D": 0.01})
    held = contest(Budget(max_size=35), SIZES, fits=35)
    held.judge(result)
    assert held.standing == ["B"]
    assert held.winner(result) == "B"
    assert held.out == {"A": "beaten by B", "C": "beaten by B"}


def test_of_those_alike_the_smaller_one_wins() -> None:
    result = compared({"A": 0.4, "B": 0.1001, "C": 0.1}, noise=0.05)
    held = contest(Budget(max_size=35), {k: SIZES[k] for k in "ABC"})
    held.judge(result)
    assert held.standing == ["B", "C"]
    assert held.winner(result) == "B"


def test_without_a_limit_of_loss_none_loses_too_much() -> None:
    """What stays to the end is worse than the best, or alike, whatever its size."""
    klds = {"A": 0.1018, "B": 0.1001, "C": 0.1, "D": 0.1001}
    result = compared(klds, noise=0.005)
    held = contest(Budget(max_size=35), {"A": 10, "B": 20, "C": 20, "D": 30})
    held.judge(result)
    assert not held.out
    assert 0.01 < result.versus("A", "B").kld_p_value < 0.05
    assert held.winner(result) == "B"
    alike = "no better by more than chance"
    assert held.outcomes(result) == {"A": "beaten by B", "C": alike, "D": alike}


def test_the_smallest_that_keeps_a_limit_of_loss_wins() -> None:
    result = compared({"A": 0.4, "B": 0.04, "C": 0.02, "D": 0.01})
    held = contest(Budget(max_kld=0.03), SIZES)
    held.judge(result)
    assert held.out == {
        "A": "loses too much",
        "B": "loses too much",
        "D": "C is enough",
    }
    assert held.winner(result) == "C"


def test_a_limit_that_is_kept_by_chance_is_not_kept() -> None:
    result = compared({"A": 0.0299, "B": 0.02}, noise=0.02)
    held = contest(Budget(max_kld=0.03), {"A": 10, "B": 20})
    held.judge(result)
    assert "A" in held.standing
    assert held.winner(result) == "B"
    assert held.outcomes(result) == {"A": "may lose too much"}


def test_perplexity_is_limited_by_the_ratio() -> None:
    klds = {"A": np.log(1.02), "B": np.log(1.005)}
    result = compared(klds)
    held = contest(Budget(max_ppl_loss=0.01), {"A": 10, "B": 20})
    held.judge(result)
    assert held.out == {"A": "loses too much"}
    assert held.winner(result) == "B"


def test_both_kinds_of_limits_hold() -> None:
    result = compared({"A": 0.05, "B": 0.04, "C": 0.001})
    held = contest(Budget(max_size=25, max_kld=0.03), {k: SIZES[k] for k in "ABC"}, 25)
    held.judge(result)
    assert held.standing == []
    assert held.winner(result) is None


def test_a_twin_of_the_same_size_and_loss_does_not_drop_out() -> None:
    result = compared({"A": 0.1, "B": 0.1}, noise=0)
    held = contest(Budget(max_size=35), {"A": 10, "B": 10})
    held.judge(result)
    assert held.standing == ["A", "B"]
    assert held.winner(result) == "A"


@pytest.mark.parametrize("n", [*range(1, 20), 64, 1000])
def test_rounds_grow_to_the_whole_text(n: int) -> None:
    counts = rounds(n)
    assert counts[-1] == n
    assert counts == sorted(set(counts))
    assert counts[0] >= min(4, n)


@pytest.mark.parametrize("seed", range(20))
def test_what_drops_out_early_would_not_have_won(seed: int) -> None:
    """Halving gives the answer of measuring everything, on clear differences."""
    rng = np.random.default_rng(seed)
    names = [f"T{i}" for i in range(12)]
    klds = {
        name: float(k) for name, k in zip(names, rng.permutation(12) + 1, strict=True)
    }
    sizes = {
        name: int(size)
        for name, size in zip(names, rng.integers(1, 50, 12), strict=True)
    }
    budget = Budget(max_size=30) if seed % 2 else Budget(max_kld=6.5)
    fits = 30 if seed % 2 else 50
    full = contest(budget, sizes, fits)
    whole = compared(klds, 32, noise=0.1)
    full.judge(whole)
    halved = contest(budget, sizes, fits)
    for n in rounds(32):
        halved.judge(_first(whole, n, klds))
    assert halved.winner(whole) == full.winner(whole)


def _first(whole: Comparison, n: int, klds: Mapping[str, float]) -> Comparison:
    """The comparison after n chunks."""
    base = whole.scores["F16"][0].first(n)
    made = [
        measurement(_entry(name), whole.scores[name][0].first(n), base, 1.0, None)
        for name in ("F16", *klds)
    ]
    text = TextResult("text", n, made[0], made[1:])
    cut = {name: [each[0].first(n)] for name, each in whole.scores.items()}
    return Comparison(
        *("model", "text", N_TOKENS, n, None, "f32", made[0], made[1:], [text]),
        cast(Any, cut),
    )
