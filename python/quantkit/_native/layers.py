"""Norms, activation functions and rotations in the C core."""

from __future__ import annotations

import math
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from .._core import ffi, lib
from ..errors import ShapeError
from .arguments import FLOAT, TURN, optional, read, shape_of, strided, written
from .backend import Backend
from .statuses import check_status

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
    backend: Backend,
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
    shape = shape_of("x", x)
    given = weight if bias is None else bias
    of_row = shape[-1:] if given is None else shape[-len(shape_of("weight", given)) :]
    memory = (
        optional(FLOAT, "weight", weight, of_row),
        optional(FLOAT, "bias", bias, of_row),
    )
    y = np.empty(shape, np.float32)
    what = ffi.new("qk_norm *")
    what.width, what.n_rows = shape[-1], math.prod(shape[:-1])
    what.n_heads, what.epsilon, what.centered = (
        math.prod(of_row[:-1]),
        epsilon,
        centered,
    )
    what.weight, what.bias = memory
    source, result = read(FLOAT, "x", x, shape), written(FLOAT, "y", y, shape)
    status = lib.qk_norm_rows(backend.index, what, source, result)
    check_status(status, f"a norm of {list(shape)}")
    return y


def activate(
    function: Function, x: F32, up: F32 | None, out: F32, backend: Backend
) -> None:
    """Set out = function(x), times `up` if given; C-contiguous, `out` may be `x`.

    Raises:
        ShapeError: the arrays do not have the same shape, or share some memory only.
    """
    shape = shape_of("x", x)
    status = lib.qk_activate(
        backend.index,
        int(function),
        read(FLOAT, "x", x, shape),
        optional(FLOAT, "up", up, shape),
        x.size,
        written(FLOAT, "out", out, shape),
    )
    check_status(status, "an activation")


def swiglu_clamped(gate: F32, up: F32, out: F32, backend: Backend) -> None:
    """See `ops.swiglu_clamped`; C-contiguous, `out` may be `gate`.

    Raises:
        ShapeError: as for `activate`.
    """
    shape = shape_of("gate", gate)
    status = lib.qk_swiglu_clamped(
        backend.index,
        read(FLOAT, "gate", gate, shape),
        read(FLOAT, "up", up, shape),
        gate.size,
        written(FLOAT, "out", out, shape),
    )
    check_status(status, "an activation")


def soft_cap(x: F32, cap: float, out: F32, backend: Backend) -> None:
    """Set out = cap * tanh(x / cap); C-contiguous, `out` may be `x`.

    Raises:
        ShapeError: as for `activate`.
    """
    given = read(FLOAT, "x", x, shape_of("x", x))
    result = written(FLOAT, "out", out, x.shape)
    check_status(lib.qk_soft_cap(backend.index, given, cap, x.size, result), "a cap")


def rotate(
    x: F32, turns: NDArray[np.complex64], backend: Backend, *, interleaved: bool
) -> None:
    """Rotate x [n, heads, size] in place; see `ops.turn`.

    The components of a head must be contiguous; positions and heads may be strided.

    Raises:
        ShapeError: an array does not fit; turns are complex64 [n, pairs], C-contiguous.
    """
    n, n_heads, size = shape_of("x", x, 3)
    n_pairs = shape_of("turns", turns, 2)[1]
    if len(turns) != n or 2 * n_pairs > size:
        raise ShapeError(
            f"{n_pairs} pairs of {len(turns)} positions cannot rotate an array of "
            f"shape {x.shape}"
        )
    what = ffi.new("qk_rotation *")
    data, strides = strided(FLOAT, "x", x, x.shape, write=True)
    what.n, what.n_heads, (what.stride, what.head_stride) = n, n_heads, strides
    what.n_pairs, what.interleaved = n_pairs, interleaved
    angles = read(TURN, "turns", turns, turns.shape)
    status = lib.qk_rotate(backend.index, what, angles, data)
    check_status(status, f"a rotation of {list(x.shape)}, strides {list(x.strides)}")
