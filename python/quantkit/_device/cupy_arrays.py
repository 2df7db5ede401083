"""Libraries of arrays on devices: CuPy where it is needed, and their errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import BackendError

__all__ = ["cupy_module", "device_errors"]

FAILURES = ("AcceleratorError", "CUBLASError", "CUDADriverError", "CUDARuntimeError")
"""Classes of PyTorch and CuPy."""


def cupy_module(what: str) -> Any:
    """CuPy, imported.

    Raises:
        BackendError: it is not installed.
    """
    try:
        import cupy
    except ImportError:
        raise BackendError(
            f"{what} needs CuPy: pip install 'quantkit[cuda13]', or 'quantkit[cuda12]' "
            "for a driver of CUDA 12"
        ) from None
    return cupy


@contextmanager
def device_errors(what: str) -> Iterator[None]:
    """Name what a library of arrays could not do on a device.

    CuPy and PyTorch have their own errors, which are known here by their names.

    Args:
        what: what is being made, for messages.

    Raises:
        BackendError: the device has too little memory, or CUDA failed.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        if type(error).__name__ == "OutOfMemoryError":
            raise BackendError(
                f"the device has too little free memory for {what}: {reason}; free "
                "some, or give it fewer rows at a time"
            ) from None
        if type(error).__name__ in FAILURES or reason.startswith("CUDA error"):
            raise BackendError(f"the device failed at {what}: {reason}") from None
        raise
