"""Convert the statuses of the CUDA library to errors."""

from __future__ import annotations

from ..errors import BackendError, QuantkitError, ShapeError, UnsupportedTypeError
from ..types import QuantType
from .loading import library

__all__ = ["OUT_OF_MEMORY", "advice", "check_status", "check_type"]

OUT_OF_MEMORY = 2
"""cudaErrorMemoryAllocation."""

ADVICE = {
    OUT_OF_MEMORY: "free memory of the device, or give it less at a time",
    3: "the driver cannot be used; `nvidia-smi` says why",
    35: "install an NVIDIA driver, or a newer one",
    100: "`nvidia-smi` lists the devices of this machine; CUDA_VISIBLE_DEVICES may "
    "hide them",
    101: "`quantkit backends` lists the devices",
    209: "the library has no code for this device; `quantkit backends` shows which "
    "devices can be used",
    222: "install a newer NVIDIA driver",
    700: "the device cannot be used any more in this process; start it again",
    719: "the device cannot be used any more in this process; start it again",
    803: "the driver and its library are of different versions; restart the machine",
}
"""What to do, by the number of the CUDA error."""


def check_type(status: int, call: str, type: QuantType, n_cols: int) -> None:
    """Raise the error of a status, for rows of `n_cols` weights of a type."""
    if status == library().lib.QKC_BAD_SHAPE:
        raise ShapeError(
            f"a row of {n_cols} weights does not fit {type.name}'s block "
            f"of {type.block_size}"
        )
    if status == library().lib.QKC_UNKNOWN_TYPE:
        raise UnsupportedTypeError(f"the CUDA library cannot convert {type.name}")
    check_status(status, call, f"{type.name} rows of {n_cols} weights")


def check_status(status: int, call: str, what: str) -> None:
    """Raise the error of a status, for a call with arrays that `read` accepted.

    Args:
        status: the status.
        call: the function of the library.
        what: what it was given, for messages.

    Raises:
        ShapeError: the sizes do not fit each other, or arrays share memory.
        BackendError: CUDA failed; the message names the call and CUDA's error.
        QuantkitError: the library refused for another reason.
    """
    own = library()
    if status == own.lib.QKC_OK:
        return
    name = _text(own.lib.qkc_error_name(status))
    if status > 0:
        text = _text(own.lib.qkc_error_text(status))
        raise BackendError(f"{call} ({what}): {name}: {text}{advice(status)}")
    if status == own.lib.QKC_BAD_SHAPE:
        raise ShapeError(f"{call} refused the sizes of {what}")
    if status == own.lib.QKC_BAD_ARRAY:
        raise ShapeError(
            f"{call} ({what}): an array is not aligned, or shares memory with the "
            "result"
        )
    if status == own.lib.QKC_NO_HOST_MEMORY:
        raise BackendError(f"{call} ({what}): no main memory is left")
    raise QuantkitError(f"{call} refused {what}: {name}")


def advice(status: int) -> str:
    """What to do about a CUDA error, as the end of a message; may be empty."""
    return f"; {ADVICE[status]}" if status in ADVICE else ""


def _text(string: object) -> str:
    return str(library().ffi.string(string).decode("utf-8", "replace"))
