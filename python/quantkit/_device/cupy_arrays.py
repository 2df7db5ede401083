"""Libraries of arrays on devices: CuPy where it is needed, and their lack of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import BackendError

__all__ = ["cupy_module", "enough_memory"]


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
def enough_memory(what: str) -> Iterator[None]:
    """Name what a device has too little memory for.

    CuPy and PyTorch each have an `OutOfMemoryError` of their own.

    Raises:
        BackendError: a library of arrays could not allocate.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if type(error).__name__ != "OutOfMemoryError":
            raise
        raise BackendError(
            f"the device has too little free memory for {what}: {error}; free some, or "
            "give it fewer rows at a time"
        ) from None
