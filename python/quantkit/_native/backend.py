"""The instruction sets for which the C core is compiled, and the choice of one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

from .._core import ffi, lib
from ..display import Displayed
from ..errors import BackendError

__all__ = ["ENVIRONMENT_VARIABLE", "Backend", "active_backend", "backends"]

ENVIRONMENT_VARIABLE = "QUANTKIT_BACKEND"
DISABLING_VARIABLE = "QUANTKIT_DISABLE_CPU_FEATURES"
"""Names of `cpu_features` to disable, separated by commas."""


@dataclass(frozen=True)
class Backend(Displayed):
    """The C core compiled for one instruction set.

    Attributes:
        name: "scalar", "avx2", "avx512" or "neon"; also the name of its quantizers.
        lanes: number of blocks quantized at once.
        usable: whether it can run on this machine.
        index: its number in the C API; the best backend is first.
        ops: the variant of the forward pass on this machine, such as "avx512_vnni";
            None if the backend is not usable.
        lacks: features that the processor or operating system lacks, such as "avx2".
    """

    name: str
    lanes: int
    usable: bool
    index: int
    ops: str | None
    lacks: tuple[str, ...]


@cache
def cpu_features() -> tuple[str, ...]:
    """The processor features that backends need, by their names in compilers."""
    count = lib.qk_cpu_feature_count()
    return tuple(_text(lib.qk_cpu_feature_name(i)) for i in range(count))


@cache
def backends() -> tuple[Backend, ...]:
    """The built-in backends, the best first; the last is always "scalar".

    `QUANTKIT_DISABLE_CPU_FEATURES` is read at the first call.

    Raises:
        BackendError: the variable has an unknown feature.

    Example:
        >>> [b.name for b in backends()][-1]
        'scalar'
    """
    disable_cpu_features(disabled_by_environment())
    return tuple(map(describe_backend, range(lib.qk_backend_count())))


def disable_cpu_features(names: frozenset[str]) -> None:
    """Disable these `cpu_features`, and enable all others that the machine has.

    For tests, before `backends` is called.
    """
    numbered = enumerate(cpu_features())
    lib.qk_disable_cpu_features(sum(1 << i for i, name in numbered if name in names))


def disabled_by_environment() -> frozenset[str]:
    """The features in `QUANTKIT_DISABLE_CPU_FEATURES`.

    Raises:
        BackendError: a name is unknown.
    """
    listed = os.environ.get(DISABLING_VARIABLE, "").split(",")
    names = frozenset(name.strip().lower() for name in listed) - {""}
    unknown = sorted(names - set(cpu_features()))
    if unknown:
        raise BackendError(
            f"{DISABLING_VARIABLE} has the unknown feature {unknown[0]!r}; known: "
            f"{', '.join(cpu_features())}"
        )
    return names


def describe_backend(index: int) -> Backend:
    """The current properties of the backend with this number."""
    ops, lacks = lib.qk_backend_ops_name(index), lib.qk_backend_lacks(index)
    return Backend(
        name=_text(lib.qk_backend_name(index)),
        lanes=lib.qk_backend_lanes(index),
        usable=bool(lib.qk_backend_usable(index)),
        index=index,
        ops=_text(ops) if ops else None,
        lacks=tuple(name for i, name in enumerate(cpu_features()) if lacks >> i & 1),
    )


def _text(string: object) -> str:
    """A C string as a str."""
    return ffi.string(string).decode()


def active_backend(name: str | None = None) -> Backend:
    """The backend called `name`, or that in `QUANTKIT_BACKEND`, or the best usable one.

    Raises:
        BackendError: the named backend is unknown, or cannot run on this machine.
    """
    name = name or os.environ.get(ENVIRONMENT_VARIABLE)
    if not name:
        return next(b for b in backends() if b.usable)
    for backend in backends():
        if backend.name == str(name).lower():
            if not backend.usable:
                able = ", ".join(b.name for b in backends() if b.usable)
                raise BackendError(
                    f"this machine cannot run the backend {name!r}: the processor or "
                    f"the operating system lacks {', '.join(backend.lacks)}; "
                    f"usable here: {able}"
                )
            return backend
    known = ", ".join(b.name for b in backends())
    raise BackendError(f"unknown backend {name!r}; built in: {known}")
