"""Native attention on every backend, against the formula in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit._native import Backend, attend, index_scores
from quantkit._native.arguments import workspace
from quantkit.errors import ShapeError
from quantkit.forward import ops

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@pytest.fixture
def backend(variant: Backend) -> Backend:
    """Every variant of the forward pass."""
    return variant


def normal(*shape: int, seed: int = 0) -> F32:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def formula(
    q: F32,
    k: F32,
    v: F32,
    window: int | None = None,
    cap: float | None = None,
    slopes: F32 | None = None,
    sinks: F32 | None = None,
) -> F64:
    """Every head alone, all scores at once, in f64: [n, heads, value size]."""
    n, n_heads, size = q.shape
    group = n_heads // k.shape[1]
    heads = []
    for h in range(n_heads):
        scores = q[:, h].astype(np.float64) @ k[:, h // group].T / np.sqrt(size)
        if cap:
            scores = cap * np.tanh(scores / cap)
        distance = np.arange(n)[:, None] - np.arange(n)
        if slopes is not None:
            scores -= slopes[h] * distance
        scores[(distance < 0) | (distance >= (window or n))] = -np.inf
        if sinks is not None:
            scores = np.append(scores, np.full((n, 1), sinks[h]), axis=1)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        heads.append(weights[:, :n] @ v[:, h // group])
    return np.stack(heads, axis=1)


def masked_formula(q: F32, k: F32, v: F32, mask: Any, sinks: F32 | None) -> F64:
    """Each query over the keys that its mask leaves: [n, heads, value size]."""
    out = np.zeros((*q.shape[:2], v.shape[-1]))
    for i, h in np.ndindex(q.shape[:2]):
        kv_head = h * k.shape[1] // q.shape[1]
        seen = np.flatnonzero(mask[kv_head % len(mask), i])
        scores = q[i, h].astype(np.float64) @ k[seen, kv_head].T / np.sqrt(q.shape[-1])
        rest = -np.inf if sinks is None else float(sinks[h])
        highest = max(scores.max(initial=-np.inf), rest)
        weights = np.exp(scores - highest)
        total = weights.sum() + np.exp(rest - highest)
        out[i, h] = weights @ v[seen, kv_head] / total
    return out


def assert_near(got: F32, expected: F64, q: F32, k: F32, v: F32) -> None:
    """Within what f32 scores of their size can do to the outputs: some roundings."""
    score = np.linalg.norm(q, axis=-1).max() * np.linalg.norm(k, axis=-1).max()
    largest = 1 + score / np.sqrt(q.shape[-1])
    assert np.abs(got - expected).max() < 2 * 2**-24 * largest * np.abs(v).max()


def attended(backend: Backend, q: F32, k: F32, v: F32, **options: Any) -> F32:
    """What the core gives in memory that held something else before."""
    workspace(1 << 16).fill(0xFF)  # floats that are NaN
    return attend(q, k, v, q.shape[-1] ** -0.5, backend, **options)


@pytest.mark.parametrize("n", [1, 5, 31, 32, 33, 241, 500])
@pytest.mark.parametrize(("heads", "kv_heads"), [(3, 3), (6, 2), (4, 1)])
def test_attention_is_the_formula(
    backend: Backend, n: int, heads: int, kv_heads: int
) -> None:
    """Tiles of queries, steps of keys and groups of heads change nothing."""
    q = 3 * normal(n, heads, 16)
    k, v = normal(n, kv_heads, 16, seed=1), normal(n, kv_heads, 16, seed=2)
    got = attended(backend, q, k, v)
    assert_near(got, formula(q, k, v), q, k, v)


@pytest.mark.parametrize(
    ("key_size", "value_size"), [(1, 1), (7, 3), (64, 64), (80, 96), (192, 128)]
)
def test_any_size_of_head(backend: Backend, key_size: int, value_size: int) -> None:
    """Sizes that no vector divides, and keys longer than values."""
    q, k = normal(70, 4, key_size), normal(70, 2, key_size, seed=1)
    v = normal(70, 2, value_size, seed=2)
    assert_near(attended(backend, q, k, v), formula(q, k, v), q, k, v)


@pytest.mark.parametrize("n", [158, 530])
@pytest.mark.parametrize(
    "options",
    [
        {"window": 1},
        {"window": 9},
        {"window": 300},
        {"cap": 3.0},
        {"slopes": np.array([0.5, 0.25, 0.1, 0.01], np.float32)},
        {"sinks": np.array([-1, 0, 2, 50], np.float32)},
        {
            "window": 40,
            "cap": 3.0,
            "slopes": np.array([0, 0.25, 0.1, 0.01], np.float32),
            "sinks": np.array([-1, 0, 2, 5], np.float32),
        },
    ],
    ids=lambda options: "-".join(options),
)
def test_options_are_the_formula(
    backend: Backend, n: int, options: dict[str, Any]
) -> None:
    """Windows, caps, slopes and sinks, over more than one step of keys."""
    q = 3 * normal(n, 4, 16)
    k, v = normal(n, 2, 16, seed=1), normal(n, 2, 8, seed=2)
    got = attended(backend, q, k, v, **options)
    assert_near(got, formula(q, k, v, **options), q, k, v)


@pytest.mark.parametrize("n", [1, 35, 158])
@pytest.mark.parametrize("n_keys", [1, 50, 700])
@pytest.mark.parametrize("n_masks", [1, 2])
def test_any_mask(backend: Backend, n: int, n_keys: int, n_masks: int) -> None:
    """Keys in any order and number; one of them each query sees."""
    rng = np.random.default_rng(n)
    mask = rng.random((n_masks, n, n_keys)) < 0.02
    mask[:, np.arange(n), rng.integers(0, n_keys, n)] = True
    q, k = 3 * normal(n, 4, 16), normal(n_keys, 2, 16, seed=1)
    v = normal(n_keys, 2, 9, seed=2)
    got = attended(backend, q, k, v, mask=mask)
    assert_near(got, masked_formula(q, k, v, mask, None), q, k, v)


def test_a_query_that_sees_no_key_has_its_sink(backend: Backend) -> None:
    """Then the output is 0, since a sink has no value."""
    q, k, v = normal(70, 4, 8), normal(500, 2, 8, seed=1), normal(500, 2, 8, seed=2)
    mask, sinks = np.zeros((1, 70, 500), bool), normal(4, seed=3)
    mask[0, 1::2, ::7] = True
    got = attended(backend, q, k, v, mask=mask, sinks=sinks)
    assert not got[::2].any()
    assert_near(got, masked_formula(q, k, v, mask, sinks), q, k, v)


def test_a_mask_can_say_what_order_does(backend: Backend) -> None:
    """To the bit."""
    q, k, v = normal(300, 2, 8), normal(300, 2, 8, seed=1), normal(300, 2, 8, seed=2)
    mask = np.tri(300, dtype=bool)[None]
    causal = attended(backend, q, k, v)
    assert np.array_equal(attended(backend, q, k, v, mask=mask), causal)


@pytest.mark.parametrize("rectified", [True, False])
@pytest.mark.parametrize(
    ("n", "n_keys", "heads", "size"), [(1, 1, 1, 1), (45, 70, 3, 16), (70, 1000, 4, 9)]
)
def test_index_scores_are_the_formula(
    backend: Backend, n: int, n_keys: int, heads: int, size: int, rectified: bool
) -> None:
    """Tiles of queries and steps of keys change nothing."""
    q, k, weights = normal(n, heads, size), normal(n_keys, size), normal(n, heads)
    products = np.einsum("nhs,ks->nhk", q.astype(np.float64), k)
    if rectified:
        products = np.maximum(products, 0)
    expected = np.einsum("nh,nhk->nk", weights, products)
    workspace(1 << 16).fill(0xFF)
    got = index_scores(q, k, weights, backend, rectified=rectified)
    largest = np.linalg.norm(q, axis=-1).max() * np.linalg.norm(k, axis=-1).max()
    bound = 4 * 2**-24 * heads * largest * np.abs(weights).max()
    assert np.abs(got - expected).max() < bound


def test_more_keys_than_queries_need_a_mask() -> None:
    """Without one, it is not known which keys come before a query."""
    with pytest.raises(ShapeError, match="4 queries and 5 keys"):
        ops.attention(normal(4, 2, 8), normal(5, 2, 8), normal(5, 2, 8))


def test_scores_far_apart(backend: Backend) -> None:
    """The maximum score may grow by any amount between any two steps."""
    n = 400
    q, k, v = 1000 * normal(n, 2, 8), normal(n, 1, 8, seed=1), normal(n, 1, 8, seed=2)
    got = attended(backend, q, k, v)
    assert_near(got, formula(q, k, v), q, k, v)


def test_attention_never_looks_ahead(backend: Backend) -> None:
    """Later keys and values change no bit of earlier outputs."""
    n, seen = 200, 150
    q, k, v = (normal(n, 2, 8, seed=s) for s in range(3))
    before = attended(backend, q, k, v)
    k[seen:], v[seen:] = 50.0, 7.0
    after = attended(backend, q, k, v)
    assert np.array_equal(before[:seen], after[:seen])
    assert not np.allclose(before[seen:], after[seen:])


def test_nan_stays_where_it_is(backend: Backend) -> None:
    """A NaN query gives NaN for itself only."""
    q, k, v = (normal(60, 2, 8, seed=s) for s in range(3))
    q[17, 1] = np.nan
    is_nan = np.isnan(attended(backend, q, k, v))
    assert is_nan[17, 1].all()
    assert is_nan.sum() == 8


def test_ops_take_any_layout() -> None:
    """Views and a scale; heads side by side in what comes out."""
    q, k, v = normal(40, 8, 4)[..., ::2], normal(40, 2, 2), normal(40, 4, 2)[:, ::2]
    got = ops.attention(q.swapaxes(1, 2).swapaxes(1, 2), k, v, scale=2**-0.5)
    assert got.shape == (40, 16)
    assert_near(got, formula(q, k, v).reshape(40, -1), q, k, v)


def test_heads_that_do_not_divide() -> None:
    """Three heads of queries cannot share two of keys."""
    with pytest.raises(ShapeError, match="3 heads of queries cannot share 2"):
        ops.attention(normal(4, 3, 8), normal(4, 2, 8), normal(4, 2, 8))
