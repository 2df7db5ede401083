"""Call functions of the CUDA library on the device and the stream of an array."""

from __future__ import annotations

from .arguments import memory
from .interface import view_of
from .loading import library
from .owners import owner_of
from .statuses import check_status
from .support import device_in_use

__all__ = ["call", "queue", "synchronize", "wait_for_producer"]

LEGACY_STREAM = 1
"""The default stream, as `__cuda_array_interface__` numbers it."""


def call(function: str, *arguments: object, on: object, what: str) -> None:
    """Queue a function's work, and raise the error of its status.

    Args:
        function: its name.
        arguments: all but the last, the stream.
        on: an array of the call; the work is queued on its device, on the stream of its
            library: CuPy's or PyTorch's current one, or else the default one.
        what: what the call was given, for messages.

    Raises:
        ShapeError: the sizes do not fit each other, or arrays share memory.
        BackendError: CUDA failed.
    """
    check_status(queue(function, *arguments, on=on), function, what)


def queue(function: str, *arguments: object, on: object) -> int:
    """As `call`, but the status is returned."""
    own, owner = library(), owner_of(on)
    with device_in_use(owner.device(on)):
        stream = memory(owner.stream(on))
        return int(getattr(own.lib, function)(*arguments, stream))


def synchronize(on: object) -> None:
    """Wait for all that is queued on the stream of an array.

    Raises:
        BackendError: CUDA failed, perhaps in an earlier call.
    """
    call("qkc_synchronize", on=on, what="what was queued before")


def wait_for_producer(array: object) -> None:
    """Wait for the stream on which an array becomes ready, if that is not its own.

    Raises:
        BackendError: CUDA failed, perhaps in an earlier call.
    """
    ready, own = view_of("array", array).stream, owner_of(array).stream(array)
    if ready is not None and ready != (own or LEGACY_STREAM):
        status = library().lib.qkc_synchronize(memory(ready))
        check_status(status, "qkc_synchronize", f"stream {ready:#x}")
