"""What computes the core's functions on an array: that depends on where the array is.

The forward pass is NumPy code, and runs on a device as it is: CuPy's arrays implement
NumPy's dispatch, so NumPy's functions of them are CuPy's.  New arrays are made beside
others (`like=x`, or `zeros_like` with a shape).  Only this needs to know where arrays
are: the functions of the C core, which have counterparts on devices (`Engine`); numbers
that the host computes (`Table`); and the few that it must know (`on_host`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _device, _native
from ..errors import BackendError

__all__ = ["NATIVE", "Engine", "Table", "engine_of", "on_host", "use_engine"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Engine:
    """The core's functions on arrays of one kind; those of `_native` without backend.

    They take contiguous arrays, as there, and give arrays of the same kind.
    """

    activate: Callable[..., None]
    add_logits: Callable[..., None]
    attend: Callable[..., Array]
    compare_logits: Callable[..., None]
    index_scores: Callable[..., Array]
    norm_rows: Callable[..., Array]
    recur: Callable[..., Array]
    rotate: Callable[..., None]
    selective_scan: Callable[..., Array]
    short_convolution: Callable[..., Array]
    soft_cap: Callable[..., None]
    swiglu_clamped: Callable[..., None]
    wkv7: Callable[..., Array]
    best_logits: Callable[..., None] | None = None
    """See `_device.best_logits`; None: there is no such function."""

    @classmethod
    def of(
        cls,
        module: object,
        adapted: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda f: f,
    ) -> Engine:
        """A module's functions of these names, each adapted."""
        names = [f.name for f in fields(cls) if f.default is MISSING]
        names += [f.name for f in fields(cls) if hasattr(module, f.name)]
        return cls(**{name: adapted(getattr(module, name)) for name in names})


def _on_active_backend(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of `_native` on the backend that is active when it is called."""

    @wraps(function)
    def call(*arrays: Any, **how: Any) -> Any:
        return function(*arrays, backend=_native.active_backend(), **how)

    return call


NATIVE = Engine.of(_native, _on_active_backend)
"""The engine of NumPy's arrays."""

_by_type: dict[type, Engine] = {}


def use_engine(kind: type, engine: Engine) -> None:
    """Compute on arrays of a type with this engine, as tests do."""
    _by_type[kind] = engine


def engine_of(x: object) -> Engine:
    """What computes on an array.

    Raises:
        BackendError: nothing does.
    """
    if isinstance(x, np.ndarray):
        return NATIVE
    kind = type(x)
    if kind not in _by_type:
        if not _device.has_interface(x):
            raise BackendError(
                f"quantkit computes on no arrays of type {kind.__name__}"
            )
        _by_type[kind] = Engine.of(_device)
    return _by_type[kind]


def on_host(x: Array) -> Array:
    """An array's numbers in the host's memory, which waits for a device if need be."""
    return x if isinstance(x, np.ndarray) else x.get()


class Table:
    """Numbers that the host computes, and a copy of the latest at each place.

    Args:
        make: computes them of a key, such as a number of positions.
    """

    def __init__(self, make: Callable[..., Array]) -> None:
        self._make = make
        self._latest: dict[Hashable, tuple[Hashable, Array]] = {}

    def beside(self, x: Array, *key: Hashable) -> Array:
        """`make(*key)`, where `x` is."""
        place = _place_of(x)
        latest = self._latest.get(place)
        if latest is None or latest[0] != key:
            latest = key, np.asarray(self._make(*key), like=x)
            self._latest[place] = latest
        return latest[1]


def _place_of(x: Any) -> Hashable:
    """Whose memory an array is in."""
    return None if isinstance(x, np.ndarray) else (type(x), x.device.id)
