"""Norms, activation functions and rotations in the C core."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from .._core import ffi, lib
from ..errors import QuantkitError, ShapeError
from .arguments import floats
from .backend import Backend

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
    """
    width = x.shape[-1]
    what = ffi.new("qk_norm *")
    what.width, what.n_rows = width, x.size // max(width, 1)
    what.n_heads, what.epsilon, what.centered = 1, epsilon, centered
    for name, each in (("weight", weight), ("bias", bias)):
        if each is None:
            continue
        if each.shape != x.shape[-each.ndim :]:
            raise ShapeError(
                f"the {name} {each.shape} of a norm does not fit an array of shape "
                f"{x.shape}"
            )
        setattr(what, name, floats(each))
        what.n_heads = each.size // max(width, 1)
    y = np.empty_like(x)
    _check(lib.qk_norm_rows(backend.index, what, floats(x), floats(y)))
    return y


def activate(
    function: Function, x: F32, up: F32 | None, out: F32, backend: Backend
) -> None:
    """Set out = function(x), times `up` if given; C-contiguous, `out` may be `x`."""
    factor = ffi.NULL if up is None else floats(up)
    _check(
        lib.qk_activate(
            backend.index, int(function), floats(x), factor, x.size, floats(out)
        )
    )


def swiglu_clamped(gate: F32, up: F32, out: F32, backend: Backend) -> None:
    """See `ops.swiglu_clamped`; C-contiguous, `out` may be `gate`."""
    _check(
        lib.qk_swiglu_clamped(
            backend.index, floats(gate), floats(up), gate.size, floats(out)
        )
    )


def soft_cap(x: F32, cap: float, out: F32, backend: Backend) -> None:
    """Set out = cap * tanh(x / cap); C-contiguous, `out` may be `x`."""
    _check(lib.qk_soft_cap(backend.index, floats(x), cap, x.size, floats(out)))


def rotate(
    x: F32, turns: NDArray[np.complex64], backend: Backend, *, interleaved: bool
) -> None:
    """Rotate x [n, heads, size] in place; see `ops.turn`.

    The components of a head must be contiguous; positions and heads may be strided.
    """
    n_pairs = turns.shape[-1]
    if len(turns) != len(x) or 2 * n_pairs > x.shape[-1]:
        raise ShapeError(
            f"{n_pairs} pairs of {len(turns)} positions cannot rotate an array of "
            f"shape {x.shape}"
        )
    if x.strides[-1] != x.itemsize:
        raise ShapeError("the components of a head to rotate are not contiguous")
    what = ffi.new("qk_rotation *")
    what.n, what.n_heads = x.shape[:2]
    what.stride, what.head_stride = (step // x.itemsize for step in x.strides[:2])
    what.n_pairs, what.interleaved = n_pairs, interleaved
    data = ffi.cast("float *", x.ctypes.data)
    _check(lib.qk_rotate(backend.index, what, floats(turns.view(np.float32)), data))


def _check(status: int) -> None:
    if status != lib.QK_OK:
        raise QuantkitError(f"the native core refused: status {status}")
