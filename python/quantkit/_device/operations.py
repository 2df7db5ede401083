"""The operations of the forward pass on arrays in device memory.

They are those of `_native`, without backend: what they ask of their arrays and what
they give is written there.  Results do not depend on the device, and are within
rounding errors of the core's.  The work is queued on the stream of an array and not
waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from .. import _native
from .arguments import (
    DOUBLE,
    FLOAT,
    TOKEN,
    optional,
    read,
    shape_of,
    strided,
    written,
)
from .calling import call
from .loading import library
from .owners import owner_of

__all__ = [
    "activate",
    "add_logits",
    "attend",
    "best_logits",
    "compare_logits",
    "index_scores",
    "norm_rows",
    "recur",
    "rotate",
    "selective_scan",
    "short_convolution",
    "soft_cap",
    "swiglu_clamped",
    "wkv7",
]

STATE_WORDS = 3
"""What is known of a row of logits, in words of 8 bytes: `_native.new_rows`."""


class DevicePlace:
    """The device of an array; see `_native.Place`.

    Args:
        beside: an array there, whose stream runs the operations.
    """

    shape_of = staticmethod(shape_of)
    read = staticmethod(read)
    optional = staticmethod(optional)
    written = staticmethod(written)
    strided = staticmethod(strided)

    def __init__(self, beside: Any) -> None:
        self._beside = beside

    def states(self, name: str, array: Any, n: int) -> Any:
        """See `Place.states`: f64 [n, 3], since devices have no structs."""
        return written(DOUBLE, name, array, (n, STATE_WORDS))

    def empty(self, shape: tuple[int, ...]) -> Any:
        """See `Place.empty`."""
        owner = owner_of(self._beside)
        with owner.current(self._beside):
            return owner.empty(self._beside, shape, "float32")

    def new(self, struct: str) -> Any:
        """See `Place.new`."""
        return library().ffi.new(f"{struct} *")

    def run(self, operation: str, what: str, *given: Any) -> None:
        """See `Place.run`."""
        call(f"qkc_{operation}", *given, on=self._beside, what=what)


def _there(function: Callable[..., Any], first: int = 0) -> Callable[..., Any]:
    """A function of `_native`, where argument number `first` is."""

    @wraps(function)
    def run(*arrays: Any, **how: Any) -> Any:
        return function(*arrays, backend=DevicePlace(arrays[first]), **how)

    return run


activate = _there(_native.activate, first=1)
add_logits = _there(_native.add_logits)
attend = _there(_native.attend)
compare_logits = _there(_native.compare_logits)
index_scores = _there(_native.index_scores)
norm_rows = _there(_native.norm_rows)
recur = _there(_native.recur)
rotate = _there(_native.rotate)
selective_scan = _there(_native.selective_scan)
short_convolution = _there(_native.short_convolution)
soft_cap = _there(_native.soft_cap)
swiglu_clamped = _there(_native.swiglu_clamped)
wkv7 = _there(_native.wkv7)


def best_logits(logits: Any, start: int, best: Any, tokens: Any) -> None:
    """Add the logits [n, tokens] of the tokens from `start` on to the highest so far.

    Of equal logits the lowest token comes first; NaN is never among them.

    Args:
        logits: f32; its rows may be apart.
        start: the first token.
        best: f32 [n, 5], the highest first; before the first tile -inf.
        tokens: i64 [n, 5], theirs; before the first tile -1.

    Raises:
        ShapeError: an array does not fit.
        BackendError: CUDA failed.
    """
    own = library()
    n, n_tokens = shape_of("logits", logits, 2)
    n_best = int(own.lib.QKC_N_BEST)
    data, (stride,) = strided(FLOAT, "logits", logits, (n, n_tokens))
    tile = own.ffi.new("qk_tile *")
    tile.n_rows, tile.n_cols, tile.stride, tile.first = n, n_tokens, stride, start
    call(
        "qkc_best_logits",
        tile,
        data,
        written(FLOAT, "best", best, (n, n_best)),
        written(TOKEN, "tokens", tokens, (n, n_best)),
        on=logits,
        what=f"logits {[n, n_tokens]}",
    )
