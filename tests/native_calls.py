"""A valid call of every native function: what the tests of memory start from."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np

from quantkit import _native
from quantkit._native import Backend, Function, Plan, PlanPiece, Precision
from quantkit.types import QuantType

__all__ = ["CALLS", "Call"]

RNG = np.random.default_rng(12)


@dataclass(frozen=True)
class Call:
    """The arguments of a native function.

    Attributes:
        run: the function; takes the arrays by name, and the backend.
        arrays: its array arguments.
        outputs: the names of those that it writes.
        optional: the names of those that may be None.
        loose: the names of those whose rows may be apart.
        any_axes: the names of those that may have any number of axes.
    """

    run: Callable[..., Any]
    arrays: dict[str, np.ndarray]
    outputs: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    loose: frozenset[str] = frozenset()
    any_axes: frozenset[str] = frozenset()


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def empty(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def some(*names: str) -> frozenset[str]:
    return frozenset(names)


def quantize(
    x: Any, importance: Any, out: Any, backend: Backend, type: QuantType
) -> None:
    _native.quantize_rows(x, type, importance, out, backend)


def dequantize(data: Any, out: Any, backend: Backend, type: QuantType) -> None:
    _native.dequantize_rows(data, type, out, backend)


def multiply(
    x: Any,
    weights: Any,
    out: Any,
    backend: Backend,
    type: QuantType,
    precision: Precision,
) -> None:
    packing = _native.packing_for(type, precision)
    packed = _native.pack_activations(x, packing, backend)
    _native.matmul(packed, weights, type, out)


def product(type: QuantType, precision: Precision, m: int, n: int, k: int) -> Call:
    weights = RNG.integers(0, 60, (n, type.row_bytes(k)), np.uint8)
    return Call(
        partial(multiply, type=type, precision=precision),
        {"x": floats(m, k), "weights": weights, "out": empty(m, n)},
        outputs=some("out"),
        loose=some("out"),
    )


def norm(x: Any, weight: Any, bias: Any, backend: Backend, *, centered: bool) -> Any:
    return _native.norm_rows(x, weight, bias, 1e-5, backend, centered=centered)


def activate(x: Any, up: Any, out: Any, backend: Backend) -> None:
    _native.activate(Function.SILU, x, up, out, backend)


def rotate(x: Any, turns: Any, backend: Backend, *, interleaved: bool) -> None:
    _native.rotate(x, turns, backend, interleaved=interleaved)


def attend(backend: Backend, window: int, **arrays: Any) -> None:
    _native.attend(scale=0.3, backend=backend, window=window, cap=5.0, **arrays)


def attention(n: int, heads: int, kv_heads: int, key: int, value: int) -> Call:
    return Call(
        partial(attend, window=n // 2),
        {
            "q": floats(n, heads, key),
            "k": floats(n, kv_heads, key),
            "v": floats(n, kv_heads, value),
            "slopes": floats(heads),
            "sinks": floats(heads),
        },
        optional=some("slopes", "sinks"),
    )


def masked(n: int, n_keys: int, n_masks: int) -> Call:
    return Call(
        partial(_native.attend, scale=0.3),
        {
            "q": floats(n, 4, 8),
            "k": floats(n_keys, 2, 8),
            "v": floats(n_keys, 2, 5),
            "mask": RNG.integers(0, 2, (n_masks, n, n_keys)) > 0,
            "sinks": floats(4),
        },
        optional=some("sinks"),
    )


def recurrence(n: int, heads: int, key_heads: int, key: int, value: int) -> Call:
    """A decay for each component of the keys."""
    return Call(
        partial(_native.recur, scale=0.3),
        {
            "q": floats(n, key_heads, key),
            "k": floats(n, key_heads, key),
            "v": floats(n, heads, value),
            "decay": -np.abs(floats(n, heads, key)),
            "beta": floats(n, heads),
        },
        optional=some("beta"),
    )


def of_heads(call: Call) -> Call:
    """The same recurrence with a decay for each head."""
    decay = call.arrays["decay"][..., :1].copy()
    return replace(call, arrays=call.arrays | {"decay": decay})


def scan(n: int, channels: int, states: int) -> Call:
    return Call(
        _native.selective_scan,
        {
            "x": floats(n, channels),
            "dt": np.abs(floats(n, channels)),
            "a": -np.abs(floats(channels, states)),
            "b": floats(n, states),
            "c": floats(n, states),
            "d": floats(channels),
        },
    )


def wkv(n: int, heads: int, key: int, value: int) -> Call:
    return Call(
        _native.wkv7,
        {
            "r": floats(n, heads, key),
            "decay": -np.abs(floats(n, heads, key)),
            "k": floats(n, heads, key),
            "v": floats(n, heads, value),
            "removed": floats(n, heads, key),
            "renewed": floats(n, heads, key),
        },
    )


def convolution(n: int, channels: int, taps: int) -> Call:
    return Call(
        _native.short_convolution,
        {
            "x": floats(n, channels),
            "weight": floats(taps, channels),
            "bias": floats(channels),
        },
        optional=some("bias"),
    )


def cap(x: Any, out: Any, backend: Backend) -> None:
    _native.soft_cap(x, 3.0, out, backend)


def add(logits: Any, targets: Any, rows: Any, backend: Backend) -> None:
    _native.add_logits(logits, 7, targets, rows, backend)


def compare(
    logits: Any,
    base_logits: Any,
    targets: Any,
    rows: Any,
    base: Any,
    excess: Any,
    backend: Backend,
) -> None:
    _native.compare_logits(
        logits, base_logits, 7, targets, (rows, base), excess, backend
    )


def tile(n: int, tokens: int) -> dict[str, np.ndarray]:
    targets = RNG.integers(-3, tokens + 20, n)
    return {
        "logits": floats(n, tokens),
        "targets": targets,
        "rows": _native.new_rows(n),
    }


def make_units(r: Any, backend: Backend, type: QuantType, n: int) -> Any:
    return _native.made_units(PlanPiece(type, r, 0, n), backend)[0]


def solve(x: Any, backend: Backend, plan: Plan, **arrays: Any) -> Any:
    return _native.solve_rows(replace(plan, **arrays), x, backend)[0]


def solver_calls(type: QuantType) -> dict[str, Call]:
    """Plan two units of a type, and solve rows with the plan."""
    layout = _native.solver_layout(type)
    if layout is None:
        return {}
    n = 2 * layout[0]
    rows = 19 if layout[0] == 32 else 3  # superblocks take long, in the same driver
    r = np.triu(RNG.standard_normal((n, n))) + 3 * np.eye(n)
    plan = _native.empty_plan(type, _native.column_order((r * r).sum(0), type))
    units, feedback = _native.made_units(PlanPiece(type, r, 0, 2))
    arrays = {
        "x": floats(rows, n),
        "unit_order": plan.unit_order,
        "group_order": plan.group_order,
        "units": units,
        "feedback": feedback,
    }
    return {
        f"plan {type.name}": Call(partial(make_units, type=type, n=2), {"r": r}),
        f"round {type.name}": Call(partial(solve, plan=plan), arrays),
    }


def forced(run: Callable[..., Any]) -> Callable[..., Any]:
    """A function that takes no backend, as one that does."""

    def call(backend: Backend, **arrays: Any) -> Any:
        with patch.dict(os.environ, {_native.ENVIRONMENT_VARIABLE: backend.name}):
            return run(**arrays)

    return call


def sums(a: Any, b: Any) -> Any:
    return _native.gram(a, b, 3, 31, upper=True)


def factor_step(step: Callable[..., Any], h: Any) -> None:
    step(h, 5, 12, 18, 35)


ALGEBRA = {
    "gram": Call(
        forced(sums), {"a": floats(300, 34), "b": floats(300, 67)}, loose=some("a")
    ),
    "factor diagonal": Call(
        forced(lambda h: _native.factor_diagonal(h, 5, 48)),
        {"h": np.eye(53)},
        outputs=some("h"),
    ),
    "factor beside": Call(
        forced(partial(factor_step, _native.factor_beside)),
        {"h": np.eye(53)},
        outputs=some("h"),
    ),
    "factor below": Call(
        forced(partial(factor_step, _native.factor_below)),
        {"h": np.eye(53)},
        outputs=some("h"),
    ),
    "solve factored": Call(
        forced(lambda r, x: _native.solve_factored(r, x)),
        {"r": np.eye(53), "x": np.ones((53, 37))},
        outputs=some("x"),
        loose=some("x"),
    ),
}

MAP = {"x": floats(3, 37), "up": floats(3, 37), "out": empty(3, 37)}
NORMED = {"x": floats(5, 3, 37), "weight": floats(3, 37), "bias": floats(3, 37)}
TURNS = np.exp(1j * floats(5, 9)).astype(np.complex64)


def calls_of(type: QuantType) -> dict[str, Call]:
    """Quantize, dequantize and multiply rows of a type."""
    name, cols = type.name, 2 * type.block_size + (5 if type.block_size == 1 else 0)
    data = np.zeros((19, type.row_bytes(cols)), np.uint8)
    importance = np.abs(floats(cols))
    calls = {
        f"quantize {name}": Call(
            partial(quantize, type=type),
            {"x": floats(19, cols), "importance": importance, "out": data},
            outputs=some("out"),
            optional=some("importance") - _required(type),
        ),
        f"dequantize {name}": Call(
            partial(dequantize, type=type),
            {"data": data.copy(), "out": empty(19, cols)},
            outputs=some("out"),
        ),
    }
    for precision in Precision:
        call = product(type, precision, 5, 35, cols)
        calls[f"multiply {name} {precision.name}"] = call
    return calls


def _required(type: QuantType) -> frozenset[str]:
    return some("importance") if _native.needs_importance(type) else frozenset()


CALLS: dict[str, Call] = {
    **{
        f"{'layer' if centered else 'rms'} norm": Call(
            partial(norm, centered=centered),
            NORMED,
            optional=some("weight", "bias"),
            any_axes=some("x"),
        )
        for centered in (False, True)
    },
    "activate": Call(activate, MAP, outputs=some("out"), optional=some("up")),
    "clamped": Call(
        lambda x, up, out, backend: _native.swiglu_clamped(x, up, out, backend),
        MAP,
        outputs=some("out"),
    ),
    "cap": Call(cap, {"x": floats(41), "out": empty(41)}, outputs=some("out")),
    **{
        f"rotate {'neighbours' if interleaved else 'halves'}": Call(
            partial(rotate, interleaved=interleaved),
            {"x": floats(5, 3, 21), "turns": TURNS},
            outputs=some("x"),
            loose=some("x"),
        )
        for interleaved in (False, True)
    },
    "attention": attention(45, 6, 3, 17, 19),
    "attention of one": attention(1, 1, 1, 1, 1),
    "attention of many": attention(300, 2, 1, 16, 32),
    "attention masked": masked(45, 71, 1),
    "attention masked by heads": masked(40, 300, 2),
    "index": Call(
        partial(_native.index_scores, rectified=True),
        {"q": floats(40, 3, 9), "k": floats(300, 9), "weights": floats(40, 3)},
    ),
    "recur by component": recurrence(53, 6, 3, 17, 19),
    "recur by head": of_heads(recurrence(53, 6, 3, 17, 35)),
    "recur once": of_heads(recurrence(1, 1, 1, 1, 1)),
    "scan": scan(9, 77, 5),
    "scan once": scan(1, 1, 1),
    "wkv": wkv(9, 2, 33, 21),
    "wkv once": wkv(1, 1, 1, 1),
    "convolve": convolution(9, 37, 4),
    "convolve once": convolution(1, 1, 1),
    "add logits": Call(add, tile(5, 37), outputs=some("rows"), loose=some("logits")),
    "compare logits": Call(
        compare,
        tile(5, 37)
        | {
            "base_logits": floats(5, 37),
            "base": _native.new_rows(5),
            "excess": np.zeros(5),
        },
        outputs=some("rows", "base", "excess"),
        loose=some("logits", "base_logits"),
    ),
    **ALGEBRA,
    **{
        name: call
        for type in QuantType
        if type in _native.native_types()
        for name, call in (calls_of(type) | solver_calls(type)).items()
    },
}
"""By name: every native function, every type and precision."""
