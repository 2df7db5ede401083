"""Recurrent layers on every backend, against plain recurrences in double precision."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit._native import ENVIRONMENT_VARIABLE, Backend
from quantkit._native.arguments import workspace
from quantkit.errors import ShapeError
from quantkit.forward import recurrent_ops as ops
from quantkit.forward.recurrent_ops import l2_norm, softplus

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

LENGTHS = [1, 2, 5, 23, 24, 25, 70]
"""One, one more or less than a chunk has on some backend, and several chunks."""


@pytest.fixture
def backend(variant: Backend) -> Backend:
    """Every variant of the forward pass."""
    return variant


@pytest.fixture(autouse=True)
def _on(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs on each backend of this machine, in memory that held NaN."""
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, backend.name)
    workspace(1 << 20).fill(0xFF)


def normal(*shape: int, seed: int = 0) -> F32:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def between(low: float, high: float, *shape: int, seed: int = 0) -> F32:
    values = np.random.default_rng(seed).uniform(low, high, shape)
    return values.astype(np.float32)


def distance(got: F32, expected: F64) -> float:
    """The largest difference, over the largest number expected."""
    assert got.dtype == np.float32
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def delta_formula(
    q: F32, k: F32, v: Any, decay: Any, beta: F32 | None, scale: float
) -> F64:
    """Position after position, in f64."""
    n, n_heads, value_size = v.shape
    group = n_heads // k.shape[1]
    queries, keys = (np.repeat(x, group, axis=1).astype(np.float64) for x in (q, k))
    factors = np.exp(decay.astype(np.float64)).reshape(n, n_heads, -1)
    state = np.zeros((n_heads, k.shape[2], value_size))
    out = np.empty((n, n_heads, value_size))
    for i in range(n):
        state *= factors[i][..., None]
        change = v[i].astype(np.float64)
        if beta is not None:
            found = np.einsum("hkv,hk->hv", state, keys[i])
            change = beta[i][:, None].astype(np.float64) * (change - found)
        state += keys[i][..., None] * change[:, None]
        out[i] = scale * np.einsum("hkv,hk->hv", state, queries[i])
    return out


def delta_inputs(
    n: int, heads: int, key_heads: int, key: int, value: int, decay: F32, seed: int = 0
) -> tuple[F32, F32, F32, F32, F32, float]:
    """Normed queries and keys, as models have them."""
    q, k = (l2_norm(normal(n, key_heads, key, seed=seed + s), 1e-6) for s in range(2))
    v, beta = normal(n, heads, value, seed=seed + 2), between(0, 1, n, heads, seed=seed)
    return q, k, v, decay, beta, key**-0.5


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("by_component", [False, True])
def test_gated_delta_is_the_recurrence(n: int, by_component: bool) -> None:
    """Heads that share keys, a decay for each head or for each component."""
    shape = (n, 6, 20) if by_component else (n, 6)
    inputs = delta_inputs(n, 6, 2, 20, 36, between(-2, 0, *shape, seed=9))
    assert distance(ops.gated_delta(*inputs), delta_formula(*inputs)) < 1e-6


@pytest.mark.parametrize(("key", "value"), [(1, 1), (3, 5), (33, 31), (128, 128)])
@pytest.mark.parametrize("by_component", [False, True])
def test_gated_delta_of_any_size(key: int, value: int, by_component: bool) -> None:
    """Sizes that no vector and no tile divides."""
    shape = (50, 2, key) if by_component else (50, 2)
    inputs = delta_inputs(50, 2, 2, key, value, between(-0.3, 0, *shape))
    assert distance(ops.gated_delta(*inputs), delta_formula(*inputs)) < 1e-6


@pytest.mark.parametrize("decay", [0.0, -1e-3, -5.0, -80.0, -1e4, -np.inf])
@pytest.mark.parametrize("by_component", [False, True])
def test_any_decay(decay: float, by_component: bool) -> None:
    """From a state that keeps all to one that forgets all at once."""
    shape = (60, 2, 16) if by_component else (60, 2)
    inputs = delta_inputs(60, 2, 1, 16, 16, np.full(shape, decay, np.float32))
    assert distance(ops.gated_delta(*inputs), delta_formula(*inputs)) < 2e-6


