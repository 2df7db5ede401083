"""How much memory the machine has, and how much this process can still use."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["available_bytes", "physical_bytes"]

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
"""The control group of a container, as it is seen from inside (cgroup v2)."""

UNKNOWN = 4 << 30
"""What is assumed where the system does not tell."""


def available_bytes() -> int:
    """Bytes of memory that can be used without swapping, as the system estimates.

    Linux: MemAvailable, or what a container's limit leaves if that is less.  Windows:
    free physical memory.  Elsewhere: half of the physical memory.
    """
    if sys.platform == "win32":
        return _windows_status().available or UNKNOWN
    found = [_linux_bytes(), _container_bytes(), _half_of_pages()]
    known = [value for value in found if value is not None]
    return max(0, min(known, default=UNKNOWN))


def physical_bytes() -> int:
    """Bytes of physical memory, whoever uses them."""
    return (_windows_status().total if sys.platform == "win32" else _pages()) or UNKNOWN


def _pages() -> int:
    """Bytes of all physical pages; 0 if the system does not tell."""
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0


def _linux_bytes() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    return None


def _container_bytes() -> int | None:
    """What the limit of this container leaves; page cache counts as used."""
    with suppress(OSError, ValueError):
        limit = (CGROUP / "memory.max").read_text(encoding="ascii").strip()
        used = (CGROUP / "memory.current").read_text(encoding="ascii").strip()
        return int(limit) - int(used)  # "max", which is no number, is no limit
    return None


def _half_of_pages() -> int | None:
    """Half of the physical memory on systems without MEMINFO."""
    return None if MEMINFO.exists() else _pages() // 2 or None


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("available", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 5),
    )


def _windows_status() -> _MemoryStatus:
    """What Windows tells; zeros if it tells nothing."""
    status = _MemoryStatus()
    status.length = ctypes.sizeof(status)
    if api := getattr(ctypes, "windll", None):
        api.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return status
