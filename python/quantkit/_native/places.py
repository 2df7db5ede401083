"""Where the arrays of an operation are, and what runs it there.

The operations of the forward pass are the same in main memory and on devices.  What
they ask of their arrays is written once, with a `Place`: the C core's is `Processor`,
that of devices is in `_device`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .._core import ffi, lib
from . import arguments
from .arguments import CType, pointer, workspace
from .backend import Backend
from .statuses import check_status

__all__ = ["ROW", "Place", "Runner", "place_of"]

ROW = np.dtype(
    [
        ("total", np.float64),
        ("top", np.int64),
        ("highest", np.float32),
        ("wanted", np.float32),
    ],
    align=True,
)
"""The state of a row of logits: `qk_softmax` of quantkit_ops.h."""

WORKSPACES = {
    "attend": "attention",
    "index_scores": "index",
    "recur": "recurrence",
    "selective_scan": "scan",
    "wkv7": "wkv",
}
"""The operations that need memory to work in, and the name of what tells how much."""


class Place(Protocol):
    """What an operation needs of the place of its arrays.

    The first five are as in `_native/arguments.py`, and raise the same errors.
    """

    def shape_of(
        self, name: str, array: Any, axes: int | None = None
    ) -> tuple[int, ...]:
        """The shape of an array with this number of axes; None: any but 0."""

    def read(self, kind: CType, name: str, array: Any, shape: tuple[int, ...]) -> Any:
        """The memory of an array that is read."""

    def optional(
        self, kind: CType, name: str, array: Any | None, shape: tuple[int, ...]
    ) -> Any:
        """As `read`, or NULL for None."""

    def written(
        self, kind: CType, name: str, array: Any, shape: tuple[int, ...]
    ) -> Any:
        """The memory of an array that is written."""

    def strided(
        self,
        kind: CType,
        name: str,
        array: Any,
        shape: tuple[int, ...],
        *,
        write: bool = False,
    ) -> tuple[Any, tuple[int, ...]]:
        """The memory of an array whose rows are apart, and how far."""

    def states(self, name: str, array: Any, n: int) -> Any:
        """The memory of the states of n rows of logits, which are written."""

    def empty(self, shape: tuple[int, ...]) -> Any:
        """A new f32 array."""

    def new(self, struct: str) -> Any:
        """A struct of quantkit_ops.h, zeros at first."""

    def run(self, operation: str, what: str, *given: Any) -> None:
        """Run an operation.

        Args:
            operation: its name in C, without a prefix.
            what: what it is given, for messages.
            given: its arguments: structs, memory and numbers.
        """


@dataclass(frozen=True)
class Processor:
    """Main memory, and a backend of the C core; see `Place`."""

    backend: Backend

    shape_of = staticmethod(arguments.shape_of)
    read = staticmethod(arguments.read)
    optional = staticmethod(arguments.optional)
    written = staticmethod(arguments.written)
    strided = staticmethod(arguments.strided)

    def states(self, name: str, array: Any, n: int) -> Any:
        """See `Place.states`; the dtype is `ROW`."""
        return arguments.written(CType.of(ROW, "qk_softmax"), name, array, (n,))

    def empty(self, shape: tuple[int, ...]) -> Any:
        """See `Place.empty`."""
        return np.empty(shape, np.float32)

    def new(self, struct: str) -> Any:
        """See `Place.new`."""
        return ffi.new(f"{struct} *")

    def run(self, operation: str, what: str, *given: Any) -> None:
        """See `Place.run`."""
        extra = []
        if operation in WORKSPACES:
            size = ffi.new("size_t *")
            n_bytes = getattr(lib, f"qk_{WORKSPACES[operation]}_workspace")
            check_status(n_bytes(self.backend.index, given[0], size), what)
            extra = [pointer(workspace(size[0]))]
        status = getattr(lib, f"qk_{operation}")(self.backend.index, *given, *extra)
        check_status(status, what)


Runner = Backend | Place
"""What runs an operation: a backend of the core, or another place."""


def place_of(runner: Runner) -> Place:
    """The place where something runs operations."""
    return Processor(runner) if isinstance(runner, Backend) else runner