@pytest.mark.parametrize("by_component", [False, True])
def test_weak_decays_between_strong_ones(by_component: bool) -> None:
    """What a strong decay leaves over does not depend on how the sums of logs round."""
    shape = (90, 2, 16) if by_component else (90, 2)
    decay = np.where(between(0, 1, *shape) < 0.2, -80, between(-0.01, 0, *shape))
    inputs = delta_inputs(90, 2, 1, 16, 16, decay.astype(np.float32))
    assert distance(ops.gated_delta(*inputs), delta_formula(*inputs)) < 1e-6


@pytest.mark.parametrize("by_component", [False, True])
def test_long_sequences_stay_exact(by_component: bool) -> None:
    """2048 positions with decays as models have them."""
    shape = (2048, 2, 32) if by_component else (2048, 2)
    inputs = delta_inputs(2048, 2, 1, 32, 32, -np.exp(between(-7, 1, *shape)))
    assert distance(ops.gated_delta(*inputs), delta_formula(*inputs)) < 2e-6


def space_formula(x: F32, dt: F32, a: F32, b: F32, c: F32, d: F32) -> F64:
    wide, steps = x.astype(np.float64), dt.astype(np.float64)
    decay = steps * a
    values = wide * steps[..., None]
    return delta_formula(c, b, values, decay, None, 1.0) + wide * d[:, None]


def space_inputs(
    n: int, heads: int, groups: int, size: int, states: int
) -> tuple[F32, ...]:
    return (
        normal(n, heads, size),
        softplus(normal(n, heads, seed=1)),
        -np.exp(normal(heads, seed=2)),
        normal(n, groups, states, seed=3),
        normal(n, groups, states, seed=4),
        normal(heads, seed=5),
    )


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize(
    ("heads", "groups", "size", "states"),
    [(6, 2, 20, 33), (4, 1, 64, 16), (3, 3, 1, 1)],
)
def test_state_space_is_the_recurrence(
    n: int, heads: int, groups: int, size: int, states: int
) -> None:
    """Heads that share b and c."""
    inputs = space_inputs(n, heads, groups, size, states)
    assert distance(ops.state_space(*inputs), space_formula(*inputs)) < 1e-6


def scan_formula(x: F32, dt: F32, a: F32, b: F32, c: F32, d: F32) -> F64:
    wide, steps = x.astype(np.float64), dt.astype(np.float64)
    state, y = np.zeros(a.shape), np.empty(x.shape)
    for i in range(len(x)):
        state *= np.exp(steps[i][:, None] * a)
        state += (wide[i] * steps[i])[:, None] * b[i]
        y[i] = state @ c[i] + d * wide[i]
    return y


def scan_inputs(n: int, channels: int, states: int) -> tuple[F32, ...]:
    return (
        normal(n, channels),
        softplus(normal(n, channels, seed=1)),
        -np.exp(normal(channels, states, seed=2)),
        normal(n, states, seed=3),
        normal(n, states, seed=4),
        normal(channels, seed=5),
    )


@pytest.mark.parametrize("n", [1, 2, 70])
@pytest.mark.parametrize(("channels", "states"), [(1, 1), (9, 16), (64, 3), (77, 16)])
def test_selective_scan_is_the_recurrence(n: int, channels: int, states: int) -> None:
    """Channels that no vector divides, and more than are held at once."""
    inputs = scan_inputs(n, channels, states)
    assert distance(ops.selective_scan(*inputs), scan_formula(*inputs)) < 1e-6


def test_long_scans_stay_exact() -> None:
    """2048 positions; strong decays, and none."""
    x, dt, a, b, c, d = scan_inputs(2048, 12, 16)
    a[:, 0], a[:, 1] = -1000, 0
    got = ops.selective_scan(x, dt, a, b, c, d)
    assert distance(got, scan_formula(x, dt, a, b, c, d)) < 2e-6


