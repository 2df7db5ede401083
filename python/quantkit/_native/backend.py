"""Which instruction sets the C core is compiled for, and which one runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

from .._core import ffi, lib
from ..errors import BackendError

__all__ = ["ENVIRONMENT_VARIABLE", "Backend", "active_backend", "backends"]

ENVIRONMENT_VARIABLE = "QUANTKIT_BACKEND"


@dataclass(frozen=True)
class Backend:
    """The C core compiled for one instruction set.

    Attributes:
        name: "scalar", "avx2", "avx512" or "neon".
        lanes: blocks that it quantizes at once.
        usable: whether this machine can run it.
        index: its number in the C API, the best first.
    """

    name: str
    lanes: int
    usable: bool
    index: int


@cache
def backends() -> tuple[Backend, ...]:
    """The backends that are built in, the best first; the last is always "scalar".

    Example:
        >>> [b.name for b in backends()][-1]
        'scalar'
    """
    return tuple(
        Backend(
            name=ffi.string(lib.qk_backend_name(i)).decode(),
            lanes=lib.qk_backend_lanes(i),
            usable=bool(lib.qk_backend_usable(i)),
            index=i,
        )
        for i in range(lib.qk_backend_count())
    )


def active_backend(name: str | None = None) -> Backend:
    """The backend called `name`, or that `QUANTKIT_BACKEND` names, or the best.

    Raises:
        BackendError: the named backend is unknown, or this machine cannot run it.
    """
    name = name or os.environ.get(ENVIRONMENT_VARIABLE)
    if not name:
        return next(b for b in backends() if b.usable)
    for backend in backends():
        if backend.name == str(name).lower():
            if not backend.usable:
                raise BackendError(f"this machine cannot run the backend {name!r}")
            return backend
    known = ", ".join(b.name for b in backends())
    raise BackendError(f"unknown backend {name!r}; built in: {known}")
