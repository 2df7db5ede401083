"""The names of devices: "cuda" and "cuda:1"."""

from __future__ import annotations

import re

from ..errors import OptionError
from ..settings import shown

__all__ = ["CPU", "device_name", "parse_device"]

CPU = "cpu"
CUDA = re.compile(r"cuda(?::(\d{1,4}))?")


def parse_device(device: object) -> int | None:
    """The number of a CUDA device; None for the CPU.

    Args:
        device: "cpu", "cuda" (the first CUDA device) or "cuda:1" (the second), in any
            case.

    Raises:
        OptionError: it is something else.
    """
    name = device.strip().lower() if isinstance(device, str) else ""
    if name == CPU:
        return None
    found = CUDA.fullmatch(name)
    if found is None:
        raise OptionError(
            f'`device` is {shown(device)}; expected "cpu", "cuda" or "cuda:1" (the '
            "second CUDA device)"
        )
    return int(found[1] or 0)


def device_name(number: int | None) -> str:
    """The name of a device, by its number.

    Example:
        >>> device_name(None), device_name(1)
        ('cpu', 'cuda:1')
    """
    return CPU if number is None else f"cuda:{number}"