def wkv6_formula(r: F32, decay: F32, k: F32, v: F32, bonus: F32) -> F64:
    _, n_heads, value_size = v.shape
    wide = [x.astype(np.float64) for x in (r, decay, k, v)]
    state = np.zeros((n_heads, k.shape[2], value_size))
    out = np.empty(v.shape)
    for i, (r_, decay_, k_, v_) in enumerate(zip(*wide, strict=True)):
        added = k_[..., None] * v_[:, None]
        out[i] = np.einsum("hkv,hk->hv", state + bonus[..., None] * added, r_)
        state = np.exp(decay_)[..., None] * state + added
    return out


def wkv6_inputs(n: int, heads: int, key: int, value: int) -> tuple[F32, ...]:
    return (
        normal(n, heads, key),
        -np.exp(between(-6, 2, n, heads, key, seed=1)),
        normal(n, heads, key, seed=2),
        normal(n, heads, value, seed=3),
        normal(heads, key, seed=4),
    )


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize(("heads", "key", "value"), [(1, 1, 1), (2, 33, 20), (3, 8, 8)])
def test_wkv6_reads_the_state_before(n: int, heads: int, key: int, value: int) -> None:
    """What a position adds is read by itself only through the bonus."""
    inputs = wkv6_inputs(n, heads, key, value)
    assert distance(ops.wkv6(*inputs), wkv6_formula(*inputs)) < 1e-6


def wkv7_formula(r: F32, decay: F32, k: F32, v: F32, removed: F32, renewed: F32) -> F64:
    _, n_heads, value_size = v.shape
    wide = [x.astype(np.float64) for x in (r, decay, k, v, removed, renewed)]
    state = np.zeros((n_heads, k.shape[2], value_size))
    out = np.empty(v.shape)
    for i, (r_, decay_, k_, v_, from_, to) in enumerate(zip(*wide, strict=True)):
        found = np.einsum("hkv,hk->hv", state, from_)
        state = np.exp(decay_)[..., None] * state
        state += to[..., None] * found[:, None] + k_[..., None] * v_[:, None]
        out[i] = np.einsum("hkv,hk->hv", state, r_)
    return out


def wkv7_inputs(n: int, heads: int, key: int, value: int) -> tuple[F32, ...]:
    """Decays, removed keys and rates as models have them."""
    removed = l2_norm(normal(n, heads, key, seed=3), 1e-12)
    return (
        normal(n, heads, key),
        -0.606531 * between(0, 1, n, heads, key, seed=1),
        normal(n, heads, key, seed=2),
        normal(n, heads, value, seed=4),
        -removed,
        removed * between(0, 1, n, heads, key, seed=5),
    )


@pytest.mark.parametrize("n", [0, 1, 2, 70])
@pytest.mark.parametrize(
    ("heads", "key", "value"), [(1, 1, 1), (2, 33, 31), (3, 5, 70), (2, 64, 64)]
)
def test_wkv7_is_the_recurrence(n: int, heads: int, key: int, value: int) -> None:
    """Sizes that no vector and no tile divides."""
    inputs = wkv7_inputs(n, heads, key, value)
    got, expected = ops.wkv7(*inputs), wkv7_formula(*inputs)
    assert got.shape == expected.shape
    assert not n or distance(got, expected) < 1e-6


def test_long_wkv7_stays_exact() -> None:
    """2048 positions."""
    inputs = wkv7_inputs(2048, 2, 32, 32)
    assert distance(ops.wkv7(*inputs), wkv7_formula(*inputs)) < 2e-6


@pytest.mark.parametrize("n", [0, 1, 3, 50])
@pytest.mark.parametrize(("channels", "taps"), [(1, 1), (9, 3), (33, 4), (64, 7)])
def test_short_convolution_is_the_sum_of_taps(n: int, channels: int, taps: int) -> None:
    """Fewer positions than taps too; with and without bias."""
    x, weight = normal(n, channels), normal(channels, taps, seed=1)
    bias = normal(channels, seed=2)
    padded = np.concatenate([np.zeros((taps - 1, channels)), x.astype(np.float64)])
    products = [padded[t : t + n] * weight[:, t] for t in range(taps)]
    expected, size = sum(products), sum(map(np.abs, products))
    for got, sums in (
        (ops.short_convolution(x, weight), expected),
        (ops.short_convolution(x, weight, bias), expected + bias),
    ):
        assert (np.abs(got - sums) <= 2**-22 * (size + np.abs(bias))).all()


