"""The operations of the forward pass on a device, against those of the core.

The host build runs the kernels of the CUDA library in main memory; with `-m gpu` they
run on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit import _device, _native
from quantkit._native import Backend, Function, backends
from quantkit.errors import QuantkitError, ShapeError

from .device_arrays import GPU, Kind, gpu_arrays
from .host_library import host_library as host_library
from .strict_arrays import StrictArray, strict
from .test_attention import assert_near, formula, masked_formula
from .test_recurrent import delta_formula, delta_inputs, distance

F32 = NDArray[np.float32]


@pytest.fixture(params=["strict", pytest.param("cupy", marks=GPU)])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Kind:
    """The arrays of the host build, or CuPy's."""
    if request.param == "cupy":
        return gpu_arrays("cupy")
    library = request.getfixturevalue("host_library")
    monkeypatch.setenv(_device.LIBRARY_VARIABLE, str(library))
    return Kind("strict", StrictArray, strict, StrictArray.get)


@pytest.fixture(
    params=["reversed", *(pytest.param(n, marks=pytest.mark.slow) for n in ("", "1"))]
)
def order(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of a block in several orders: what is between barriers may run in any.

    All other tests have the usual order.
    """
    monkeypatch.setenv("QKC_HOST_ORDER", request.param)


def fused() -> Backend:
    """A backend with fused multiply-adds, as devices have them."""
    for backend in backends():
        ops = backend.ops or ""
        if ops.startswith(("avx512", "avx2_fma", "neon")):
            return backend
    pytest.skip("no backend of this machine has fused multiply-adds")


def there(kind: Kind, given: Any) -> Any:
    """Arrays on the device, and all else as it is."""
    if isinstance(given, dict):
        return {name: there(kind, each) for name, each in given.items()}
    return kind.there(given) if isinstance(given, np.ndarray) else given


def on_device(kind: Kind, name: str, *given: Any, **how: Any) -> Any:
    """The result of an operation on the device, in main memory."""
    run = getattr(_device, name)
    return kind.here(run(*(there(kind, each) for each in given), **there(kind, how)))


def on_core(name: str, *given: Any, **how: Any) -> Any:
    return getattr(_native, name)(*given, backend=fused(), **how)


def assert_same(got: np.ndarray, expected: np.ndarray) -> None:
    """The same bits, save that NaN is NaN."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got, expected)
    assert (np.signbit(got) == np.signbit(expected))[~np.isnan(expected)].all()


def normal(*shape: int, seed: int = 0) -> F32:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


LARGE = [0.625, 0.9, 4, 7, 87.2, 87.4, 88.2, 88.4, 104, 3e38, np.inf]
SMALL = [0.0, 1e-45, 1e-38, 1e-4]
SIZES = np.array([np.nan, *LARGE, *SMALL], np.float32)
SPECIAL = np.concatenate([SIZES, -SIZES])


# ---- the same bits as the core's ----


def numbers(n: int) -> F32:
    """Numbers of all sizes, and special ones."""
    x = normal(n, seed=n) * np.float32(10) ** np.arange(n).__mod__(5).astype(np.float32)
    x[: len(SPECIAL)] = SPECIAL[:n]
    return x.astype(np.float32)


@pytest.mark.parametrize("function", list(Function))
def test_functions_are_those_of_the_core(kind: Kind, function: Function) -> None:
    """By one and by four numbers at a time, times others, in place."""
    for n, start in ((1, 0), (261, 0), (264, 0), (263, 1)):
        x, up = numbers(n + start), normal(n + start)
        for factor in (None, up):
            expected = np.empty(n, np.float32)
            part = None if factor is None else factor[start:].copy()
            on_core("activate", function, x[start:].copy(), part, expected)
            given = kind.there(x)
            own = given[start:]
            other = None if factor is None else kind.there(factor)[start:]
            _device.activate(function, own, other, own)
            assert_same(kind.here(own), expected)
            assert_same(kind.here(given)[:start], x[:start])


def test_gates_and_caps_are_those_of_the_core(kind: Kind) -> None:
    """Clamped gates, and soft caps."""
    for n in (1, 261, 264):
        x, up = numbers(n), numbers(n)[::-1].copy()
        for name, extra in (("swiglu_clamped", up), ("soft_cap", 30.0)):
            expected, made = np.empty_like(x), kind.there(np.empty_like(x))
            on_core(name, x, extra, expected)
            getattr(_device, name)(kind.there(x), there(kind, extra), made)
            assert_same(kind.here(made), expected)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotations_are_products(kind: Kind, interleaved: bool) -> None:
    """Of heads in a larger array, by position and by head; rounded after each step."""
    turns = np.exp(1j * normal(5, 9)).astype(np.complex64)
    cos, sin = turns.real[:, None], turns.imag[:, None]
    first, second = slice(0, 18, 2), slice(1, 18, 2)
    if not interleaved:
        first, second = slice(0, 9), slice(9, 18)
    for axes in ((0, 1, 2), (1, 0, 2)):
        whole = normal(*(5, 4, 23) if axes[0] == 0 else (4, 5, 23))
        made = kind.there(whole)
        x = made.transpose(axes)[:, 1:, 2:22]
        _device.rotate(x, kind.there(turns), interleaved=interleaved)
        expected = whole.transpose(axes)[:, 1:, 2:22]
        a, b = expected[..., first].copy(), expected[..., second].copy()
        expected[..., first] = a * cos - b * sin
        expected[..., second] = a * sin + b * cos
        assert_same(kind.here(made), whole)


@pytest.mark.parametrize("bias", [None, normal(37)])
def test_convolutions_are_those_of_the_core(kind: Kind, bias: F32 | None) -> None:
    """More and fewer taps than positions."""
    for n, taps in ((1, 1), (3, 4), (41, 4)):
        given = normal(n, 37), normal(taps, 37), bias
        got = on_device(kind, "short_convolution", *given)
        assert_same(got, on_core("short_convolution", *given))


@pytest.mark.parametrize("rectified", [False, True])
def test_index_scores_are_those_of_the_core(
    kind: Kind, order: None, rectified: bool
) -> None:
    """Sums go component by component and head by head, as there."""
    for n, n_keys, heads, size in ((1, 1, 1, 1), (65, 70, 3, 33), (30, 130, 2, 64)):
        given = normal(n, heads, size), normal(n_keys, size), normal(n, heads)
        got = on_device(kind, "index_scores", *given, rectified=rectified)
        assert_same(got, on_core("index_scores", *given, rectified=rectified))


# ---- within rounding errors of the formula ----


@pytest.mark.parametrize("width", [1, 64, 130, 1023, 1024, 2500])
@pytest.mark.parametrize("centered", [False, True])
def test_norms(kind: Kind, order: None, width: int, centered: bool) -> None:
    """Sums are in double precision, so only the last bit of the scale may differ.

    That is one rounding of the result before the bias is added.
    """
    for weight, bias in ((None, None), (normal(3, width), normal(3, width, seed=1))):
        x = normal(5, 3, width, seed=2) + np.float32(100 * centered)
        given = x, weight, bias, 1e-5
        got = on_device(kind, "norm_rows", *given, centered=centered)
        expected = on_core("norm_rows", *given, centered=centered)
        assert got.shape == expected.shape
        scaled = np.abs(expected if bias is None else expected - bias)
        assert (np.abs(got - expected) <= 2**-22 * (scaled + np.abs(expected))).all()


def attended(kind: Kind, q: F32, k: F32, v: F32, **how: Any) -> F32:
    return on_device(kind, "attend", q, k, v, q.shape[-1] ** -0.5, **how)


@pytest.mark.parametrize(
    ("n", "heads", "kv_heads", "key", "value"),
    [(1, 1, 1, 1, 1), (65, 4, 2, 20, 36), (130, 2, 1, 64, 130), (70, 1, 1, 33, 260)],
)
def test_attention(
    kind: Kind, order: None, n: int, heads: int, kv_heads: int, key: int, value: int
) -> None:
    """All sizes of tiles; values in one part and in two."""
    q, k = normal(n, heads, key), normal(n, kv_heads, key, seed=1)
    v = normal(n, kv_heads, value, seed=2)
    assert_near(attended(kind, q, k, v), formula(q, k, v), q, k, v)


OPTIONS: dict[str, dict[str, Any]] = {
    "window": {"window": 7},
    "long window": {"window": 100},
    "cap": {"cap": 5.0},
    "slopes": {"slopes": np.array([0.5, 0.25, 0.1, 0.0], np.float32)},
    "sinks": {"sinks": np.array([2.0, -1.0, 0.0, 50.0], np.float32)},
}
OPTIONS["all"] = {k: v for options in OPTIONS.values() for k, v in options.items()}


@pytest.mark.parametrize("name", list(OPTIONS))
def test_options_of_attention(kind: Kind, name: str) -> None:
    """Windows within and beyond a tile, caps, ALiBi, sinks."""
    q, k, v = normal(150, 4, 16), normal(150, 2, 16, seed=1), normal(150, 2, 24, seed=2)
    got = attended(kind, q, k, v, **OPTIONS[name])
    assert_near(got, formula(q, k, v, **OPTIONS[name]), q, k, v)


@pytest.mark.parametrize(("n", "n_keys", "n_masks"), [(70, 70, 1), (3, 200, 2)])
def test_masks_of_attention(kind: Kind, n: int, n_keys: int, n_masks: int) -> None:
    """A query that sees nothing has NaN, or its sink; whole tiles may be unseen."""
    q, k = normal(n, 4, 16), normal(n_keys, 2, 16, seed=1)
    v, sinks = normal(n_keys, 2, 24, seed=2), normal(4)
    mask = np.random.default_rng(3).random((n_masks, n, n_keys)) < 0.3
    mask[..., 64:128] = False
    mask[:, 1] = False
    got = attended(kind, q, k, v, mask=mask)
    assert np.isnan(got[1]).all()
    seen = np.arange(n) != 1
    expected = masked_formula(q[seen], k, v, mask[:, seen], None)
    assert_near(got[seen], expected, q, k, v)
    got = attended(kind, q, k, v, mask=mask, sinks=sinks)
    assert (got[1] == 0).all()
    assert_near(got, masked_formula(q, k, v, mask, sinks), q, k, v)


def test_nan_stays_where_it_is(kind: Kind) -> None:
    """In the outputs of its own query, and of all that see its key."""
    q, k, v = (normal(70, 2, 16, seed=seed) for seed in range(3))
    q[3] = np.nan
    assert (np.isnan(attended(kind, q, k, v)).any((1, 2)) == (np.arange(70) == 3)).all()
    k[66] = np.nan
    broken = np.isnan(attended(kind, q, k, v)).any((1, 2))
    assert broken.tolist() == [i == 3 or i >= 66 for i in range(70)]


@pytest.mark.parametrize("decays", ["of heads", "of components"])
@pytest.mark.parametrize(
    ("n", "key", "value"), [(1, 1, 1), (40, 20, 36), (70, 100, 33), (9, 200, 40)]
)
def test_delta_rule(
    kind: Kind, order: None, decays: str, n: int, key: int, value: int
) -> None:
    """Every division of the keys but the largest, and heads that share keys."""
    size = 1 if decays == "of heads" else key
    decay = -np.abs(normal(n, 4, size, seed=9))
    q, k, v, decay, beta, scale = delta_inputs(n, 4, 2, key, value, decay)
    got = on_device(kind, "recur", q, k, v, decay, beta, scale)
    assert distance(got, delta_formula(q, k, v, decay, beta, scale)) < 1e-6
    got = on_device(kind, "recur", q, k, v, decay, None, scale)
    assert distance(got, delta_formula(q, k, v, decay, None, scale)) < 1e-6


def test_keys_of_most_components(kind: Kind) -> None:
    """Beyond them a recurrence is refused."""
    n, heads, key, value = 5, 1, 1024, 9
    given = delta_inputs(n, heads, 1, key, value, -np.abs(normal(n, heads, 1)))
    got = on_device(kind, "recur", *given)
    assert distance(got, delta_formula(*given)) < 1e-6
    given = delta_inputs(n, heads, 1, key + 1, value, -np.abs(normal(n, heads, 1)))
    with pytest.raises(
        ShapeError, match=r"qkc_recur refused the sizes of a recurrence"
    ):
        on_device(kind, "recur", *given)


@pytest.mark.parametrize(
    ("n", "channels", "states"), [(1, 1, 1), (40, 35, 16), (33, 3, 21)]
)
def test_scan(kind: Kind, order: None, n: int, channels: int, states: int) -> None:
    """As the core's; states in one part and in two.

    A sum of `states` terms has at most that many roundings of the terms' sizes, and a
    state has three for each position that it remembers.
    """
    x, dt = normal(n, channels), np.abs(normal(n, channels, seed=1))
    a, b, c = -np.abs(normal(channels, states)), normal(n, states), normal(n, states)
    given = x, dt, a, b, c, normal(channels)
    got, expected = (
        run("selective_scan", *given) for run in (on_core, partial(on_device, kind))
    )
    terms = on_core("selective_scan", *map(np.abs, (x, dt)), a, *map(np.abs, given[3:]))
    assert (np.abs(got - expected) <= (states + 3 * n) * 2**-24 * terms).all()


@pytest.mark.parametrize(
    ("n", "heads", "key", "value"), [(1, 1, 1, 1), (40, 2, 64, 70), (20, 1, 130, 33)]
)
def test_wkv7(
    kind: Kind, order: None, n: int, heads: int, key: int, value: int
) -> None:
    """Keys of length 1, which are removed by a rate: as the core's."""
    k = normal(n, heads, key, seed=1)
    k /= np.linalg.norm(k, axis=-1, keepdims=True)
    rate = np.random.default_rng(2).random(k.shape, np.float32)
    given = (
        normal(n, heads, key),
        -rate,
        k,
        normal(n, heads, value, seed=3),
        -k,
        k * rate,
    )
    got, expected = on_device(kind, "wkv7", *given), on_core("wkv7", *given)
    assert distance(got, expected.astype(np.float64)) < 2e-6


@pytest.mark.slow
@pytest.mark.parametrize("mask", [False, True])
def test_attention_of_large_heads(kind: Kind, mask: bool) -> None:
    """Keys and values of latent attention, many tiles, some of them unseen."""
    q, k = normal(520, 2, 576), normal(520, 1, 576, seed=1)
    v = normal(520, 1, 512, seed=2)
    if not mask:
        assert_near(attended(kind, q, k, v), formula(q, k, v), q, k, v)
        return
    seen = np.tri(520, dtype=bool)[None] & (np.arange(520) // 64 % 2 == 0)
    got = attended(kind, q, k, v, mask=seen)
    assert_near(got, masked_formula(q, k, v, seen, None), q, k, v)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 64])
