"""Convert the statuses of the C core to errors."""

from __future__ import annotations

from .._core import lib
from ..errors import QuantkitError, ShapeError
from ..types import QuantType

__all__ = ["check_status", "check_type"]


def check_type(status: int, type: QuantType, n_cols: int) -> None:
    """Raise the error of a status, for rows of `n_cols` weights of a type."""
    if status == lib.QK_BAD_SHAPE:
        raise ShapeError(
            f"a row of {n_cols} weights does not fit {type.name}'s block "
            f"of {type.block_size}"
        )
    if status == lib.QK_UNKNOWN_PACKING:
        raise QuantkitError(
            f"activations with this packing cannot be multiplied with {type.name} "
            "weights; use packing_for that type"
        )
    check_status(status, f"{type.name} rows of {n_cols} weights")


def check_status(status: int, what: str) -> None:
    """Raise the error of a status, for a call with arrays that `read` accepted.

    Args:
        status: the status.
        what: what the call was given, for messages.

    Raises:
        ShapeError: the sizes do not fit each other, or arrays share memory.
        QuantkitError: the core refused for another reason.
    """
    if status == lib.QK_OK:
        return
    if status == lib.QK_BAD_SHAPE:
        raise ShapeError(f"the native core refused the sizes of {what}")
    if status == lib.QK_BAD_ARRAY:
        raise ShapeError(f"{what}: the result shares memory with another array")
    raise QuantkitError(f"the native core refused {what}: status {status}")
