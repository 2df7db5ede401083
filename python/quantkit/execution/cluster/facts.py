"""What machines must have in common, so that results do not depend on them."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ... import _core
from ..._native import active_backend, backends
from ..._version import __version__
from ...errors import BackendError, QuantkitError
from ..memory import available_bytes

__all__ = ["Facts", "common_backend", "facts_here", "refuse_other", "refuse_unable"]


@dataclass(frozen=True)
class Facts:
    """What decides a machine's results, and what it can hold.

    Attributes:
        versions: of quantkit, its C core (a hash), Python and NumPy.
        active: the backend that it would take, and the variant of its forward pass.
        usable: all backends that it can run, with their variants; the best first.
        available_bytes: of memory.
        machine: its name.
        process: the number of the process.
    """

    versions: Mapping[str, str]
    active: tuple[str, str]
    usable: Sequence[tuple[str, str]]
    available_bytes: int
    machine: str
    process: int

    @property
    def name(self) -> str:
        """The process and its machine, for messages."""
        return f"{self.process} on {self.machine}"


def facts_here() -> Facts:
    """The facts of this process."""
    active = active_backend()
    return Facts(
        {
            "quantkit": __version__,
            "its C core": _hash_of(_core.__file__),
            "Python": platform.python_version(),
            "NumPy": np.__version__,
        },
        (active.name, str(active.ops)),
        [(each.name, str(each.ops)) for each in backends() if each.usable],
        available_bytes(),
        platform.node(),
        os.getpid(),
    )


def _hash_of(path: str) -> str:
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=4).hexdigest()


def refuse_other(here: Facts, there: Mapping[str, str], machine: str) -> None:
    """Refuse a worker whose software differs from that of this machine.

    Args:
        here: of this machine.
        there: the versions of the worker, see `Facts.versions`.
        machine: its machine.

    Raises:
        QuantkitError: it differs, or is not installed there.
    """
    if "quantkit" not in there:
        raise QuantkitError(
            f"{machine} has no quantkit for the Python that Ray runs there: pip "
            "install 'quantkit[ray]'"
        )
    for what, own in here.versions.items():
        if there.get(what) != own:
            raise QuantkitError(
                f"{machine} has {what} {there.get(what)}, but this machine has {own}; "
                "install the same on all machines, since results depend on it"
            )


def common_backend(here: Facts, there: Sequence[Facts]) -> str:
    """The best backend that gives equal results on this machine and all workers.

    Raises:
        BackendError: there is none beside those better than this machine's own, which
            may be forced.
    """
    for backend in here.usable[here.usable.index(here.active) :]:
        if all(backend in each.usable for each in there):
            return backend[0]
    lacking = next(each for each in there if here.active not in each.usable)
    raise BackendError(
        f"{lacking.machine} and this machine have no backend in common, of those from "
        f"{here.active[0]} down"
    )


def refuse_unable(backend: str, there: Facts) -> None:
    """Refuse a worker that cannot run the backend that was decided on.

    Raises:
        BackendError: it cannot, or its forward pass is another variant.
    """
    active = active_backend(backend)
    if (active.name, active.ops) not in there.usable:
        raise BackendError(
            f"{there.machine} cannot run the backend {backend} with the forward pass "
            f"{active.ops}"
        )