CALLS: dict[str, Callable[[int], tuple[Callable[..., F32], list[F32]]]] = {
    "gated delta": lambda n: (
        lambda q, k, v, decay, beta: ops.gated_delta(q, k, v, decay, beta, 0.3),
        list(delta_inputs(n, 2, 1, 20, 20, between(-1, 0, n, 2))[:5]),
    ),
    "gated delta by component": lambda n: (
        lambda q, k, v, decay, beta: ops.gated_delta(q, k, v, decay, beta, 0.3),
        list(delta_inputs(n, 2, 1, 20, 20, between(-1, 0, n, 2, 20))[:5]),
    ),
    "state space": lambda n: (
        lambda x, dt, b, c: ops.state_space(
            x, dt, -between(0, 2, 4), b, c, normal(4, seed=8)
        ),
        [space_inputs(n, 4, 2, 20, 20)[i] for i in (0, 1, 3, 4)],
    ),
    "selective scan": lambda n: (
        lambda x, dt, b, c: ops.selective_scan(
            x, dt, -between(0, 2, 33, 5), b, c, normal(33, seed=8)
        ),
        [scan_inputs(n, 33, 5)[i] for i in (0, 1, 3, 4)],
    ),
    "wkv6": lambda n: (
        lambda r, decay, k, v: ops.wkv6(r, decay, k, v, normal(2, 20, seed=8)),
        list(wkv6_inputs(n, 2, 20, 20)[:4]),
    ),
    "wkv7": lambda n: (ops.wkv7, list(wkv7_inputs(n, 2, 20, 20))),
    "short convolution": lambda n: (
        lambda x: ops.short_convolution(x, normal(33, 4)),
        [normal(n, 33)],
    ),
}
"""By name: an operation, and arrays whose first axis is the sequence."""


@pytest.mark.parametrize("name", CALLS)
def test_nothing_looks_ahead(name: str) -> None:
    """Later positions, finite or not, change no bit of earlier outputs."""
    run, arrays = CALLS[name](80)
    whole = run(*arrays)
    assert np.isfinite(whole).all()
    for seen in (1, 7, 24, 61):
        assert np.array_equal(run(*(x[:seen] for x in arrays)), whole[:seen])
        for later in (3, np.nan, np.inf):
            changed = [x.copy() for x in arrays]
            for x in changed:
                x[seen:] = later
            got = run(*changed)
            assert np.array_equal(got[:seen], whole[:seen])
            assert not np.array_equal(got[seen:], whole[seen:])


@pytest.mark.parametrize("name", CALLS)
def test_threads_change_nothing(name: str) -> None:
    """Each sequence is one thread's."""
    run, arrays = CALLS[name](80)
    alone = run(*arrays)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: run(*arrays), range(8)))
    assert all(np.array_equal(got, alone) for got in together)


def test_any_layout() -> None:
    """Views give what copies give."""
    q, k, v, decay, beta, scale = delta_inputs(30, 4, 2, 16, 16, between(-1, 0, 30, 4))
    expected = ops.gated_delta(q, k, v, decay, beta, scale)
    q, k, v, decay, beta = (
        np.repeat(x, 2, axis=-1)[..., ::2] for x in (q, k, v, decay, beta)
    )
    assert np.array_equal(ops.gated_delta(q, k, v, decay, beta, scale), expected)


def test_heads_that_do_not_divide() -> None:
    """Three heads of values cannot share two of keys; decays fit all or one."""
    q, v, beta = normal(4, 2, 8), normal(4, 3, 8), normal(4, 3)
    with pytest.raises(ShapeError, match="3 heads of values cannot share 2"):
        ops.gated_delta(q, q, v, beta, beta, 1.0)
    with pytest.raises(ShapeError, match="refused the sizes"):
        ops.gated_delta(v, v, v, normal(4, 3, 5), beta, 1.0)
