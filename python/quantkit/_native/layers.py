"""Norms, activation functions and rotations."""

from __future__ import annotations

import math
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from .arguments import FLOAT, TURN
from .places import Runner, place_of

__all__ = ["Function", "activate", "norm_rows", "rotate", "soft_cap", "swiglu_clamped"]

F32 = NDArray[np.float32]


class Function(IntEnum):
    """A function that the core applies to each item of an array."""

    EXP = 0
    TANH = 1
    ERF = 2
    SIGMOID = 3
    SILU = 4
    GELU = 5
    GELU_TANH = 6
    RELU = 7
    SOFTPLUS = 8


def norm_rows(
    x: F32,
    weight: F32 | None,
    bias: F32 | None,
    epsilon: float,
    backend: Runner,
    *,
    centered: bool,
) -> F32:
    """RMSNorm of x [..., width], or LayerNorm if `centered`.

    Args:
        x: C-contiguous.
        weight, bias: [width] or [heads, width], C-contiguous, with the same shape.
        epsilon: added to the mean square.
        backend: the backend to use.
        centered: whether the mean is subtracted first.

    Raises:
        ShapeError: an array does not fit.
    """
    at = place_of(backend)
    shape, given = at.shape_of("x", x), weight if bias is None else bias
    n_axes = 1 if given is None else len(at.shape_of("weight", given))
    of_row = shape[-n_axes:]
    memory = (
        at.optional(FLOAT, "weight", weight, of_row),
        at.optional(FLOAT, "bias", bias, of_row),
    )
    y: F32 = at.empty(shape)
    what = at.new("qk_norm")
    what.width, what.n_rows = shape[-1], math.prod(shape[:-1])
    what.n_heads, what.epsilon, what.centered = (
        math.prod(of_row[:-1]),
        epsilon,
        centered,
    )
    what.weight, what.bias = memory
    source, result = at.read(FLOAT, "x", x, shape), at.written(FLOAT, "y", y, shape)
    at.run("norm_rows", f"a norm of {list(shape)}", what, source, result)
    return y


def activate(
    function: Function, x: F32, up: F32 | None, out: F32, backend: Runner
) -> None:
    """Set out = function(x), times `up` if given; C-contiguous, `out` may be `x`.

    Raises:
        ShapeError: the arrays do not have the same shape, or share some memory only.
    """
    at = place_of(backend)
    shape = at.shape_of("x", x)
    at.run(
        "activate",
        "an activation",
        int(function),
        at.read(FLOAT, "x", x, shape),
        at.optional(FLOAT, "up", up, shape),
        math.prod(shape),
        at.written(FLOAT, "out", out, shape),
    )


def swiglu_clamped(gate: F32, up: F32, out: F32, backend: Runner) -> None:
    """See `ops.swiglu_clamped`; C-contiguous, `out` may be `gate`.

    Raises:
        ShapeError: as for `activate`.
    """
    at = place_of(backend)
    shape = at.shape_of("gate", gate)
    at.run(
        "swiglu_clamped",
        "an activation",
        at.read(FLOAT, "gate", gate, shape),
        at.read(FLOAT, "up", up, shape),
        math.prod(shape),
        at.written(FLOAT, "out", out, shape),
    )


def soft_cap(x: F32, cap: float, out: F32, backend: Runner) -> None:
    """Set out = cap * tanh(x / cap); C-contiguous, `out` may be `x`.

    Raises:
        ShapeError: as for `activate`.
    """
    at = place_of(backend)
    shape = at.shape_of("x", x)
    given = at.read(FLOAT, "x", x, shape)
    result = at.written(FLOAT, "out", out, shape)
    at.run("soft_cap", "a cap", given, cap, math.prod(shape), result)


def rotate(
    x: F32, turns: NDArray[np.complex64], backend: Runner, *, interleaved: bool
) -> None:
    """Rotate x [n, heads, size] in place; see `ops.turn`.

    The components of a head must be contiguous; positions and heads may be strided.

    Raises:
        ShapeError: an array does not fit; turns are complex64 [n, pairs], C-contiguous.
    """
    at = place_of(backend)
    n, n_heads, size = at.shape_of("x", x, 3)
    n_positions, n_pairs = at.shape_of("turns", turns, 2)
    if n_positions != n or 2 * n_pairs > size:
        raise ShapeError(
            f"{n_pairs} pairs of {n_positions} positions cannot rotate an array of "
            f"shape {x.shape}"
        )
    what = at.new("qk_rotation")
    data, strides = at.strided(FLOAT, "x", x, x.shape, write=True)
    what.n, what.n_heads, (what.stride, what.head_stride) = n, n_heads, strides
    what.n_pairs, what.interleaved = n_pairs, interleaved
    angles = at.read(TURN, "turns", turns, (n, n_pairs))
    sizes = f"a rotation of {list(x.shape)}, strides {list(x.strides)}"
    at.run("rotate", sizes, what, angles, data)
