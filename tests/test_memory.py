"""The memory that is available, as systems tell it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from quantkit.execution import memory


def test_this_system_tells_its_memory() -> None:
    """A number of bytes, and not more than there is."""
    found = memory.available_bytes()
    assert found > 0
    if sys.platform == "linux":
        assert found <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows is asked by its API")
def test_what_a_container_leaves_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit less the use, if that is less than the system has."""
    info = tmp_path / "meminfo"
    info.write_text("MemTotal: 9 kB\nMemAvailable:    5000 kB\n", encoding="ascii")
    monkeypatch.setattr(memory, "MEMINFO", info)
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.available_bytes() == 5000 << 10
    (tmp_path / "memory.current").write_text("1000\n")
    for limit, expected in (("max", 5000 << 10), ("31000", 30000), ("10", 0)):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        assert memory.available_bytes() == expected


@pytest.mark.skipif(sys.platform == "win32", reason="Windows is asked by its API")
def test_other_systems_have_half_of_their_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And if they do not tell it, 4 GiB."""
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "absent")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    pages = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    assert memory.available_bytes() == 500 * 4096

    def unknown(name: str) -> int:
        raise ValueError(name)

    monkeypatch.setattr(os, "sysconf", unknown)
    assert memory.available_bytes() == 4 << 30


GLIBC = hasattr(os, "confstr") and "CS_GNU_LIBC_VERSION" in os.confstr_names

FAULTS = """
import resource
import numpy as np
from quantkit.execution.allocation import keep_freed_memory
if {kept}:
    keep_freed_memory()
for _ in range(20):
    [np.ones(1 << 20, np.float32) for _ in range(8)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(not GLIBC, reason="other C libraries are left as they are")
def test_memory_is_not_given_back_between_arrays() -> None:
    """Its pages are not fetched again for each of 20 times 8 arrays of 4 MiB."""
    run = (sys.executable, "-c")
    kept, plain = (
        int(subprocess.check_output([*run, FAULTS.format(kept=each)]))
        for each in (True, False)
    )
    assert plain > 2 * kept