def test_long_sequences_stay_exact(kind: Kind, size: int) -> None:
    """2048 positions with decays as models have them."""
    decay = -np.exp(np.random.default_rng(5).uniform(-7, 1, (2048, 2, size)))
    given = delta_inputs(2048, 2, 1, 64, 64, decay.astype(np.float32))
    got = on_device(kind, "recur", *given)
    assert distance(got, delta_formula(*given)) < 2e-6


# ---- what is refused ----


REFUSED: dict[str, Callable[[Kind], Any]] = {
    "out of a device call is of type ndarray": lambda kind: _device.soft_cap(
        kind.there(normal(3)), 1.0, normal(3)
    ),
    "weight of a device call is float32 .4.; expected float32 .3.": lambda kind: (
        on_device(kind, "norm_rows", normal(2, 3), normal(4), None, 1e-5, centered=True)
    ),
    "3 heads of queries cannot share 2": lambda kind: attended(
        kind, normal(2, 3, 4), normal(2, 2, 4), normal(2, 2, 4)
    ),
    "refused the sizes of attention": lambda kind: attended(
        kind, normal(2, 2, 4), normal(2, 2, 4), normal(2, 2, 0)
    ),
}


@pytest.mark.parametrize("message", list(REFUSED))
def test_what_does_not_fit_is_refused(kind: Kind, message: str) -> None:
    """With the message that the core's functions have."""
    with pytest.raises(ShapeError, match=message):
        REFUSED[message](kind)


def test_arrays_that_share_memory_are_refused(kind: Kind) -> None:
    """A result may be its argument, but not a part of it."""
    x = kind.there(normal(9))
    with pytest.raises(ShapeError, match="shares memory with the result"):
        _device.soft_cap(x[1:], 1.0, x[:-1])


def test_functions_that_there_are_not(kind: Kind) -> None:
    """The library knows its own."""
    x = kind.there(normal(9))
    unknown = max(Function) + 1
    with pytest.raises(QuantkitError, match="an activation: QKC_UNKNOWN_FUNCTION"):
        _device.activate(unknown, x, None, x)


def test_nothing_gives_nothing(kind: Kind) -> None:
    """No positions, no rows."""
    q, v = normal(0, 2, 4), normal(0, 2, 5)
    assert attended(kind, q, q, v).shape == (0, 2, 5)
    given = q, q, v, normal(0, 2, 1), normal(0, 2), 1.0
    assert on_device(kind, "recur", *given).shape == (0, 2, 5)
    normed = on_device(kind, "norm_rows", normal(0, 3), None, None, 1e-5, centered=True)
    assert normed.shape == (0, 3)
