"""The machine that a report is written on."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from pathlib import Path

from .._native import active_backend

__all__ = ["machine"]

CPU_INFO = Path("/proc/cpuinfo")


def machine() -> str:
    """The processor, its cores, the system, and the instruction set that is used."""
    backend = active_backend()
    cores = os.cpu_count() or 1
    return (
        f"{_processor()}, {cores} core{'s' if cores > 1 else ''}, {platform.system()}; "
        f"instruction set {backend.ops or backend.name}"
    )


def _processor() -> str:
    """The name of the processor, or its architecture if the system has no name."""
    with suppress(OSError):
        text = CPU_INFO.read_text(errors="replace")
        found = re.search(r"^model name\s*: *(.+)$", text, re.MULTILINE)
        if found:
            return f"{found[1].strip()} ({platform.machine()})"
    return platform.processor() or platform.machine()
